"""What training minimises, as a function of a model and a batch.

Shapes: B pairs of a batch, P places at which they are read (see `tamis.train.reading`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from tamis.losses.reduce import pair_loss
from tamis.losses.settings import AnyLoss, for_batch
from tamis.terms.view import View
from tamis.train.reading import Read, read_last

Batch = Mapping[str, Any]  # tensors, a PrefixTree, and tensors of terms by term and name


@dataclass(frozen=True, slots=True)
class Outcome:
    """The weighted loss of each pair and the scores of its two sides, float32."""

    loss_B: Tensor
    chosen_B: Tensor
    rejected_B: Tensor

    @property
    def delta_B(self) -> Tensor:  # noqa: N802
        """Reward of chosen minus reward of rejected."""
        return self.chosen_B - self.rejected_B


Objective = Callable[[nn.Module, Batch], Outcome]


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    """A term of `tamis.terms`, its settings fixed, and what it is multiplied with."""

    name: str
    coefficient: float
    loss: Callable[[View], Tensor]


def base_objective(
    phi: AnyLoss,
    *,
    coefficient: float = 1.0,
    terms: Sequence[WeightedTerm] = (),
    read: Read = read_last,
) -> Objective:
    """Return the objective of a base loss on judged pairs, with terms beside it.

        coefficient * pair_loss(phi) + weight * sum over terms of coefficient_t * term_t

    See `tamis.losses.reduce.pair_loss` for the first part. Where a pair is read at several places,
    its loss is the mean over them.

    Args:
        phi: a base loss of `tamis.losses`, its settings fixed.
        coefficient: of the base loss, at least 0.
        terms: see `tamis.terms`; each sees its own columns alone.
        read: which scores of a text count.
    """
    phi_of = for_batch(phi)

    def objective(model: nn.Module, batch: Batch) -> Outcome:
        reading = read(model, batch)
        weight_P = reading.spread(batch["weight"])
        view = View(
            score_chosen_B=reading.chosen_P,
            score_rejected_B=reading.rejected_P,
            target_B=reading.spread(batch["labels"]),
            margin_B=reading.spread(batch["margin"]),
            columns={},
        )
        loss_P = coefficient * pair_loss(
            phi_of(batch["chosen"]),
            view.delta_B,
            target_B=view.target_B,
            margin_B=view.margin_B,
            weight_B=weight_P,
        )
        for term in terms:
            columns_B = batch.get("columns", {}).get(term.name, {})
            seen = replace(view, columns={n: reading.spread(c) for n, c in columns_B.items()})
            loss_P = loss_P + term.coefficient * weight_P * term.loss(seen)
        return Outcome(reading.mean(loss_P), reading.chosen_B, reading.rejected_B)

    return objective
