"""From sequences of token ids to the inputs of a model.

Shapes: S sequences, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tamis.models.rows.padded import pad_right
from tamis.models.rows.plan import RowPlan


def model_inputs(
    sequences: Sequence[Sequence[int]], *, plan: RowPlan, pad_id: int
) -> dict[str, Any]:
    """Return the keyword arguments with which a model returns one logit a sequence, [S, 1].

    Padded rows are ``input_ids`` and ``attention_mask`` [S, T]; the other layouts are ``tree`` with
    ``input_ids`` and ``position_ids`` [1, T], for a model prepared by `choose_rows`.
    """
    if plan.kind == "padded":
        input_ids_ST, mask_ST = pad_right(sequences, pad_id=pad_id)
        return {"input_ids": input_ids_ST, "attention_mask": mask_ST}
    tree = plan.tree(sequences)
    return {
        "tree": tree,
        "input_ids": torch.tensor([tree.token_ids]),
        "position_ids": torch.tensor([tree.positions]),
    }
