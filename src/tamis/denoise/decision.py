"""What every denoising policy shares: selecting suspects, margins, and the form of a decision.

Shape legend: N pairs of the data set; 2: for the chosen answer and for the rejected one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tamis.denoise.config import DenoiseConfig
from tamis.errors import ConfigError, DataError
from tamis.types import Verdict

SUSPECTS = frozenset({"share", "below", "between"})  # settings that say which pairs are suspected

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Strength:
    """What is known of each label: the vote, P(wrong) and how people voted.

    Attributes:
        mean_N: mean of the gap over voters, the preference strength.
        std_N: population std of the gap over voters.
        wrong_N: P(the label is wrong), in [0, 1]; None where it was not estimated.
        people_N2: how many people preferred the chosen and the rejected answer, a tie half for
            each, NaN where people's votes are not known; None where no pair has any.
    """

    mean_N: Floats
    std_N: Floats
    wrong_N: Floats | None = None
    people_N2: Floats | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Targets, margins and weights of all pairs, and which pairs the policy acted on.

    ``acted_N`` marks the pairs whose reason is the policy's own; the others are plain "keep".
    ``outside_N`` marks those that were left out because they are not in the chosen slice.
    """

    target_N: Floats
    margin_N: Floats
    weight_N: Floats
    acted_N: Bools
    reason: str
    outside_N: Bools | None = None


def suspects(
    strength: Strength,
    *,
    config: DenoiseConfig,
    default_share: float | None = None,
    default_below: float | None = None,
) -> Bools:
    """Mark the pairs believed to be mislabelled.

    A share is rounded down to a whole number of pairs (both ends of ``between`` are), and equal
    strengths are taken in the order of the table, so that the result is the same on every machine.
    A millionth of a pair is rounding: 0.29 of 100 pairs are 29, though not in binary numbers.

    >>> strength = Strength(np.array([0.5, -1.0, -0.2, 2.0]), np.zeros(4))
    >>> suspects(strength, config=DenoiseConfig(share=0.25)).tolist()
    [False, True, False, False]
    """
    share, below, between = config.share, config.below, config.between
    if not selects(config):
        share, below = default_share, default_below
    mean_N = strength.mean_N
    if below is not None:
        return np.asarray(mean_N < below)
    low, high = between or (0.0, share or 0.0)
    marked_N = np.zeros(len(mean_N), dtype=bool)
    ascending = np.argsort(mean_N, kind="stable")
    first, last = (int(round(len(mean_N) * end, 6)) for end in (low, high))
    marked_N[ascending[first:last]] = True
    return marked_N


def selects(config: DenoiseConfig) -> bool:
    """Tell whether the settings say which pairs are suspected."""
    return not (config.share is None and config.below is None and config.between is None)


def outside(decision: Decision, strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Leave out the pairs that are not suspected, where the settings say so.

    Weights other than 0 and 1 are scaled, so that the mean over the pairs left in stays as it was.
    """
    if config.outside == "keep":
        return decision
    suspect_N = suspects(strength, config=config)
    weight_N = np.where(suspect_N, decision.weight_N, 0.0)
    weight_N *= _mean_left_in(decision.weight_N) / _mean_left_in(weight_N)
    return replace(decision, weight_N=weight_N, outside_N=~suspect_N)


def wrong_of(strength: Strength, *, policy: str) -> Floats:
    """Return P(label wrong) of each pair.

    Raises:
        ConfigError: it was not estimated.
    """
    if strength.wrong_N is None:
        raise ConfigError(
            f"policy {policy} reads P(label wrong), which could not be estimated here; choose a "
            "policy that reads strength alone, such as flip or drop"
        )
    return strength.wrong_N


def mean_one(weight_N: Floats) -> Floats:
    """Scale weights so that those above 0 have the mean 1; all 0 stay 0.

    >>> mean_one(np.array([0.0, 1.0, 3.0])).tolist()
    [0.0, 0.5, 1.5]
    """
    return weight_N / _mean_left_in(weight_N)


def adaptive_margin(decision: Decision, strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Add the adaptive margin to all pairs; with a slice ``between`` two shares, to those alone."""
    margin_N = margins(strength.mean_N, target_N=decision.target_N, form=config.margin)
    acted_N = np.ones(len(margin_N), dtype=bool)
    if config.between is not None:
        acted_N = suspects(strength, config=config)
        margin_N = np.where(acted_N, margin_N, 0.0)
    return replace(decision, margin_N=margin_N, acted_N=acted_N | decision.acted_N)


def margins(mean_N: Floats, *, target_N: Floats, form: Literal["raw", "clipped"]) -> Floats:
    """Return the adaptive margin of each pair, in the orientation of the stored columns.

    ``raw`` is the strength mu itself, negative values included; ``clipped`` is
    ``s * max(s * mu, 0)`` with ``s = +1`` where the target is at least 0.5 and -1 elsewhere.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), eq. 6, with the margin inside the sigmoid
    (as printed it stands outside, where it has no gradient). The clipped form is ours.
    """
    if form == "raw":
        return mean_N.copy()
    side_N = np.where(target_N >= 0.5, 1.0, -1.0)
    return np.asarray(side_N * np.maximum(side_N * mean_N, 0.0))


def _mean_left_in(weight_N: Floats) -> float:
    """Return the mean of the weights above 0; 1 where there is none."""
    positive_N = weight_N > 0
    return float(weight_N[positive_N].mean()) if positive_N.any() else 1.0


def to_verdicts(ids: Sequence[str], decision: Decision) -> list[Verdict]:
    """Write a decision as one record a pair.

    Raises:
        DataError: a policy returned a target outside [0, 1], a negative weight, or a NaN.
    """
    columns = (decision.target_N, decision.margin_N, decision.weight_N)
    valid_N = (
        np.isfinite(np.stack(columns)).all(axis=0)
        & (decision.target_N >= 0)
        & (decision.target_N <= 1)
        & (decision.weight_N >= 0)
    )
    if not valid_N.all():
        at = int(np.argmin(valid_N))
        raise DataError(
            f"pair {ids[at]}: the policy gave target {columns[0][at]}, margin {columns[1][at]}, "
            f"weight {columns[2][at]}; expected a target in [0, 1], a finite margin, a weight >= 0"
        )
    reasons = np.where(decision.acted_N, decision.reason, "keep").astype(object)
    if decision.outside_N is not None:
        reasons[decision.outside_N] = "outside"
    return [
        Verdict(id_, float(target), float(margin), float(weight), str(reason))
        for id_, target, margin, weight, reason in zip(ids, *columns, reasons, strict=True)
    ]
