"""The sign-flip test: does the score follow a principle, and its opposite the other way?

For each prompt with several answers: Spearman's correlation over the answers between a measured
property (length, for "be concise") and the score under the principle, and under its opposite.

Shapes: Q prompts, A answers of one prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.float64]
LEAST_ANSWERS = 3


@dataclass(frozen=True, slots=True)
class SignFlip:
    """Correlations by prompt, and whether they have opposite signs. NaN: the prompt cannot tell.

    ``flipped_Q``: 1 where the two correlations have opposite signs, else 0. ``followed_Q``: 1 where
    that under the principle also has the sign that it asks for.
    """

    wanted_Q: Floats
    negated_Q: Floats
    flipped_Q: Floats
    followed_Q: Floats


def sign_flip(
    values: Sequence[Floats],
    *,
    wanted: Sequence[Floats],
    negated: Sequence[Floats],
    asks: float,
) -> SignFlip:
    """Compare the scores of each prompt's answers under a principle and under its opposite.

    Args:
        values: the property of the A answers of each of Q prompts.
        wanted: their scores under the principle.
        negated: their scores under its opposite.
        asks: the sign of the correlation that the principle asks for; -1 for "be concise".

    A prompt with fewer than three answers, or with answers alike in the property, cannot tell.
    Equal scores have correlation 0, which is no sign.

    >>> lengths, short_first = np.array([1.0, 2.0, 3.0]), np.array([0.9, 0.5, 0.1])
    >>> sign_flip([lengths], wanted=[short_first], negated=[-short_first], asks=-1).followed_Q
    array([1.])
    """
    pairs = [
        [correlation(value_A, score_A) for value_A, score_A in zip(values, scores, strict=True)]
        for scores in (wanted, negated)
    ]
    wanted_Q, negated_Q = (np.array(found, np.float64) for found in pairs)
    can_tell_Q = np.isfinite(wanted_Q) & np.isfinite(negated_Q)
    flipped_Q = np.where(can_tell_Q, wanted_Q * negated_Q < 0, np.nan)
    followed_Q = np.where(can_tell_Q, flipped_Q * (wanted_Q * asks > 0), np.nan)
    return SignFlip(wanted_Q, negated_Q, flipped_Q, followed_Q)


def correlation(value_A: Floats, score_A: Floats) -> float:
    """Return Spearman's correlation; NaN where the values cannot tell, 0 where all scores tie."""
    if len(value_A) < LEAST_ANSWERS or np.ptp(value_A) == 0:
        return float("nan")
    if np.ptp(score_A) == 0:
        return 0.0
    return float(spearmanr(value_A, score_A).statistic)
