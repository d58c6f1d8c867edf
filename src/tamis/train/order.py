"""Which pairs form which batch: pure functions of the data and a seed.

An epoch has ``ceil(N / batch_size)`` batches of nearly equal size (they differ by at most one
pair), so that no small last batch weighs as much as a whole one. Shapes: N pairs of the data set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

Indices = NDArray[np.int64]
Groups = Sequence[str] | Indices
Sampler = Literal["shuffle", "group", "length"]

MEGA_BATCHES, LEAST_PIECES = 50, 4
HOLD_OUT_STREAM, TURN_STREAM = 2, 1


def shuffled_order(num_pairs: int, *, seed: int, epoch: int) -> Indices:
    """Return a permutation of the pairs.

    >>> sorted(shuffled_order(4, seed=0, epoch=1).tolist())
    [0, 1, 2, 3]
    """
    return np.random.default_rng([seed, epoch]).permutation(num_pairs)


def grouped_order(groups: Groups, *, seed: int, epoch: int) -> Indices:
    """Return a permutation that keeps the pairs of a group together.

    Groups come in random order and so do the pairs of a group. Ouyang et al. 2022 (section 3.5) put
    all comparisons of a prompt into one batch element; here a batch holds as few prompts as it can,
    and a large group fills several batches.

    >>> order = grouped_order(["a", "b", "a", "b"], seed=0, epoch=0)
    >>> [["a", "b", "a", "b"][i] for i in order] in (list("aabb"), list("bbaa"))
    True
    """
    rng = np.random.default_rng([seed, epoch])
    code_N = _codes(groups)
    rank = rng.permutation(code_N.max(initial=0) + 1)
    return np.lexsort((rng.permutation(len(groups)), rank[code_N])).astype(np.int64)


def length_batches(
    length_N: NDArray[np.int64], *, batch_size: int, seed: int, epoch: int
) -> list[Indices]:
    """Return the batches of one epoch, each of pairs of similar length.

    The shuffled pairs are cut into pieces of 50 batches (or four pieces, where there are few); a
    piece is sorted by length and cut into its batches; all batches come in random order. So batches
    differ from epoch to epoch, and no length is favoured at any time.

    >>> length_N = np.arange(1000) % 100
    >>> batches = length_batches(length_N, batch_size=10, seed=0, epoch=0)
    >>> max(int(np.ptp(length_N[batch])) for batch in batches)
    6
    """
    order = shuffled_order(len(length_N), seed=seed, epoch=epoch)
    random = np.array_split(order, math.ceil(len(length_N) / batch_size))
    size = max(1, min(MEGA_BATCHES, len(random) // LEAST_PIECES))
    batches: list[Indices] = []
    for start in range(0, len(random), size):
        piece = random[start : start + size]
        pairs = np.concatenate(piece)
        by_length = pairs[np.argsort(length_N[pairs], kind="stable")]
        batches += np.array_split(by_length, len(piece))
    return _in_turn(batches, seed=seed, epoch=epoch)


def epoch_batches(
    groups: Groups,
    *,
    batch_size: int,
    sampler: Sampler,
    seed: int,
    epoch: int,
    length_N: NDArray[np.int64] | None = None,
) -> list[Indices]:
    """Return the batches of one epoch, each an array of pair numbers; every pair appears once.

    ``length_N``, the tokens of each pair, is needed by the sampler ``length`` alone.
    """
    num_batches = math.ceil(len(groups) / batch_size)
    if sampler == "shuffle":
        order = shuffled_order(len(groups), seed=seed, epoch=epoch)
        return np.array_split(order, num_batches)
    if sampler == "length":
        assert length_N is not None
        return length_batches(length_N, batch_size=batch_size, seed=seed, epoch=epoch)
    batches = np.array_split(grouped_order(groups, seed=seed, epoch=epoch), num_batches)
    # a group that fills several batches would otherwise be visited at one stretch
    return _in_turn(batches, seed=seed, epoch=epoch)


def training_batches(
    groups: Groups,
    *,
    batch_size: int,
    sampler: Sampler,
    seed: int,
    num_steps: int,
    length_N: NDArray[np.int64] | None = None,
) -> list[Indices]:
    """Return the batch of every optimiser step of a run, epoch after epoch."""

    def endless() -> Iterator[Indices]:
        for epoch in itertools.count():
            yield from epoch_batches(
                groups,
                batch_size=batch_size,
                sampler=sampler,
                seed=seed,
                epoch=epoch,
                length_N=length_N,
            )

    return list(itertools.islice(endless(), num_steps))


def hold_out(groups: Groups, *, frac: float, seed: int) -> tuple[Indices, Indices]:
    """Return the numbers of the pairs that are trained on, and of those held out, both sorted.

    Whole groups are drawn until they hold at least ``frac`` of the pairs; one group at least is
    left to train on.

    Raises:
        DataError: there are fewer than two groups.

    >>> train, held_out = hold_out(["a", "b", "a", "b"], frac=0.1, seed=0)
    >>> [train.tolist(), held_out.tolist()] in ([[0, 2], [1, 3]], [[1, 3], [0, 2]])
    True
    """
    code_N = _codes(groups)
    num_groups = int(code_N.max(initial=-1)) + 1
    if num_groups < 2:
        raise DataError(
            f"all {len(groups)} training pairs are of one group, so none can be held out; "
            "expected pairs of at least two groups, or a holdout_frac of 0"
        )
    drawn = np.random.default_rng([seed, 0, HOLD_OUT_STREAM]).permutation(num_groups)
    sizes = np.bincount(code_N)[drawn].cumsum()
    num_drawn = int(np.searchsorted(sizes, frac * len(groups))) + 1
    is_held_out = np.isin(code_N, drawn[: min(num_drawn, num_groups - 1)])
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def held_out_parts(numbers: Indices, *, batch_size: int, num_processes: int) -> list[Indices]:
    """Cut held-out pairs into micro-batches, none empty, the same number for each process.

    Raises:
        DataError: there are fewer pairs than processes.
    """
    if len(numbers) < num_processes:
        raise DataError(
            f"{len(numbers)} pairs are held out for {num_processes} processes; "
            "expected at least one for each, choose a larger holdout_frac"
        )
    wanted = math.ceil(len(numbers) / (batch_size * num_processes))
    num_parts = num_processes * min(wanted, len(numbers) // num_processes)
    return np.array_split(numbers, num_parts)


def micro_batches(batches: Sequence[Indices], *, num_micro: int) -> list[Indices]:
    """Cut every batch into ``num_micro`` parts of nearly equal size, in order.

    >>> [part.tolist() for part in micro_batches([np.arange(3)], num_micro=2)]
    [[0, 1], [2]]
    """
    return [part for batch in batches for part in np.array_split(batch, num_micro)]


def _in_turn(batches: Sequence[Indices], *, seed: int, epoch: int) -> list[Indices]:
    turn = np.random.default_rng([seed, epoch, TURN_STREAM]).permutation(len(batches))
    return [batches[index] for index in turn]


def _codes(groups: Groups) -> Indices:
    _, code_N = np.unique(np.asarray(groups), return_inverse=True)
    return code_N.astype(np.int64)
