"""Attention over a prefix tree by FlexAttention, whose block masks skip what a token does not see.

Shapes: M nodes, T tokens, S tokens read, H heads, d dimensions of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from tamis.models.rows.attention import Rule
from tamis.models.rows.tree import PrefixTree


class AttendFlex:
    """Attention of all tokens of a tree in one kernel, for accelerators.

    A query sees a key where the key's node lies on the path to the query's node and the key is not
    behind it. Block masks are made once a tree and window, and serve all layers.
    """

    def __init__(self, tree: PrefixTree, device: torch.device) -> None:
        self._node_T = torch.tensor(tree.node_of_token, device=device)
        self._position_T = torch.tensor(tree.positions, device=device)
        self._reads_S = torch.tensor(tree.reads, device=device)
        self._leads_MM = _leads(tree).to(device)
        self._masks: dict[tuple[int | None, bool], BlockMask] = {}

    def attend(self, query: Tensor, *, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """Return the attention output [1, T, H, d]."""
        mask = self.block_mask(rule.window, reading=False)
        return _flex(query, key, value, mask=mask, rule=rule)

    def reading(self, key: Tensor, value: Tensor) -> _ReadFlex:
        """Return the attention of the read tokens over these keys and values of all tokens."""
        return _ReadFlex(self, key, value)

    def block_mask(self, window: int | None, *, reading: bool) -> BlockMask:
        """Return which keys the queries see: all tokens, or the read ones (``reading``)."""
        if (window, reading) not in self._masks:
            node_T, position_T, leads_MM = self._node_T, self._position_T, self._leads_MM
            node_Q = node_T[self._reads_S] if reading else node_T
            position_Q = position_T[self._reads_S] if reading else position_T

            def _sees(_: Tensor, __: Tensor, q: Tensor, k: Tensor) -> Tensor:
                distance = position_Q[q] - position_T[k]
                seen = leads_MM[node_Q[q], node_T[k]] & (distance >= 0)
                return seen if window is None else seen & (distance < window)

            make = _compiled(create_block_mask) if node_T.is_cuda else create_block_mask
            self._masks[window, reading] = make(
                _sees, None, None, len(node_Q), len(node_T), device=node_T.device
            )
        return self._masks[window, reading]


class _ReadFlex:
    """Attention of the read tokens alone."""

    def __init__(self, of: AttendFlex, key: Tensor, value: Tensor) -> None:
        self._of, self._key, self._value = of, key, value

    def attend(
        self,
        query: Tensor,
        *,
        key: Tensor,  # noqa: ARG002
        value: Tensor,  # noqa: ARG002
        rule: Rule,
    ) -> Tensor:
        """Return the attention output [1, S, H, d]; the keys and values given are not used."""
        mask = self._of.block_mask(rule.window, reading=True)
        return _flex(query, self._key, self._value, mask=mask, rule=rule)


def _leads(tree: PrefixTree) -> Tensor:
    """Return which node lies on the path to which, bool [M, M]: [i, j] is true for j on i's."""
    leads_MM = torch.zeros(len(tree.lengths), len(tree.lengths), dtype=torch.bool)
    for node, path in enumerate(tree.paths):
        leads_MM[node, list(path)] = True
    return leads_MM


def _flex(query: Tensor, key: Tensor, value: Tensor, *, mask: BlockMask, rule: Rule) -> Tensor:
    softcap = rule.softcap

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        return score if softcap is None else softcap * torch.tanh(score / softcap)

    attend: Callable[..., Any] = flex_attention
    if query.is_cuda:
        attend = _compiled(flex_attention)
    output = attend(
        query,
        key,
        value,
        score_mod=None if softcap is None else capped,
        block_mask=mask,
        scale=rule.scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    attended: Tensor = output.transpose(1, 2)
    return attended


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile once; lengths differ from batch to batch."""
    return torch.compile(function, dynamic=True)
