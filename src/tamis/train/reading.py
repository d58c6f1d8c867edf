"""Where the answers of a batch are scored: at their last token, or at every token that differs.

Shapes: B pairs of a batch, S its distinct sequences, T tokens, P places at which pairs are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tamis.errors import ConfigError
from tamis.models.head import head_name
from tamis.terms.view import Tokens, Vectors

BLOCK_TOKENS = 512
HEAD_OF_TOKENS = "score"


@dataclass(frozen=True, slots=True)
class Reading:
    """The scores of both sides of B pairs at P places, float32.

    Attributes:
        chosen_P: scores of the chosen sides at each place.
        rejected_P: scores of the rejected sides at the same places.
        chosen_B: scores of the whole texts, which are what consumers get.
        rejected_B: the same of the rejected sides.
        pair_P: to which pair a place belongs; ``None``: place i is pair i.
        view_P: in which of two views a place is read; ``None``: there is one.
        vectors: the two views, where there are any.
        tokens: all tokens of the batch, where they were kept.
    """

    chosen_P: Tensor
    rejected_P: Tensor
    chosen_B: Tensor
    rejected_B: Tensor
    pair_P: Tensor | None = None
    view_P: Tensor | None = None
    vectors: Vectors | None = None
    tokens: Tokens | None = None

    def winner_P(self, chosen_B: Tensor) -> Tensor:  # noqa: N802
        """Return a number for the better answer at each place, the same for the same text [P]."""
        winner_P = self.spread(chosen_B)
        return winner_P if self.view_P is None else 2 * winner_P + self.view_P

    def spread(self, value_B: Tensor) -> Tensor:
        """Return a number of each pair for each place [P]."""
        return value_B if self.pair_P is None else value_B.index_select(0, self.pair_P)

    def mean(self, value_P: Tensor) -> Tensor:
        """Return the mean over the places of each pair [B]."""
        if self.pair_P is None:
            return value_P
        sum_B = torch.zeros_like(self.chosen_B).index_add(0, self.pair_P, value_P)
        return sum_B / torch.bincount(self.pair_P, minlength=len(sum_B))


Read = Callable[[nn.Module, Mapping[str, Any]], Reading]


def read_last(model: nn.Module, batch: Mapping[str, Any]) -> Reading:
    """Score each text at its last token; each sequence of a batch is computed once."""
    if "tree" in batch:
        inputs = {name: batch[name] for name in ("tree", "input_ids", "position_ids")}
        score_S: Tensor = model(**inputs).logits[:, 0].float()
    else:
        input_ids_ST, mask_ST = batch["input_ids"], batch["attention_mask"]
        scores = [
            model(input_ids=input_ids_ST[rows, :width], attention_mask=mask_ST[rows, :width]).logits
            for rows, width in _blocks(mask_ST)
        ]
        score_S = torch.cat(scores)[:, 0].float()
    chosen_B = score_S.index_select(0, batch["chosen"])
    rejected_B = score_S.index_select(0, batch["rejected"])
    return Reading(chosen_B, rejected_B, chosen_B, rejected_B)


def read_tokens(model: nn.Module, batch: Mapping[str, Any]) -> Reading:
    """Score each pair at every token from the first that differs to the end of the longer side.

    The places of a pair are the same on both sides, counted from the beginning of the text; where
    the shorter side has ended its padding is scored, which attends to the text alone. So do
    DeepSpeed-Chat's reward models (Yao et al. 2023) and what was built on them. All rows are
    computed in one pass, padded to the longest.

    Raises:
        ConfigError: the model has no head that scores tokens.
    """
    head = token_head(model)
    outputs: list[Tensor] = []
    hook = head.register_forward_hook(lambda _head, _inputs, output: outputs.append(output))
    mask_ST = batch["attention_mask"]
    try:
        score_S = model(input_ids=batch["input_ids"], attention_mask=mask_ST).logits[:, 0].float()
    finally:
        hook.remove()
    score_ST = outputs[0][:, :, 0].float()
    chosen_B, rejected_B, start_B = batch["chosen"], batch["rejected"], batch["prefix"]
    length_S = mask_ST.sum(1)
    count_B = torch.maximum(length_S[chosen_B], length_S[rejected_B]) - start_B
    pair_P = torch.arange(len(count_B), device=count_B.device).repeat_interleave(count_B)
    first_B = count_B.cumsum(0) - count_B
    place_P = torch.arange(len(pair_P), device=pair_P.device) + (start_B - first_B)[pair_P]
    return Reading(
        chosen_P=score_ST[chosen_B[pair_P], place_P],
        rejected_P=score_ST[rejected_B[pair_P], place_P],
        chosen_B=score_S.index_select(0, chosen_B),
        rejected_B=score_S.index_select(0, rejected_B),
        pair_P=pair_P,
    )


def token_head(model: nn.Module) -> nn.Module:
    """Return the head of a model that scores every token before one of them is picked.

    It is found inside adapters and wrappers for several processes.

    Raises:
        ConfigError: the model has none; encoders score a text as a whole.
    """
    inner = inner_model(model)
    if head_name(inner) != HEAD_OF_TOKENS:
        raise ConfigError(
            f"form is token, and {type(inner).__name__} scores a text as a whole; choose a "
            "decoder, or form sequence"
        )
    head: nn.Module = getattr(inner, HEAD_OF_TOKENS)
    return head


def inner_model(model: nn.Module) -> PreTrainedModel:
    """Return the model inside adapters and wrappers for several processes."""
    return next(part for part in model.modules() if isinstance(part, PreTrainedModel))


def length_blocks(lengths: Sequence[int]) -> list[tuple[slice, int]]:
    """Cut rows that are sorted by length into blocks of similar length: (rows, width).

    A block is at most a quarter padding in each row, unless it has fewer than 512 tokens, below
    which a forward pass costs as much as its overhead.

    >>> length_blocks([10, 600, 610])
    [(slice(0, 1, None), 10), (slice(1, 3, None), 610)]
    """
    blocks: list[tuple[slice, int]] = []
    end = len(lengths)
    while end > 0:
        width, start = lengths[end - 1], end - 1
        while start > 0 and (
            lengths[start - 1] >= 0.75 * width or (end - start) * width < BLOCK_TOKENS
        ):
            start -= 1
        blocks.append((slice(start, end), width))
        end = start
    return blocks[::-1]


def _blocks(mask_ST: Tensor) -> list[tuple[slice, int]]:
    if mask_ST.device.type != "cpu":  # one large pass beats less padding there
        return [(slice(None), mask_ST.shape[1])]
    return length_blocks(mask_ST.sum(1).tolist())
