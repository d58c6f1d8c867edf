"""What a loss of rankings asks of its data and its batches.

Shapes: N pairs of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tamis.errors import ConfigError
from tamis.train.dataset import TrainingSet
from tamis.train.order import Indices


def check_rankable(data: TrainingSet, *, loss: str) -> None:
    """Check that every pair says which side is better, and says it once.

    Raises:
        ConfigError: a target is neither 0 nor 1, or a weight other than 1.
    """
    # pairs are turned so that target >= 0.5, and those of weight 0 are gone
    for name, value_N, hint in (
        ("target", data.target_N, "a policy that keeps, flips or drops, not soft or soft_margin"),
        ("weight", data.weight_N, "a policy whose weights are 0 and 1"),
    ):
        wrong = np.flatnonzero(value_N != 1)
        if len(wrong):
            raise ConfigError(
                f"loss {loss} ranks answers, and {len(wrong)} of {len(value_N)} pairs have a "
                f"{name} other than 0 and 1 (for example {value_N[wrong[0]]:.6g}); choose {hint}, "
                "or a loss of single pairs such as bradley_terry"
            )


def whole_rankings(numbers: Indices, *, prompts: Indices, num_parts: int) -> list[Indices]:
    """Cut a batch into parts of nearly equal size that part no pairs of one prompt.

    Args:
        numbers: the pairs of a batch, those of a prompt side by side.
        prompts: which pairs share a prompt [N].
        num_parts: at least 1.

    Raises:
        ConfigError: the batch has fewer prompts than parts.

    >>> prompts = np.array([7, 7, 7, 5, 5, 9])
    >>> [part.tolist() for part in whole_rankings(np.arange(6), prompts=prompts, num_parts=2)]
    [[0, 1, 2], [3, 4, 5]]
    """
    borders = np.flatnonzero(np.diff(prompts[numbers])) + 1
    if len(borders) < num_parts - 1:
        raise ConfigError(
            f"a batch of {len(numbers)} pairs has {len(borders) + 1} prompts and is computed in "
            f"{num_parts} parts, but rankings are not parted; choose a larger batch_size or "
            "micro_batch_size, or fewer processes"
        )
    cuts: list[int] = []
    low = 0
    for number in range(1, num_parts):
        free = borders[low : len(borders) - (num_parts - 1 - number)]
        low += int(np.abs(free - number * len(numbers) / num_parts).argmin()) + 1
        cuts.append(int(borders[low - 1]))
    return np.split(numbers, cuts)


def held_out_rankings(
    parts: Sequence[Indices], *, prompts: Indices, num_processes: int
) -> list[Indices]:
    """Cut held-out pairs anew, into at most as many parts, so that no ranking is parted.

    Raises:
        ConfigError: they have fewer prompts than there are processes.
    """
    numbers = np.concatenate(parts)
    side_by_side = numbers[np.argsort(prompts[numbers], kind="stable")]
    most = min(len(parts), len(np.unique(prompts[numbers])))
    num_parts = max(num_processes, most - most % num_processes)
    return whole_rankings(side_by_side, prompts=prompts, num_parts=num_parts)


def whole_frac(parts: Sequence[Indices], *, prompts: Indices, train_N: Indices) -> float:
    """Return the share of the rankings, over all parts, that a part holds whole.

    A prompt with many pairs fills several batches; each of them then ranks what it has.

    >>> prompts, everything = np.array([0, 0, 1, 1]), np.arange(4)
    >>> whole_frac([np.array([0, 1, 2]), np.array([3])], prompts=prompts, train_N=everything)
    0.3333333333333333
    """
    size_U = np.bincount(prompts[train_N])
    num_whole = num_all = 0
    for part in parts:
        found, count = np.unique(prompts[part], return_counts=True)
        num_whole += int((count == size_U[found]).sum())
        num_all += len(found)
    return num_whole / num_all
