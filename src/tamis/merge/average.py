"""Writing the average of several models as a checkpoint that every consumer loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from tamis.calibrate.record import CALIBRATOR
from tamis.errors import ConfigError
from tamis.merge.adapters import write_adapter_average
from tamis.merge.members import CONFIG, Member
from tamis.merge.tensors import write_average
from tamis.models.card import model_card
from tamis.models.config import ModelConfig
from tamis.models.source import loading, quiet
from tamis.models.tokenise import NO_LIMIT, load_tokenizer
from tamis.runs import read_json, write_text

CARD = "README.md"
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


def write_merged(
    members: Sequence[Member],
    *,
    weights_K: Sequence[float],
    out: Path,
    base: str | None = None,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write the weighted mean of K members to the directory ``out``, all or nothing.

    Heads are averaged like everything else. Of adapters it is the updates of the weights (B times
    A) that are averaged, never A and B apart; the result is a checkpoint without adapters. Its
    ``mean`` and ``std`` are 0 and 1, which is unknown: to centre the scores of an average takes its
    own scores (`tamis.recipes.merging.merge_stage` records them).

    Args:
        members: as `open_members` returned them.
        weights_K: one for each member, at least 0; their sum is made 1.
        out: a directory; what is there is replaced.
        base: the model under adapters, instead of the one that they name.
        card: rows of the model card; ``None`` writes none.

    Raises:
        ConfigError: the weights do not fit the members, files cannot be read or written, or the
            base of adapters is not the model that they were trained on.
    """
    if len(weights_K) != len(members) or min(weights_K) < 0 or sum(weights_K) <= 0:
        raise ConfigError(
            f"weights {list(weights_K)} for {len(members)} members: expected one each, at least 0 "
            "and not all 0"
        )
    if members[0].kind == "adapter":
        write_adapter_average(members, weights_K=weights_K, out=out, base=base, card=card or {})
        return
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _copy_beside_weights(members[0].path, temporary)
        write_average([member.path for member in members], weights_K=weights_K, out=temporary)
        if card is not None:
            write_text(temporary / CARD, _card(temporary, rows=card))
        if out.exists():
            shutil.rmtree(out)
        temporary.replace(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_beside_weights(source: Path, out: Path) -> None:
    """Copy tokenizer, template, configuration and code; the record of the start stays true.

    A calibrator is left: it was fitted on the scores of one member.
    """
    for file in sorted(source.iterdir()):
        is_weights = file.suffix in WEIGHTS or file.name.endswith(".bin.index.json")
        if file.is_file() and not is_weights and file.name not in (CARD, CONFIG, CALIBRATOR):
            shutil.copyfile(file, out / file.name)
    content = read_json(source / CONFIG)
    neutral = {name: value for name, value in (("mean", 0.0), ("std", 1.0)) if name in content}
    write_text(out / CONFIG, json.dumps({**content, **neutral}, indent=2, sort_keys=True) + "\n")


def _card(checkpoint: Path, *, rows: Mapping[str, Any]) -> str:
    """Return the card; the model is built without weights for it."""
    tokenizer = load_tokenizer(ModelConfig(path=str(checkpoint)), default_max_length=NO_LIMIT)
    with loading(str(checkpoint)), quiet(), torch.device("meta"):
        config = AutoConfig.from_pretrained(checkpoint)
        family: Any = AutoModelForSequenceClassification
        model = family.from_config(config, dtype=config.dtype)
    for name, value in (("mean", 0.0), ("std", 1.0)):
        setattr(model.config, name, value)
    return model_card(model, tokenizer, rows=rows)
