"""Attention over whole sequences one after another, by torch's variable-length flash attention.

Shapes: S sequences, T tokens, H heads, d dimensions of a head.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tamis.models.rows.attention import Rule, UnsupportedAttentionError
from tamis.models.rows.tree import PrefixTree

VarlenFunction = Callable[..., Any]


class AttendVarlen:
    """Attention of packed rows in one kernel: nothing is shared, and no mask has to be made.

    It is torch's own (from 2.10 on), for CUDA and half precision. ``function`` stands in for it.
    """

    def __init__(
        self, tree: PrefixTree, device: torch.device, *, function: VarlenFunction | None = None
    ) -> None:
        if any(parent >= 0 for parent in tree.parents):
            raise UnsupportedAttentionError("variable-length attention shares no prefixes")
        self._function = function or _torch_function()
        self._starts = torch.tensor(tree.starts, dtype=torch.int32, device=device)
        self._longest = max(tree.lengths)

    def attend(self, query: Tensor, *, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """Return the attention output [1, T, H, d].

        Raises:
            UnsupportedAttentionError: scores are capped, which this kernel cannot do.
        """
        if rule.softcap is not None:
            raise UnsupportedAttentionError("variable-length attention caps no scores")
        query_THd, key_THd, value_THd = (
            part[0].transpose(0, 1).contiguous() for part in (query, key, value)
        )
        output_THd = self._function(
            query_THd,
            key_THd,
            value_THd,
            self._starts,
            self._starts,
            self._longest,
            self._longest,
            scale=rule.scale,
            window_size=(-1 if rule.window is None else rule.window - 1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        attended: Tensor = output_THd[None]
        return attended


def _torch_function() -> VarlenFunction:
    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        raise UnsupportedAttentionError("this torch has no variable-length attention")
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
