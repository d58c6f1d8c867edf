"""How the order of the pairs settles as voters are added, and how many voters are enough.

Shape legend: N pairs, K voters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tamis.strength.summary import mean_votes

ENOUGH = 0.95
NUM_DRAWS = 20
MAX_PAIRS = 20_000  # a correlation over so many pairs is known well enough

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """What the vote of some of the voters says of the whole, as mean Spearman correlations.

    ``with_final`` is its correlation with the vote of all voters, of which it is a part: too high,
    and 1 in the end. ``with_others`` is its correlation with the vote of as many other voters;
    None where there are not enough of them.
    """

    num_voters: int
    with_final: float
    with_others: float | None


@dataclass(frozen=True, slots=True)
class Convergence:
    """How a vote of ``num_voters`` converges, and what is predicted of others like it.

    ``two_votes`` is the correlation to be expected between two votes of ``num_voters`` each,
    ``two_doubled`` between two of twice as many. Where voters share out the pairs, both are lower
    bounds, and ``two_votes_at_most`` is the upper bound of the first; elsewhere it is the same.
    ``num_enough`` is the smallest number of voters at which ``two_votes`` would be at least 0.95;
    None where voters do not agree at all, so that no number is.
    """

    num_voters: int
    num_draws: int
    steps: tuple[Step, ...]
    two_votes: float
    two_votes_at_most: float
    two_doubled: float
    num_enough: int | None

    @property
    def is_enough(self) -> bool:
        """Whether two such votes would order the pairs nearly alike: 0.95 or more."""
        return self.two_votes >= ENOUGH


def convergence(votes_NK: Floats, *, rng: np.random.Generator) -> Convergence | None:
    """Tell how the vote of the first k voters would have resembled the vote of all.

    For k = 1, 2, 4 and so on, the half and all: 20 times, k voters are drawn at random; their mean
    vote is compared with the mean of all, and with that of k others. What two votes of more voters
    would have in common is extrapolated from the halves by Spearman-Brown (see `spearman_brown`),
    which is exact for Pearson correlations of voters that are alike, and close for ranks.

    A voter that did not vote on a pair has NaN there; votes are compared over the pairs that both
    have. Voters that share out the pairs (see `balanced_halves`) learn from what others hold out,
    so that their errors cancel in part when all of them vote, and never between two halves of them.
    If errors come from the halves alone, a block's unreliability is half of what is extrapolated,
    ``(1 + r) / 2`` in place of r; if from all else (first weights, order), it is as extrapolated.

    Of more than 20,000 pairs, so many are drawn.

    Returns None where there is nothing to compare: one voter, fewer than two pairs,
    or votes that are the same on all pairs.
    """
    num_pairs, num_voters = votes_NK.shape
    if num_voters < 2:
        return None
    if num_pairs > MAX_PAIRS:
        votes_NK = votes_NK[np.sort(rng.choice(num_pairs, MAX_PAIRS, replace=False))]
    found = [_step(votes_NK, size=size, rng=rng) for size in _sizes(num_voters)]
    half = num_voters // 2
    (split,) = [others for size, _, others in found if size == half]
    if split is None or any(final is None for _, final, _ in found):
        return None
    steps = tuple(Step(k, final, others) for k, final, others in found if final is not None)
    two_votes = spearman_brown(split, factor=num_voters / half)
    shares = bool(np.isnan(votes_NK).any())
    return Convergence(
        num_voters=num_voters,
        num_draws=NUM_DRAWS,
        steps=steps,
        two_votes=two_votes,
        two_votes_at_most=(1 + two_votes) / 2 if shares and two_votes > 0 else two_votes,
        two_doubled=spearman_brown(split, factor=2 * num_voters / half),
        num_enough=_voters_needed(
            spearman_brown(split, factor=1 / half), multiple_of=2 if shares else 1
        ),
    )


def spearman_brown(correlation: float, *, factor: float) -> float:
    """Return the correlation of two means over ``factor`` times as many voters.

    ``factor * r / (1 + (factor - 1) * r)``. Where the voters do not agree (r <= 0) there is nothing
    to extrapolate, and r itself is returned.

    Reference: Spearman 1910 and Brown 1910, both in the British Journal of Psychology 3.

    >>> round(spearman_brown(0.5, factor=2), 3), round(spearman_brown(0.8, factor=0.5), 3)
    (0.667, 0.667)
    """
    if correlation <= 0:
        return correlation
    return factor * correlation / (1 + (factor - 1) * correlation)


def describe(found: Convergence) -> str:
    """Say in a sentence what the figures mean for the number of voters."""
    *_, before, whole = found.steps
    whole_votes = f"two votes of {whole.num_voters} voters would correlate at"
    about = f"about {found.two_votes:.3f}"
    if found.two_votes_at_most > found.two_votes:
        about = f"{found.two_votes:.3f} to {found.two_votes_at_most:.3f}"
    text = (
        f"{before.num_voters} of {whole.num_voters} voters give the order of all at Spearman "
        f"{before.with_final:.3f}; {whole_votes} {about}"
    )
    if found.num_enough is None:
        return f"{text}: the voters do not agree, and more would not help."
    if not found.is_enough:
        return f"{text}: not enough; about {found.num_enough:,} voters would reach {ENOUGH}."
    if found.num_enough == whole.num_voters:
        return f"{text}: enough."
    return f"{text}: enough, as {found.num_enough} would be."


def _sizes(num_voters: int) -> list[int]:
    """Return the numbers of voters to look at: powers of two, the half, and all."""
    powers = {2**power for power in range(num_voters.bit_length())}
    return sorted(powers | {num_voters // 2, num_voters})


def _step(
    votes_NK: Floats, *, size: int, rng: np.random.Generator
) -> tuple[int, float | None, float | None]:
    """Return the size, and mean correlations with all voters and with as many others."""
    whole_N = _mean(votes_NK)
    with_final, with_others = [], []
    for some, others in _draws(votes_NK.shape[1], size=size, rng=rng):
        some_N = _mean(votes_NK[:, some])
        with_final.append(_spearman(some_N, whole_N))
        if len(others) == size:
            with_others.append(_spearman(some_N, _mean(votes_NK[:, others])))
    return size, _defined_mean(with_final), _defined_mean(with_others)


def _draws(
    num_voters: int, *, size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Give so many voters at random, and as many of the others as there are; all voters once."""
    for _ in range(NUM_DRAWS if size < num_voters else 1):
        order = rng.permutation(num_voters)
        yield order[:size], order[size : 2 * size]


