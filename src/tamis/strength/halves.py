"""Balanced halves for out-of-bag votes: every pair is held out by half of the voters.

Shape legend: N pairs, K voters, U units that are dealt whole (pairs or groups), C couples of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError

BLOCK = 10  # voters that share out the pairs among themselves

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def balanced_halves(
    groups: Sequence[str] | Ints, *, num_voters: int, rng: np.random.Generator
) -> Bools:
    """Draw which voters train on which pairs, and return it [N, K]; the other half holds them out.

    Voters come in blocks of ten, the last of which may be smaller. In each block the groups are
    ordered by size, equal ones at random, and taken two at a time: a random half of the block's
    voters trains on the first, the other half on the second. So every pair is held out by exactly
    K/2 voters, and what two voters train on differs by at most the largest group (by at most one
    pair where groups are pairs). Pairs of one group are held out together; give each pair a group
    of its own to deal by pair.

    Full blocks stay as they are when voters are added, from a generator in the same state. They are
    not smaller, since the errors of a block's voters cancel in part: b voters are worth b - 1 whose
    halves are drawn apart, and couples would be worth no more than half of their number.

    Raises:
        ConfigError: the number of voters is odd, or there are fewer than two groups.

    >>> trains_NK = balanced_halves(np.arange(6), num_voters=4, rng=np.random.default_rng(0))
    >>> trains_NK.sum(axis=1).tolist(), trains_NK.sum(axis=0).tolist()
    ([2, 2, 2, 2, 2, 2], [3, 3, 3, 3])
    """
    if num_voters < 2 or num_voters % 2:
        raise ConfigError(f"num_voters is {num_voters}: out-of-bag votes need an even number")
    _, unit_N, size_U = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(size_U) < 2:
        raise ConfigError(
            f"out-of-bag votes with {len(size_U)} groups: expected at least 2, so that each voter "
            "has pairs to train on and pairs to hold out"
        )
    blocks = [
        _block(size_U, num_voters=min(BLOCK, num_voters - first), rng=rng)
        for first in range(0, num_voters, BLOCK)
    ]
    return np.asarray(np.concatenate(blocks, axis=1)[unit_N])


def _block(size_U: Ints, *, num_voters: int, rng: np.random.Generator) -> Bools:
    """Draw which voters of a block train on which units [U, num_voters]."""
    num_units = len(size_U)
    shuffled_U = rng.permutation(num_units)
    by_size_U = shuffled_U[np.argsort(-size_U[shuffled_U], kind="stable")]
    num_couples = -(-num_units // 2)
    rank_CK = rng.permuted(np.tile(np.arange(num_voters), (num_couples, 1)), axis=1)
    half_CK = rank_CK < num_voters // 2
    trains_UK = np.empty((num_units, num_voters), dtype=bool)
    trains_UK[by_size_U[::2]] = half_CK
    trains_UK[by_size_U[1::2]] = ~half_CK[: num_units // 2]
    return trains_UK
