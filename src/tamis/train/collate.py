"""From pair numbers to the tensors of a batch.

Shape legend: B pairs of a batch, S its distinct sequences, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tamis.models.encoded import distinct_sides
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.plan import RowPlan
from tamis.terms.view import Columns
from tamis.train.dataset import TrainingSet
from tamis.train.order import Indices

Collate = Callable[[Sequence[Indices]], dict[str, Any]]


def make_collate(
    data: TrainingSet,
    *,
    pad_id: int,
    plan: RowPlan,
    columns: Mapping[str, Columns] | None = None,
) -> Collate:
    """Return the function that turns the pair numbers of a micro-batch into tensors.

    Every distinct sequence of the batch is there once, so that a text that many pairs share is
    scored once; this is exact, because dropout is off. The result has what the model reads (see
    `model_inputs`; padded rows are sorted by length), ``chosen`` and ``rejected`` (which of the
    sequences, int64 [B]), ``prefix`` (how many tokens the sides begin with in common, int64 [B]),
    ``labels`` (the targets), ``margin`` and ``weight`` (float32 [B]), and, where terms have any,
    ``columns``: by term and name, of what was computed for all pairs, float32 [B].
    """

    def collate(items: Sequence[Indices]) -> dict[str, Any]:
        numbers = [int(number) for item in items for number in item]
        pairs = [data.encoded[number] for number in numbers]
        sequences, chosen_B, rejected_B = distinct_sides(pairs)
        batch = {
            **model_inputs(sequences, plan=plan, pad_id=pad_id),
            "chosen": torch.from_numpy(chosen_B),
            "rejected": torch.from_numpy(rejected_B),
            "prefix": torch.tensor([pair.num_prefix for pair in pairs]),
            "labels": torch.from_numpy(data.target_N[numbers]),
            "margin": torch.from_numpy(data.margin_N[numbers]),
            "weight": torch.from_numpy(data.weight_N[numbers]),
        }
        if columns:
            batch["columns"] = {
                term: {name: torch.from_numpy(value_N[numbers]) for name, value_N in own.items()}
                for term, own in columns.items()
            }
        return batch

    return collate
