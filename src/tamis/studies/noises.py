"""How labels go wrong: as one person's vote does, or turned on purpose.

Shape legend: N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.metrics import log_length_ratio
from tamis.studies.material import Bench

STREAM = 4  # of random numbers, apart from those of votes and evidence
LENGTH_SLOPE = 3.0  # of the odds that a label is turned, over the log ratio of lengths

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Kind = Literal["votes", "uniform", "longer", "near"]

TITLES: dict[Kind, str] = {
    "votes": "one person's vote",
    "uniform": "flips, uniform",
    "longer": "flips, towards the longer",
    "near": "flips, near-ties first",
}


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise, and the share of labels that it turns (0 for votes: people decide)."""

    kind: Kind
    share: float = 0.0

    @property
    def title(self) -> str:
        """The noise in words.

        >>> Noise("uniform", 0.3).title, Noise("uniform").title
        ('flips, uniform 30%', 'clean labels')
        """
        if self.kind == "votes":
            return TITLES["votes"]
        return f"{TITLES[self.kind]} {self.share:.0%}" if self.share else "clean labels"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Labels with noise, all of N pairs.

    Attributes:
        turned_N: whether the label goes against the stored orientation.
        wrong_N: whether it goes against the truth.
        known_N: whether the truth is known.
    """

    turned_N: Bools
    wrong_N: Bools
    known_N: Bools

    def signs(self) -> NDArray[np.float32]:
        """Return what turns differences of stored sides into those of labelled ones [N, 1]."""
        return np.where(self.turned_N, -1, 1).astype(np.float32)[:, None]


def draw(noise: Noise, bench: Bench, *, seed: int, distance_N: Floats | None = None) -> Drawn:
    """Draw the labels of all training pairs.

    ``votes``: one of the people who decided, each with the same chance; the truth is the majority
    of the *other* people who decided, and is not known where they are even or nobody is left.

    The others turn exactly ``share`` of the labels, and the truth is the stored orientation.
    ``uniform``: any. ``longer``: the chance of being turned grows with how much longer the rejected
    answer is, as hasty annotators prefer the longer. ``near``: those closest to a tie, by the
    data set's own margin, else by ``distance_N``.

    Raises:
        DataError: the data set lacks what the noise needs.
    """
    rng = np.random.default_rng([seed, STREAM])
    if noise.kind == "votes":
        return _one_vote(bench, rng)
    num_pairs = len(bench.train)
    order_N = rng.permutation(num_pairs)
    if noise.kind == "longer":
        chance_N = -LENGTH_SLOPE * log_length_ratio(bench.train)
        order_N = np.argsort(-(chance_N + rng.gumbel(size=num_pairs)), kind="stable")
    elif noise.kind == "near":
        distance_N = bench.distance_N if bench.distance_N is not None else distance_N
        if distance_N is None:
            raise DataError(f"{bench.name}: nobody knows how close its pairs are")
        order_N = order_N[np.argsort(distance_N[order_N], kind="stable")]
    turned_N = np.zeros(num_pairs, dtype=bool)
    turned_N[order_N[: round(num_pairs * noise.share)]] = True
    return Drawn(turned_N, turned_N, np.ones(num_pairs, dtype=bool))


def _one_vote(bench: Bench, rng: np.random.Generator) -> Drawn:
    if any(pair.votes is None for pair in bench.train):
        raise DataError(f"{bench.name}: some pairs lack people's votes")
    votes_N2 = np.array([(p.votes.chosen, p.votes.rejected) for p in bench.train if p.votes])
    decided_N = votes_N2.sum(axis=1)
    against_N = votes_N2[:, 1] / np.maximum(decided_N, 1)
    turned_N = rng.random(len(votes_N2)) < against_N
    others_N2 = votes_N2 - np.stack([~turned_N & (decided_N > 0), turned_N], axis=1)
    lead_N = others_N2[:, 0] - others_N2[:, 1]
    return Drawn(turned_N, turned_N != (lead_N < 0), (lead_N != 0) & (decided_N > 0))
