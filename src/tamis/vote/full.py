"""Voters with all weights trained: the published procedure, one training run a voter."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tamis.data import select_pairs
from tamis.errors import ConfigError
from tamis.runs import progress
from tamis.types import Pair
from tamis.vote.ballots import Member, stream_seed
from tamis.vote.config import VoteConfig

MAX_PAIRS_ON_CPU = 1000

Floats = NDArray[np.float64]


class FitVoter(Protocol):
    """Trains one reward model on pairs and returns its gap score on other pairs.

    It is handed in from above, so that voting does not depend on the trainer. An interrupted fit
    must pick up from ``work`` and end in the same result; ``work`` is removed for it in the end.
    """

    def __call__(
        self, pairs: Sequence[Pair], *, read: Sequence[Pair], seed: int, work: Path
    ) -> Floats:
        """Return score(chosen) - score(rejected) for each pair of ``read``."""
        ...


def pairs_passed(
    members: Sequence[Member], *, epochs: float, at_most: float = math.inf
) -> tuple[float, int]:
    """Return how many pairs all training runs pass over, and how many are read afterwards.

    ``at_most`` limits what one run passes over.
    """
    trained = sum(min(epochs * int(member.trains_N.sum()), at_most) for member in members)
    return trained, sum(int(member.reads_N.sum()) for member in members)


def check_affordable(
    num_pairs: int, *, config: VoteConfig, seconds: float, accelerator: bool
) -> None:
    """Refuse a full vote on many pairs without an accelerator unless it was asked for.

    Raises:
        ConfigError: more than 1,000 pairs, no accelerator, and ``allow_slow`` is off.
    """
    if num_pairs > MAX_PAIRS_ON_CPU and not accelerator and not config.allow_slow:
        raise ConfigError(
            f"`full` voters on {num_pairs:,} pairs without an accelerator would take about "
            f"{describe_time(seconds)} (limit: {MAX_PAIRS_ON_CPU:,} pairs); use `head` voters, "
            "fewer pairs (data.limit), or --allow-slow"
        )


def describe_time(seconds: float) -> str:
    """Write a duration in words.

    >>> describe_time(45), describe_time(600), describe_time(7200)
    ('45 seconds', '10 minutes', '2.0 hours')
    """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def full_votes(
    pairs: Sequence[Pair], *, members: Sequence[Member], seed: int, fit: FitVoter, work: Path
) -> Iterator[Floats]:
    """Train every member in turn and yield its gaps on the pairs it reads.

    A training run that was killed goes on from ``work``, and the result does not depend on it.
    """
    with progress(f"training {len(members)} voters", total=len(members)) as advance:
        for member in members:
            scratch = work / "runs" / member.name
            train = select_pairs(pairs, np.flatnonzero(member.trains_N))
            read = select_pairs(pairs, np.flatnonzero(member.reads_N))
            yield fit(train, read=read, seed=_member_seed(seed, member), work=scratch)
            # asked for the next one: these votes are safe, and half of the scratch would be no use
            shutil.rmtree(scratch, ignore_errors=True)
            advance(1)


def _member_seed(seed: int, member: Member) -> int:
    """Return a seed of the member's own, which does not depend on what else is cast."""
    stream = {
        "in_sample": (0,),
        "cross_fitted": (1 + (member.fold or 0),),
        "out_of_bag": (0, 1),  # numpy takes (0, 0) for (0)
    }[member.estimator]
    return stream_seed(seed, member.voter, *stream)
