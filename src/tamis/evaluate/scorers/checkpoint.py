"""A reward model of this machine or of the hub, whoever trained it, or a LoRA adapter of one.

Any sequence-classification model with one output. A model that Tamis did not train is read as
transformers reads it: with its own chat template, nothing stripped or added. Weights are float32
unless the option ``dtype`` says otherwise, on an accelerator where there is one. Nothing is
quantised; a checkpoint that is quantised stays so, which is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

from tamis.data.read import is_hub_id, split_revision
from tamis.errors import ConfigError, DataError
from tamis.evaluate import GapScores
from tamis.evaluate.scorers.opening import Held, OpenedScorer
from tamis.evaluate.scorers.options import LOADED, ScorerOptions
from tamis.evaluate.scorers.weights import config_file, model_at, model_identity
from tamis.metrics.ensemble import Centring, recorded
from tamis.models.checkpoint import Scorer, load_any_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_pairs
from tamis.models.source import PACKAGE
from tamis.models.template import lacks_template, leaves_end_unread
from tamis.runs import fingerprint, read_json
from tamis.types import Pair

OPTIONS = LOADED
UNTELLING = frozenset({"train", "merge", "checkpoint", "adapter"})


def open_scorer(
    address: str, *, options: ScorerOptions, notice: Callable[[str], None]
) -> OpenedScorer:
    """Open a folder with a model or an adapter, a run directory, or a hub id with ``@REVISION``.

    Raises:
        ConfigError: no address, or a hub id that cannot be reached.
        DataError: a path where nothing is.
    """
    config = model_at(checkpoint_in(address), options=options)
    asked = _Checkpoint(config, notice=notice)
    return OpenedScorer(
        name=_name(address),
        score=asked.score,
        identity={"kind": "checkpoint", **_identity(config)},
        model=asked.held.get,
        release=asked.release,
        centring=partial(recorded_centring, config.path, revision=config.revision),
    )


@final
class _Checkpoint:
    """Loads a model when it is asked, and counts the pairs that were too long for it."""

    def __init__(self, config: ModelConfig, *, notice: Callable[[str], None]) -> None:
        self.held = Held(lambda: _load(config, notice=notice))
        self._config, self._notice = config, notice
        self._num_over_length = 0

    def score(self, pairs: Sequence[Pair]) -> GapScores:
        """Return the scores of both sides."""
        scorer = self.held.get()
        found = score_pairs(scorer.model, scorer.tokenizer, pairs, max_length=scorer.max_length)
        self._num_over_length += found.num_over_length
        return GapScores(found.chosen_N, found.rejected_N)

    def release(self) -> None:
        """Let go of the model, and say what it could not read whole."""
        if self._num_over_length:
            self._notice(
                f"{self._config.path}: {self._num_over_length:,} pairs have answers that are "
                "longer than the model reads; these answers lost their first tokens"
            )
        self._num_over_length = 0
        self.held.let_go()


def checkpoint_in(address: str) -> str:
    """Return where the model lies: in a run directory, its trained or merged checkpoint.

    A hub id keeps the ``@REVISION`` behind it.

    Raises:
        ConfigError: there is no address.
        DataError: a path where nothing is.
    """
    if not address:
        raise ConfigError("no checkpoint is named; expected a folder or a hub id")
    local = Path(address).expanduser()
    for stage in ("train", "merge"):
        inside = local / stage / "checkpoint"
        if inside.is_dir():
            return str(inside)
    path, _ = split_revision(address)
    if not (local.exists() or address.startswith(PACKAGE) or is_hub_id(path)):
        raise DataError(f"{address}: no such file or directory")
    return address


def recorded_centring(path: str, *, revision: str | None = None) -> Centring | None:
    """Return mean and standard deviation of a checkpoint's scores, where it records them.

    Raises:
        ConfigError: it is a hub id that cannot be reached.
    """
    file = config_file(path, revision=revision)
    content = None if file is None else read_json(file)
    return recorded(content.get("mean"), content.get("std")) if isinstance(content, dict) else None


def _identity(config: ModelConfig) -> dict[str, Any]:
    found = model_identity(config.path, revision=config.revision)
    method = None if "base" in found else _quantised(config)
    found |= {} if method is None else {"quantised": method}
    if config.chat_template is not None:
        found["chat_template"] = fingerprint(Path(config.chat_template))
    return {**found, "max_length": config.max_length, "dtype": config.dtype}


def _quantised(config: ModelConfig) -> str | None:
    """Return the method by which a checkpoint is quantised, or ``None`` where it is not."""
    file = config_file(config.path, revision=config.revision)
    content = None if file is None else read_json(file)
    settings = content.get("quantization_config") if isinstance(content, dict) else None
    if settings is None:
        return None
    return str(settings.get("quant_method")) if isinstance(settings, dict) else "unknown"


def _load(config: ModelConfig, *, notice: Callable[[str], None]) -> Scorer:
    scorer = load_any_scorer(config)
    settings = getattr(scorer.model.config, "quantization_config", None)
    if settings is not None:
        notice(f"{config.path}: quantised, and loaded as it is: {_plain(settings)}")
    tokenizer = scorer.tokenizer
    if leaves_end_unread(tokenizer):
        notice(
            f"{config.path}: is padded with the token that ends its texts, so the token before it "
            "is scored, as in transformers"
        )
    if lacks_template(tokenizer):
        notice(
            f"{config.path}: has no chat template; conversations are read as lines of "
            '"role: content". If it was trained on another form, name that as chat_template'
        )
    return scorer


def _plain(settings: Any) -> str:
    content = settings if isinstance(settings, dict) else settings.to_dict()
    known = {name: getattr(value, "value", value) for name, value in content.items()}
    return ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)


def _name(address: str) -> str:
    """Return what tells a model from its siblings, whose last folders are often alike.

    >>> _name("runs/a/train/checkpoint"), _name("org/model")
    ('a', 'org/model')
    """
    if is_hub_id(split_revision(address)[0]) and not Path(address).exists():
        return address
    telling = [part for part in Path(address).parts if part not in UNTELLING]
    return telling[-1] if telling else address
