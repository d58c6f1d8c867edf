"""Tenths of the pairs, sorted by strength, and the parts that grow from either end.

Shape legend: N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NUM_PARTS = 10
DECILE, WEAKEST, STRONGEST = "decile", "weakest first", "strongest first"

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the pairs, in order of strength: shares ``low`` to ``high`` of them."""

    curve: str
    low: float
    high: float

    def mask(self, rank_N: NDArray[np.int64]) -> Bools:
        """Mark the pairs of the part, given the rank of each pair's strength [N].

        >>> Part(DECILE, 0.0, 0.5).mask(np.array([3, 0, 1, 2])).tolist()
        [False, True, True, False]
        """
        num_pairs = len(rank_N)
        start, end = round(num_pairs * self.low), round(num_pairs * self.high)
        return np.asarray((rank_N >= start) & (rank_N < end))


def all_parts() -> list[Part]:
    """Return the tenths, and the parts that grow from either end up to all pairs."""
    steps = [round(step / NUM_PARTS, 3) for step in range(NUM_PARTS + 1)]
    parts = [Part(DECILE, low, high) for low, high in pairwise(steps)]
    parts += [Part(WEAKEST, 0.0, high) for high in steps[1:]]
    return parts + [Part(STRONGEST, low, 1.0) for low in reversed(steps[:-1])]
