"""Attention over a prefix tree: each token sees its own run and the runs that lead to it.

Shapes: M nodes, T tokens, S tokens read, H heads, d dimensions of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from tamis.models.attention import attend_fast
from tamis.models.rows.tree import PrefixTree

IMPLEMENTATION = "tamis_tree"
UNKNOWN = ("s_aux", "position_bias")


class UnsupportedAttentionError(Exception):
    """The model's attention does something that a tree does not reproduce."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a model's attention layer asks for beside causality.

    ``scale`` multiplies the scores, ``window`` is how many tokens back a token sees (itself
    included), ``softcap`` bounds a score by ``softcap * tanh(score / softcap)``.
    """

    scale: float | None
    window: int | None
    softcap: float | None


class Attends(Protocol):
    """Computes attention: ``query`` [1, H, Q, d], ``key`` and ``value`` [1, Hk, T, d]."""

    def attend(self, query: Tensor, *, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """Return the attention output [1, Q, H, d]."""
        ...


class Masks:
    """What is added to the scores of the last tokens of a text, by size: 0 or -inf.

    All layers of a pass ask for the same few, so they are made once and let go with the pass; a
    text of many thousand tokens has masks of hundreds of megabytes.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int | None, torch.dtype], Tensor] = {}

    def of(self, query: Tensor, key: Tensor, *, window: int | None) -> Tensor:
        """Return the mask for these queries and keys, [Tq, Tk] in the type of ``query``."""
        size = (query.shape[2], key.shape[2], window, query.dtype)
        if size not in self._made:
            sees = causal_mask(size[0], size[1], window=window, device=query.device)
            mask = torch.zeros(sees.shape, dtype=query.dtype, device=query.device)
            self._made[size] = mask.masked_fill_(~sees, -torch.inf)
        return self._made[size]


class KeysTaken(Exception):  # noqa: N818
    """Carries keys and values out of a layer whose queries nobody needs: no error."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        super().__init__()
        self.key, self.value = key, value


class TakeKeys:
    """Stops the layer as soon as its keys and values are known."""

    def attend(
        self,
        query: Tensor,  # noqa: ARG002
        *,
        key: Tensor,
        value: Tensor,
        rule: Rule,  # noqa: ARG002
    ) -> Tensor:
        """Raise `KeysTaken`."""
        raise KeysTaken(key, value)


@dataclass(frozen=True)
class AttendTree:
    """Attention of all tokens, one call of torch's scaled dot product a node.

    Nothing is padded and no score outside the tree is computed but for the upper triangle of each
    node. Splitting the tensors, not slicing them, makes the backward pass one concatenation.
    """

    tree: PrefixTree
    masks: Masks = field(default_factory=Masks)

    def attend(self, query: Tensor, *, key: Tensor, value: Tensor, rule: Rule) -> Tensor:
        """Return the attention output [1, T, H, d]."""
        lengths = list(self.tree.lengths)
        queries, keys, values = (_split(part, lengths) for part in (query, key, value))
        outputs = [
            _attend(
                queries[node], _join(keys, path), _join(values, path), rule=rule, masks=self.masks
            )
            for node, path in enumerate(self.tree.paths)
        ]
        return torch.cat(outputs, dim=2).transpose(1, 2)


@dataclass(frozen=True)
class AttendReads:
    """Attention of the S read tokens alone, over keys and values of all tokens."""

    tree: PrefixTree
    key: Tensor
    value: Tensor
    masks: Masks = field(default_factory=Masks)

    def attend(
        self,
        query: Tensor,
        *,
        key: Tensor,  # noqa: ARG002
        value: Tensor,  # noqa: ARG002
        rule: Rule,
    ) -> Tensor:
        """Return the attention output [1, S, H, d]; the keys and values given are not used."""
        lengths = list(self.tree.lengths)
        keys, values = _split(self.key, lengths), _split(self.value, lengths)
        queries = _split(query, [1] * len(self.tree.reads))
        outputs = [
            _attend(
                queries[number],
                _join(keys, self.tree.paths[self.tree.node_of_token[read]]),
                _join(values, self.tree.paths[self.tree.node_of_token[read]]),
                rule=rule,
                masks=self.masks,
            )
            for number, read in enumerate(self.tree.reads)
        ]
        return torch.cat(outputs, dim=2).transpose(1, 2)


def _tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    *,
    tree: Attends,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention for transformers' interface; ``tree`` says what each token sees.

    Raises:
        UnsupportedAttentionError: the layer is bidirectional, or asks for sinks or biases.
    """
    if not getattr(module, "is_causal", True):
        raise UnsupportedAttentionError("its attention is bidirectional")
    asked = [name for name in UNKNOWN if others.get(name) is not None]
    if asked:
        raise UnsupportedAttentionError(f"its attention uses {asked[0]}")
    rule = Rule(scaling, sliding_window, softcap)
    return tree.attend(query, key=key, value=value, rule=rule).contiguous(), None


AttentionInterface.register(IMPLEMENTATION, _tree_attention)


def _split(part: Tensor, lengths: list[int]) -> Sequence[Tensor]:
    return torch.split(part, lengths, dim=2)


def _join(parts: Sequence[Tensor], path: Sequence[int]) -> Tensor:
    return parts[path[0]] if len(path) == 1 else torch.cat([parts[node] for node in path], dim=2)


def _attend(query: Tensor, key: Tensor, value: Tensor, *, rule: Rule, masks: Masks) -> Tensor:
    """Attend from the last tokens of a sequence to all of it, [1, H, Tq, d]."""
    return attend_fast(partial(_attend_so, rule=rule, masks=masks), query, key=key, value=value)


def _attend_so(query: Tensor, key: Tensor, value: Tensor, *, rule: Rule, masks: Masks) -> Tensor:
    num_queries, num_keys = query.shape[2], key.shape[2]
    window = rule.window if rule.window is not None and rule.window < num_keys else None
    is_whole = num_queries == num_keys and window is None and rule.softcap is None
    mask = None
    if not is_whole and (num_queries > 1 or window is not None):
        mask = masks.of(query, key, window=window)
    if rule.softcap is not None:
        scale = query.shape[-1] ** -0.5 if rule.scale is None else rule.scale
        return _capped(query * scale, key, value, mask=mask, softcap=rule.softcap)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=is_whole and num_queries > 1,
        scale=rule.scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def causal_mask(
    num_queries: int, num_keys: int, *, window: int | None, device: torch.device
) -> Tensor:
    """Return which keys the last ``num_queries`` of ``num_keys`` tokens see, bool.

    >>> causal_mask(2, 3, window=2, device=torch.device("cpu")).tolist()
    [[True, True, False], [False, True, True]]
    """
    offset = num_keys - num_queries
    mask = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device).tril(offset)
    return mask if window is None else mask.triu(offset - window + 1)


def _capped(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, softcap: float
) -> Tensor:
    """Attention with capped scores, which no fused kernel of torch has (Gemma 2)."""
    repeat = query.shape[1] // key.shape[1]
    if repeat > 1:
        key, value = (part.repeat_interleave(repeat, dim=1) for part in (key, value))
    score = torch.tanh(query @ key.transpose(2, 3) / softcap) * softcap
    if mask is not None:
        score = score + mask
    return score.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value
