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
from tamis.terms.view import Need, View
from tamis.train.modules import module_of
from tamis.train.reading import Read, Reading, read_last

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
    """A term of `tamis.terms`, its settings fixed, and what it is multiplied with.

    ``needs`` is what it asks for beside scores; ``has_module`` says whether a part of it is trained
    with the model (see `tamis.train.modules`).
    """

    name: str
    coefficient: float
    loss: Callable[[View], Tensor]
    needs: frozenset[Need] = frozenset()
    has_module: bool = False


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
    its loss is the mean over them, but for terms with needs, which see it once.

    Args:
        phi: a base loss of `tamis.losses`, its settings fixed.
        coefficient: of the base loss, at least 0.
        terms: see `tamis.terms`; each sees its own columns alone.
        read: which scores of a text count; it provides what the terms need.
    """
    phi_of = for_batch(phi)

    def objective(model: nn.Module, batch: Batch) -> Outcome:
        reading = read(model, batch)
        weight_P = reading.spread(batch["weight"])
        places, pairs = _views(reading, batch)
        loss_P = coefficient * pair_loss(
            phi_of(reading.winner_P(batch["chosen"])),
            places.delta_B,
            target_B=places.target_B,
            margin_B=places.margin_B,
            weight_B=weight_P,
        )
        for term in terms:
            if not term.needs:
                seen = _for_term(term, places, reading=reading, model=model, batch=batch)
                loss_P = loss_P + term.coefficient * weight_P * term.loss(seen)
        loss_B = reading.mean(loss_P)
        for term in terms:
            if term.needs:
                seen = _for_term(term, pairs, reading=reading, model=model, batch=batch)
                loss_B = loss_B + term.coefficient * batch["weight"] * term.loss(seen)
        return Outcome(loss_B, reading.chosen_B, reading.rejected_B)

    return objective


def _views(reading: Reading, batch: Batch) -> tuple[View, View]:
    """Return what is seen at each place, and of each pair."""
    places = View(
        score_chosen_B=reading.chosen_P,
        score_rejected_B=reading.rejected_P,
        target_B=reading.spread(batch["labels"]),
        margin_B=reading.spread(batch["margin"]),
        columns={},
    )
    pairs = View(
        score_chosen_B=reading.chosen_B,
        score_rejected_B=reading.rejected_B,
        target_B=batch["labels"],
        margin_B=batch["margin"],
        columns={},
        vectors=reading.vectors,
        tokens=reading.tokens,
    )
    return places, pairs


def _for_term(
    term: WeightedTerm, view: View, *, reading: Reading, model: nn.Module, batch: Batch
) -> View:
    """Return the view with the term's own columns, at each place or of each pair, and module."""
    columns_B = batch.get("columns", {}).get(term.name, {})
    if not term.needs:
        columns_B = {name: reading.spread(value_B) for name, value_B in columns_B.items()}
    module = module_of(model, term.name) if term.has_module else None
    return replace(view, columns=columns_B, module=module)
