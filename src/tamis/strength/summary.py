"""Summaries of votes. A vote is a voter's gap: score(chosen) - score(rejected).

A voter that did not vote on a pair has NaN there, and a summary is of the votes that were cast.

Shape legend: N pairs, K voters, C couples of voters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError

ROUNDING = 1e-12  # a smaller share of a sum of squares is a rounding error

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """Strength of each pair: mean and population std of the gap, and the agreement with the label.

    ``agreement_N`` is the share of voters that score the chosen answer higher (a tie counts half).
    """

    mean_N: Floats
    std_N: Floats
    agreement_N: Floats


def summarise(votes_NK: Floats) -> Summary:
    """Summarise the votes on each pair.

    mean = (1/M) sum_k d_k and std = sqrt((1/M) sum_k (d_k - mean)^2) over the M votes cast on the
    pair: population std, divided by M.

    Raises:
        DataError: a vote is infinite, or a pair has no vote.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), eq. 4, where all K voters vote on every
    pair.

    >>> summary = summarise(np.array([[1.0, 3.0, np.nan], [-1.0, np.nan, 1.0]]))
    >>> summary.mean_N.tolist(), summary.std_N.tolist(), summary.agreement_N.tolist()
    ([2.0, 0.0], [1.0, 1.0], [1.0, 0.5])
    """
    _check(votes_NK)
    cast_NK, num_N = _cast(votes_NK)
    mean_N = mean_votes(votes_NK)
    deviation_NK = np.where(cast_NK, votes_NK - mean_N[:, None], 0.0)
    std_N = np.sqrt(np.square(deviation_NK).sum(axis=1) / num_N)
    agreement_N = ((votes_NK > 0) + 0.5 * (votes_NK == 0)).sum(axis=1) / num_N
    return Summary(mean_N, std_N, agreement_N)


def mean_votes(votes_NK: Floats) -> Floats:
    """Return the mean of the votes cast on each pair [N].

    >>> mean_votes(np.array([[1.0, 3.0], [np.nan, -1.0]])).tolist()
    [2.0, -1.0]
    """
    cast_NK, num_N = _cast(votes_NK)
    return np.asarray(np.where(cast_NK, votes_NK, 0.0).sum(axis=1) / num_N)


def voter_correlation(votes_NK: Floats) -> float | None:
    """Return the mean Pearson correlation between two voters, over the pairs both voted on.

    Near 1 the voters repeat each other: their std then says nothing about certainty. Two voters
    that share fewer than two pairs, or are constant on those they share, are left out; None where
    nobody is left, or where a voter says the same of all pairs.

    >>> round(voter_correlation(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])), 6)
    1.0
    """
    num_pairs, num_voters = votes_NK.shape
    if num_voters < 2 or num_pairs < 2:
        return None
    cast_NK = ~np.isnan(votes_NK)
    if not cast_NK.all():
        return _shared_correlation(votes_NK, cast_NK)
    if (votes_NK.max(axis=0) == votes_NK.min(axis=0)).any():
        return None
    matrix_KK = np.atleast_2d(np.corrcoef(votes_NK, rowvar=False))
    return float(matrix_KK[np.triu_indices(num_voters, k=1)].mean())


def negative_mean_frac(votes_NK: Floats) -> float:
    """Return the share of pairs on which the vote disagrees with the label (mean gap below 0)."""
    return float((mean_votes(votes_NK) < 0).mean())


def _shared_correlation(votes_NK: Floats, cast_NK: NDArray[np.bool_]) -> float | None:
    """Correlate every two voters over shared pairs, from sums that matrix products give."""
    num_K = np.maximum(cast_NK.sum(axis=0), 1)
    centre_K = np.where(cast_NK, votes_NK, 0.0).sum(axis=0) / num_K
    x_NK = np.where(cast_NK, votes_NK - centre_K, 0.0)  # small sums of squares, so they stay exact
    highest_K = np.where(cast_NK, votes_NK, -np.inf).max(axis=0)
    lowest_K = np.where(cast_NK, votes_NK, np.inf).min(axis=0)
    if ((num_K > 1) & (highest_K == lowest_K)).any():
        return None
    there_NK = cast_NK.astype(np.float64)
    num_KK = np.maximum(there_NK.T @ there_NK, 1.0)
    sum_KK = x_NK.T @ there_NK  # of the voter of the row, over pairs shared with the column's
    whole_KK = np.square(x_NK).T @ there_NK
    square_KK = whole_KK - np.square(sum_KK) / num_KK
    square_KK[square_KK <= ROUNDING * whole_KK] = 0.0  # constant, or alone, on what the two share
    cross_KK = x_NK.T @ x_NK - sum_KK * sum_KK.T / num_KK
    scale_KK = np.sqrt(square_KK * square_KK.T)
    couples = np.triu_indices(votes_NK.shape[1], k=1)
    scale_C, cross_C = scale_KK[couples], cross_KK[couples]
    defined_C = scale_C > 0
    return float((cross_C[defined_C] / scale_C[defined_C]).mean()) if defined_C.any() else None


def _cast(votes_NK: Floats) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    cast_NK = ~np.isnan(votes_NK)
    return cast_NK, cast_NK.sum(axis=1)


def _check(votes_NK: Floats) -> None:
    infinite_N = np.isinf(votes_NK).any(axis=1)
    if infinite_N.any():
        at = int(np.argmax(infinite_N))
        raise DataError(f"pair number {at}: a vote is not finite: {votes_NK[at].tolist()}")
    silent_N = np.isnan(votes_NK).all(axis=1)
    if silent_N.any():
        at = int(np.argmax(silent_N))
        raise DataError(f"pair number {at}: no vote was cast; expected at least one")
