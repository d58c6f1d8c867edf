"""Batches of encoded pairs, and views of terms that read vectors or tokens, for tests."""

from typing import Any

import torch
from rows_families import PAD

from tamis.models.encoded import distinct_sides
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.plan import RowPlan
from tamis.models.rows.tree import common_prefix
from tamis.models.tokenise import EncodedPair
from tamis.terms.view import Tokens, Vectors, View


def encoded(chosen: list[int], rejected: list[int]) -> EncodedPair:
    first, second = tuple(chosen), tuple(rejected)
    return EncodedPair(first, second, common_prefix(first, second), 0)


def batch_of(
    pairs: list[EncodedPair], *, plan: RowPlan, target: float = 1.0, pad_id: int = PAD
) -> dict[str, Any]:
    """A batch as `make_collate` makes it."""
    sequences, chosen_B, rejected_B = distinct_sides(pairs)
    one_B = torch.ones(len(pairs))
    return {
        **model_inputs(sequences, plan=plan, pad_id=pad_id),
        "chosen": torch.from_numpy(chosen_B),
        "rejected": torch.from_numpy(rejected_B),
        "prefix": torch.tensor([pair.num_prefix for pair in pairs]),
        "labels": target * one_B,
        "margin": 0 * one_B,
        "weight": one_B,
    }


def view_of(
    *,
    vectors: Vectors | None = None,
    tokens: Tokens | None = None,
    module: torch.nn.Module | None = None,
    target: float = 1.0,
    columns: dict[str, torch.Tensor] | None = None,
) -> View:
    """A view of pairs whose scores are all 0."""
    sides = vectors or tokens
    assert sides is not None
    zero_B = torch.zeros(len(sides.chosen_B))
    return View(
        zero_B,
        zero_B,
        target_B=zero_B + target,
        margin_B=zero_B,
        columns=columns or {},
        vectors=vectors,
        tokens=tokens,
        module=module,
    )


def vectors_of(views_2SD: torch.Tensor, sides: list[tuple[int, int]]) -> Vectors:
    chosen_B, rejected_B = (torch.tensor(side) for side in zip(*sides, strict=True))
    return Vectors(views_2SD, chosen_B, rejected_B)
