"""From a judge's scores per principle to one label per example, as published in SALMON.

For a pair with answers 1 and 2, ``score_12`` is in favour of answer 1 when it is shown first, and
``score_21`` when it is shown second; both are in favour of answer 1 where positive. Of each
principle j

    score_j = mean(score_12, score_21) / variance_j   where both have one sign, else 0

with the population variance of all its scores in both orders. An example shows k principles,
k ~ Geometric(p) given k <= most; each is turned into its opposite with some probability, which
turns its score; the label is the sign of the score of largest magnitude, and 0 means no label.

Reference: Sun et al., "SALMON: Self-Alignment with Instructable Reward Models", ICLR 2024
(arXiv 2310.05910), and its released code. Deviations: where scores of largest magnitude have both
signs there is no label (the first one decides there); a variance of 0, which divides nothing, is
read as 1; randomness belongs to the pair, so that the order of pairs does not matter. The
published rules on languages and disclaimers are left out.

Shapes: N pairs, P principles.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def standardised(score_12_NP: Floats, score_21_NP: Floats) -> Floats:
    """Return ``score_j`` of every pair and principle; NaN where a score of an order is missing.

    >>> one, two = np.array([[1.0], [-1.0], [2.0]]), np.array([[3.0], [1.0], [np.nan]])
    >>> standardised(one, two).ravel().tolist()  # the variance of 1, -1, 3, 1 is 2
    [1.0, 0.0, nan]
    """
    mean_NP = (score_12_NP + score_21_NP) / 2
    agree_NP = np.sign(score_12_NP) == np.sign(score_21_NP)
    variance_P = variances(score_12_NP, score_21_NP)
    scale_P = np.where(variance_P > 0, variance_P, 1.0)
    return np.where(np.isnan(mean_NP) | agree_NP, mean_NP / scale_P, 0.0)


def variances(score_12_NP: Floats, score_21_NP: Floats) -> Floats:
    """Return the population variance of each principle's scores in both orders, 0 without any.

    A pair that lacks the score of one order counts for nothing.
    """
    both = np.stack([score_12_NP, score_21_NP])
    seen = np.isfinite(both).all(axis=0)
    count_P = np.maximum(2 * seen.sum(axis=0), 1)
    known = np.where(seen, both, 0.0)
    mean_P = known.sum(axis=(0, 1)) / count_P
    square = np.where(seen, (both - mean_P) ** 2, 0.0)
    return np.asarray(square.sum(axis=(0, 1)) / count_P, np.float64)


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance says of one example, before any score is known.

    ``order_P`` is a permutation of all principles, of which the first ones are shown; ``count``,
    ``wording_P`` and ``noise`` are uniform in [0, 1).
    """

    order_P: NDArray[np.int64]
    count: float
    negated_P: Bools
    wording_P: Floats
    noise: float

    def shown(self, known_P: Bools, *, stop_prob: float, most: int) -> list[int]:
        """Return the principles to be shown, in order, among those that a judge knows."""
        among = [int(place) for place in self.order_P if known_P[place]]
        num = truncated_geometric(self.count, stop_prob=stop_prob, most=min(most, len(among)))
        return among[:num]


def draw_for(
    pair_id: str, number: int, *, num_principles: int, negate_prob: float, seed: int
) -> Draw:
    """Return the draw of a pair's example ``number``; it depends on these arguments alone."""
    digest = hashlib.sha256(pair_id.encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng([seed, number, int.from_bytes(digest[:8], "big")])
    return Draw(
        order_P=rng.permutation(num_principles),
        count=float(rng.random()),
        negated_P=rng.random(num_principles) < negate_prob,
        wording_P=rng.random(num_principles),
        noise=float(rng.random()),
    )


def truncated_geometric(uniform: float, *, stop_prob: float, most: int) -> int:
    """Return k in 1 ... ``most`` with P(k) proportional to (1 - p)^(k - 1) p; 0 for ``most`` 0.

    ``uniform`` in [0, 1) is turned into k by the inverse of the distribution function.

    >>> [truncated_geometric(u, stop_prob=0.2, most=8) for u in (0.0, 0.3, 0.999)]
    [1, 2, 8]
    """
    if most < 1 or stop_prob >= 1:
        return min(most, 1)
    stay = 1.0 - stop_prob
    found = math.log1p(-uniform * (1.0 - stay**most)) / math.log(stay)
    return min(max(math.floor(found) + 1, 1), most)


@dataclass(frozen=True, slots=True)
class Label:
    """``sign`` +1: the stored chosen answer is better; -1: the rejected one; 0: undecided.

    ``deciding`` is the place, among the principles shown, of the one that decides.
    """

    sign: int
    score: float
    deciding: int


def label_of(scores: Sequence[float]) -> Label:
    """Return the label of an example from the scores of its principles, in favour of chosen.

    Scores of principles whose opposite is asked for are given turned. NaN says nothing.

    >>> label_of([0.5, -2.0, 1.0])
    Label(sign=-1, score=-2.0, deciding=1)
    >>> label_of([2.0, -2.0]).sign, label_of([0.0]).sign
    (0, 0)
    """
    known = np.nan_to_num(np.asarray(scores, np.float64), nan=0.0)
    largest = np.abs(known).max()
    at = np.flatnonzero(np.abs(known) == largest)
    signs = set(np.sign(known[at]).astype(int).tolist())
    sign = signs.pop() if len(signs) == 1 else 0
    deciding = int(at[0])
    return Label(sign, float(known[deciding]) if sign else 0.0, deciding)
