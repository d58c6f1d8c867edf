"""Confident learning, by the library that is known for it, on the votes that Tamis casts.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR
2021), as cleanlab implements it. It classifies, so a pair becomes an example of one of two classes,
"the first text is better" or "the second is": which text comes first is drawn at random.

Shape legend: N pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tamis.errors import ConfigError

STREAM = 5

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Confident:
    """What cleanlab says of N labels: their quality in [0, 1], and which of them are issues."""

    quality_N: Floats
    issue_N: Bools


def confident_learning(mean_N: Floats, *, seed: int) -> Confident:
    """Judge each label by the out-of-fold strength of its pair.

    ``sigmoid(strength)`` is the predicted probability of the given label. Quality is cleanlab's
    default, self-confidence, and so is the choice of issues, ``prune_by_noise_rate``.

    Raises:
        ConfigError: cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cleanlab":
            raise
        raise ConfigError("studies need cleanlab: pip install 'tamis[study]'") from error
    label_N = np.random.default_rng([seed, STREAM]).integers(0, 2, len(mean_N))
    first_N = expit(np.where(label_N == 1, mean_N, -mean_N))
    chance_N2 = np.stack([1.0 - first_N, first_N], axis=1)
    quality_N = get_label_quality_scores(label_N, chance_N2)
    issue_N = find_label_issues(label_N, chance_N2, n_jobs=1)
    return Confident(np.asarray(quality_N, np.float64), np.asarray(issue_N, bool))
