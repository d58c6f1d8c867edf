"""Which weights a model was trained from, so that models of one parent can be told from others.

Averages of weights are good models only where all of them were trained from the same weights, the
head included (Wortsman et al. 2022, "Model soups"; Rame et al. 2024, "WARM"). A finished checkpoint
does not show that, so training records it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.head import head_name
from tamis.runs import read_json

START = "start.json"


@dataclass(frozen=True, slots=True)
class Start:
    """The weights that a training run began with, and how they were loaded.

    Attributes:
        trunk: SHA-256 of all weights but the head's.
        head: SHA-256 of the head's weights.
        template: SHA-256 of the chat template.
        max_length: tokens of a conversation.
        num_layers: how many layers were kept; ``None`` = all.
        dtype: type of the trunk's weights.
    """

    trunk: str
    head: str
    template: str
    max_length: int
    num_layers: int | None
    dtype: str


def start_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, config: ModelConfig
) -> Start | None:
    """Return what a run begins with, or ``None`` where this process does not hold all weights.

    Costs one pass over the weights (about a second a gigabyte).

    Args:
        model: before the first step; adapters in it are left out.
        tokenizer: the model's.
        config: by which both were loaded.
    """
    weights = sorted(_own_weights(model), key=lambda item: item[0])
    if any(weight.is_meta or weight.numel() == 0 for _, weight in weights):
        return None
    prefix = f"{head_name(model)}."
    return Start(
        trunk=weights_digest(item for item in weights if not item[0].startswith(prefix)),
        head=weights_digest(item for item in weights if item[0].startswith(prefix)),
        template=template_digest(tokenizer),
        max_length=int(tokenizer.model_max_length),
        num_layers=config.num_layers,
        dtype=config.dtype,
    )


def template_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 of a tokenizer's chat template."""
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()


def read_start(checkpoint: Path) -> Start | None:
    """Return what a checkpoint or an adapter was trained from, or ``None`` where it does not say.

    Raises:
        ConfigError: the record is damaged.
        DataError: it is no JSON.
    """
    path = checkpoint / START
    if not path.is_file():
        return None
    try:
        return TypeAdapter(Start).validate_python(read_json(path))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the record"
        raise ConfigError(f"{path}: {where}: {problem['msg']}") from error


def _own_weights(model: PreTrainedModel) -> Iterable[tuple[str, Tensor]]:
    """Give the weights under the names that they have without adapters."""
    for name, weight in model.state_dict().items():
        parts = name.split(".")
        if "modules_to_save" in parts or any(part.startswith("lora_") for part in parts):
            continue
        own = [part for part in parts if part not in ("base_layer", "original_module")]
        yield ".".join(own), weight


def weights_digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    """Return the SHA-256 of named weights: of names, types, shapes and values, in this order."""
    digest = hashlib.sha256()
    for name, weight in weights:
        digest.update(f"{name}\0{weight.dtype}\0{tuple(weight.shape)}\n".encode())
        plain = weight.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()
