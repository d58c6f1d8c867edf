"""What training minimises, as a function of a model and a batch.

Shapes: B pairs of a batch, S its distinct sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tamis.losses.reduce import BaseLoss, pair_loss

Batch = Mapping[str, Any]  # tensors, and a PrefixTree

BLOCK_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Outcome:
    """The weighted loss and the gap (reward of chosen minus rejected) of each pair, float32."""

    loss_B: Tensor
    delta_B: Tensor


Objective = Callable[[nn.Module, Batch], Outcome]


def base_objective(phi: BaseLoss) -> Objective:
    """Return the objective of a base loss on judged pairs: see `tamis.losses.reduce.pair_loss`."""

    def objective(model: nn.Module, batch: Batch) -> Outcome:
        delta_B = pair_gaps(model, batch)
        loss_B = pair_loss(
            phi,
            delta_B,
            target_B=batch["labels"],
            margin_B=batch["margin"],
            weight_B=batch["weight"],
        )
        return Outcome(loss_B, delta_B)

    return objective


def pair_gaps(model: nn.Module, batch: Batch) -> Tensor:
    """Return ``r_chosen - r_rejected`` of each pair, float32; each sequence is computed once."""
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
    return score_S.index_select(0, batch["chosen"]) - score_S.index_select(0, batch["rejected"])


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