def _mean(votes_NK: Floats) -> Floats:
    """Return the mean of the votes cast on each pair, NaN where there is none [N]."""
    silent_N = np.asarray(np.isnan(votes_NK).all(axis=1))
    filled_NK = np.where(silent_N[:, None], 0.0, votes_NK)
    return np.where(silent_N, np.nan, mean_votes(filled_NK))


def _spearman(one_N: Floats, other_N: Floats) -> float | None:
    """Correlate the ranks over the pairs that both have; None where either does not vary."""
    both_N: NDArray[np.bool_] = np.isfinite(one_N) & np.isfinite(other_N)
    if both_N.sum() < 2:
        return None
    ranks = [rankdata(values_N[both_N]) for values_N in (one_N, other_N)]
    x_N, y_N = (rank_N - rank_N.mean() for rank_N in ranks)
    scale = math.sqrt(float(x_N @ x_N) * float(y_N @ y_N))
    return float(x_N @ y_N) / scale if scale > 0 else None


def _defined_mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _voters_needed(single: float, *, multiple_of: int) -> int | None:
    """Return how many voters make votes that correlate at 0.95 if single ones do at ``single``."""
    if single <= 0:
        return None
    needed = ENOUGH * (1 - single) / (single * (1 - ENOUGH))
    return multiple_of * max(1, math.ceil(needed / multiple_of - 1e-9))
