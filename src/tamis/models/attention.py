"""Attention whose backward pass is as fast on a CPU in bfloat16 as the rest of the model.

torch's fused attention has a backward pass on CPU that takes some seven times as long in bfloat16
as in float32 (torch 2.13, 256 tokens, a processor with instructions for bfloat16): two thirds of a
training step of MiniLM. So where a gradient will go through attention in bfloat16 on a CPU, it is
computed in float32, and the rest of the model stays in bfloat16: a step then takes 0.55 to 0.7 of
the time of one in float32, in place of 0.8 to 2.3 (`make bench-attention`). Scoring, and every
other device and type, are as they were; but a policy attends in float32 without a gradient, too, so
that it does not differ from its reference by how the two are rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IMPLEMENTATION, ALIKE = "tamis_sdpa", "tamis_sdpa_alike"

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def use_fast_backward(model: PreTrainedModel, *, alike: bool = False) -> None:
    """Have a model attend as above where its attention is torch's and there is no accelerator.

    Args:
        model: whose attention is changed.
        alike: it attends in the same type with and without a gradient.
    """
    if not torch.accelerator.is_available() and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(ALIKE if alike else IMPLEMENTATION)


def attend_fast(
    attend: Attend, query: Tensor, *, key: Tensor, value: Tensor, alike: bool = False
) -> Tensor:
    """Return ``attend(query, key, value)``, computed in the type whose backward pass is fast.

    The result has the type that it would have had. With ``alike`` it is computed in that type where
    there is no backward pass, too.
    """
    dtype = _computed_in(query)
    needs_grad = any(part.requires_grad for part in (query, key, value))
    goes_back = alike or (needs_grad and torch.is_grad_enabled())
    if not (query.is_cpu and dtype == torch.bfloat16 and goes_back):
        return attend(query, key, value)
    with torch.autocast("cpu", enabled=False):
        return attend(query.float(), key.float(), value.float()).to(dtype)


def _computed_in(query: Tensor) -> torch.dtype:
    kind = query.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype


def _sdpa_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    alike: bool,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention for transformers' interface; the output has the type of its own."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mask = attention_mask
        if mask is not None and mask.is_floating_point():
            mask = mask.to(query.dtype)
        return sdpa_attention_forward(module, query, key, value, mask, **others)[0]

    return attend_fast(attend, query, key=key, value=value, alike=alike), None


for _name in (IMPLEMENTATION, ALIKE):
    AttentionInterface.register(_name, partial(_sdpa_attention, alike=_name == ALIKE))
    AttentionMaskInterface.register(_name, sdpa_mask)
