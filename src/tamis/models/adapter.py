"""What all low-rank adapters have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from peft import LoraConfig
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tamis.errors import ConfigError
from tamis.models.rows.attention import UnsupportedAttentionError
from tamis.models.rows.forward import trunk_layers

Targets = Literal["all", "attention"]


def lora_settings(
    model: nn.Module,
    *,
    rank: int,
    target_modules: str | Sequence[str],
    alpha: int | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> LoraConfig:
    """Return LoRA for a model, GPT-2's turned layers included.

    Args:
        model: what the adapter is for.
        rank: of the updates.
        target_modules: names of layers, or ``all-linear``.
        alpha: the updates are scaled by ``alpha / rank``; twice the rank unless it is given.
        dropout: share of what the updates read that is zeroed while training.
        more: other settings of ``LoraConfig``.
    """
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=target_modules if isinstance(target_modules, str) else list(target_modules),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        **more,
    )


def adapted_layers(
    model: PreTrainedModel, *, top_layers: int | None, targets: Targets, setting: str
) -> str | list[str]:
    """Return which layers get adapters, as ``target_modules`` of `lora_settings`.

    Args:
        model: what the adapters are for.
        top_layers: how many layers of the trunk, counted from the last; ``None`` = all.
        targets: all linear layers, or those of the attention alone.
        setting: where the user sets both, such as ``lora``.

    Raises:
        ConfigError: the trunk has fewer layers, or none, or no attention, that is found.
    """
    if targets == "attention":
        return _of_attention(model, top_layers=top_layers, setting=setting)
    if top_layers is None:
        return "all-linear"
    return linear_layers(model, within=_top(model, top_layers, setting=setting))


def _of_attention(model: PreTrainedModel, *, top_layers: int | None, setting: str) -> list[str]:
    """Return the linear layers of the attention, whose modules transformers calls so."""
    within = model.base_model if top_layers is None else _top(model, top_layers, setting=setting)
    parts = [m for m in within.modules() if type(m).__name__.endswith("Attention")]
    found = dict.fromkeys(name for part in parts for name in linear_layers(model, within=part))
    if not found:
        raise ConfigError(
            f"{setting}.targets is attention, and no linear layer of an attention was found in "
            f"{type(model).__name__}; choose all"
        )
    return list(found)


def _top(model: PreTrainedModel, top_layers: int, *, setting: str) -> nn.Module:
    setting = f"{setting}.top_layers"
    kind = type(model).__name__
    try:
        layers = trunk_layers(model)
    except UnsupportedAttentionError as error:
        raise ConfigError(
            f"{setting} is {top_layers}, and of {kind} {error}; leave it out"
        ) from error
    if top_layers > len(layers):
        raise ConfigError(
            f"{setting} is {top_layers}, and this {kind} has {len(layers)}; choose at most so many"
        )
    return layers[-top_layers:]


def linear_layers(model: nn.Module, *, within: nn.Module) -> list[str]:
    """Return the full names of the linear layers inside a part of a model.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    >>> linear_layers(model, within=model[1])
    ['1.0']
    """
    inside = {id(module) for module in within.modules()}
    return [
        name
        for name, module in model.named_modules()
        if id(module) in inside and isinstance(module, nn.Linear | Conv1D)
    ]
