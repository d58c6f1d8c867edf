"""Who votes on what, and the votes that come of it, whatever the kind of the voters.

An estimator is a way of holding pairs out. It turns into members: trained voters, each with the
pairs that it learns from and those that it reads. A kind of voters is a function from members to
their votes (``head_votes``, ``full_votes``, ``branch_votes``), and ``collect`` sorts these into
ballots.

Shape legend: N pairs, K voters, R pairs that a member reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.strength.folds import group_folds, pair_folds
from tamis.strength.halves import balanced_halves
from tamis.types import Pair
from tamis.vote.config import Estimator, VoteConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HEADLINE_ORDER: tuple[Estimator, ...] = ("cross_fitted", "out_of_bag", "in_sample")
HALVES_STREAM = (0, 0, 2)  # apart from the streams (seed, voter) of folds and orders


@dataclass(frozen=True, slots=True)
class Member:
    """One trained voter of an estimator: which pairs it learns from, and which it votes on."""

    estimator: Estimator
    voter: int
    trains_N: Bools
    reads_N: Bools
    fold: int | None = None

    @property
    def name(self) -> str:
        """The estimator, the voter and the fold, as in ``cross_fitted-0-1``."""
        parts = (self.estimator, self.voter, self.fold)
        return "-".join(str(part) for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Ballots:
    """The votes on each pair by estimator, None if not cast; NaN where a voter did not vote.

    ``out_of_bag_NK`` holds the votes of the voters that a pair was held out from; their votes on
    their own training pairs are in ``in_sample_NK``, unless whole in-sample votes were asked for.
    """

    in_sample_NK: Floats | None
    cross_fitted_NK: Floats | None
    out_of_bag_NK: Floats | None = None

    @property
    def headline(self) -> Estimator:
        """The estimator that strength is read from: cross-fitted, else out-of-bag, else in-sample.

        Raises:
            DataError: there are no votes.
        """
        for estimator in HEADLINE_ORDER:
            if self.of(estimator) is not None:
                return estimator
        raise DataError("there are no votes")

    @property
    def headline_NK(self) -> Floats:  # noqa: N802
        """The votes that strength is read from."""
        votes_NK = self.of(self.headline)
        assert votes_NK is not None  # the headline is one that was cast
        return votes_NK

    def of(self, estimator: Estimator) -> Floats | None:
        """Return the votes of one estimator."""
        return {
            "cross_fitted": self.cross_fitted_NK,
            "out_of_bag": self.out_of_bag_NK,
            "in_sample": self.in_sample_NK,
        }[estimator]


def voting_members(pairs: Sequence[Pair], *, config: VoteConfig, seed: int) -> list[Member]:
    """Return all members of a vote, voter after voter; every voter has as many.

    The members of a voter are: for ``cross_fitted``, one a fold, which learns from the other folds
    and reads that one; for ``in_sample``, one that learns from all pairs and reads all; for
    ``out_of_bag``, one that learns from half of the pairs and reads all.

    Raises:
        ConfigError: there are too few pairs or groups to hold some out.
    """
    cast = config.estimators_cast
    folds_NK = voter_folds(pairs, config=config, seed=seed) if "cross_fitted" in cast else None
    trains_NK = voter_halves(pairs, config=config, seed=seed) if "out_of_bag" in cast else None
    everything = np.ones(len(pairs), dtype=bool)
    members = []
    for voter in range(config.num_voters):
        if folds_NK is not None:
            for fold in range(config.num_folds):
                inside = folds_NK[:, voter] == fold
                members.append(Member("cross_fitted", voter, ~inside, inside, fold))
        if "in_sample" in cast:
            members.append(Member("in_sample", voter, everything, everything))
        if trains_NK is not None:
            members.append(Member("out_of_bag", voter, trains_NK[:, voter].copy(), everything))
    return members


def voter_folds(pairs: Sequence[Pair], *, config: VoteConfig, seed: int) -> Ints:
    """Return the fold of each pair for each voter [N, K]; every voter has folds of its own."""
    units = held_out_units(pairs, config=config)
    rngs = [np.random.default_rng([seed, voter]) for voter in range(config.num_voters)]
    columns = [deal(units, num_folds=config.num_folds, rng=rng) for rng in rngs]
    return np.stack(columns, axis=1)


def voter_halves(pairs: Sequence[Pair], *, config: VoteConfig, seed: int) -> Bools:
    """Return which voter trains on which pair [N, K]: half of the voters on each."""
    units = held_out_units(pairs, config=config)
    rng = np.random.default_rng([seed, *HALVES_STREAM])
    return balanced_halves(units, num_voters=config.num_voters, rng=rng)


def held_out_units(pairs: Sequence[Pair], *, config: VoteConfig) -> list[str] | Ints:
    """Return what is held out as a whole, for each pair: its group, or the number of the pair."""
    if config.fold_by == "pair":
        return np.arange(len(pairs))
    return [pair.group or pair.id for pair in pairs]


def deal(units: list[str] | Ints, *, num_folds: int, rng: np.random.Generator) -> Ints:
    """Deal the units of `held_out_units` into folds, and return the fold of each pair [N]."""
    if isinstance(units, list):
        return group_folds(units, num_folds=num_folds, rng=rng)
    return pair_folds(len(units), num_folds=num_folds, rng=rng)


def training_masks(members: Sequence[Member]) -> Bools:
    """Return which member trains on which pair, as one matrix with a column a member."""
    return np.stack([member.trains_N for member in members], axis=1)


def collect(members: Sequence[Member], votes: Iterable[Floats]) -> Ballots:
    """Sort the votes of all members, given in their order, into ballots.

    Raises:
        DataError: a vote is NaN or infinite.
    """
    shape = (len(members[0].trains_N), 1 + max(member.voter for member in members))
    asked = {member.estimator for member in members}
    known = asked | ({"in_sample"} if "out_of_bag" in asked else set())
    votes_of = {estimator: np.full(shape, np.nan) for estimator in known}
    for member, votes_R in zip(members, votes, strict=True):
        _check_finite(member, votes_R)
        for estimator, used_N in _uses(member, asked=asked):
            votes_of[estimator][used_N, member.voter] = votes_R[used_N[member.reads_N]]
    return Ballots(
        votes_of.get("in_sample"), votes_of.get("cross_fitted"), votes_of.get("out_of_bag")
    )


def stream_seed(seed: int, *stream: int) -> int:
    """Return a seed for torch that depends on ``seed`` and on a place, such as the voter's."""
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0] % 2**31)


def _uses(member: Member, *, asked: set[Estimator]) -> Iterator[tuple[Estimator, Bools]]:
    """Tell for which pairs the votes of a member count, and as which votes."""
    if member.estimator != "out_of_bag":
        yield member.estimator, member.reads_N
        return
    yield "out_of_bag", member.reads_N & ~member.trains_N
    if "in_sample" not in asked:
        yield "in_sample", member.reads_N & member.trains_N


def _check_finite(member: Member, votes_R: Floats) -> None:
    finite_R = np.isfinite(votes_R)
    if not finite_R.all():
        at = int(np.argmin(finite_R))
        pair = int(np.flatnonzero(member.reads_N)[at])
        raise DataError(
            f"voter {member.name}, pair number {pair}: a vote is not finite: {votes_R[at]}; "
            "its training diverged, expected a smaller learning rate"
        )
