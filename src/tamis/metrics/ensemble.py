"""One score from the scores of several reward models.

Shapes: K reward models, N texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from tamis.errors import ConfigError, DataError

How = Literal["mean", "min", "lower"]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """How scores are put together: ``mean``, ``min``, or ``lower``, mean - penalty * std.

    ``penalty`` >= 0 belongs to ``lower`` alone; that 1 is its default is our choice.

    Raises:
        ConfigError: there is no such way, or the penalty is negative.
    """

    how: How = "mean"
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            raise ConfigError(f"ensemble {self.how!r}: expected one of {', '.join(get_args(How))}")
        if not 0 <= self.penalty < float("inf"):
            raise ConfigError(f"penalty is {self.penalty:g}: expected a number of 0 or more")


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation (above 0) of the scores of each member, from other texts."""

    mean_K: npt.ArrayLike
    std_K: npt.ArrayLike


def ensemble_scores(
    scores_KN: npt.ArrayLike, *, ensemble: Ensemble, scale: Scale | None = None
) -> FloatArray:
    """Return the score of each text by all models together, float64 of shape [N].

    ``std`` is that of the K scores of a text, divided by K: the models are the whole ensemble, not
    a sample of one. Members are taken as they are: those of one recipe have scales alike. Where
    they have not (other losses, other data), the mean favours the member with the widest scores
    and the minimum the one with the lowest; give their ``scale``, and each is standardised with it.

    Coste et al. 2023, "Reward Model Ensembles Help Mitigate Overoptimization". Deviation: their
    uncertainty-weighted score subtracts the variance, which has the unit of a squared score;
    ``lower`` subtracts the standard deviation.

    Args:
        scores_KN: a row of scores for each model.
        ensemble: how they are put together.
        scale: standardises the members first; ``None`` leaves their scores as they are.

    Raises:
        DataError: there is no score, one is not finite, or a ``std`` is not above 0.

    >>> ensemble_scores([[1.0, 2.0], [3.0, 2.0]], ensemble=Ensemble("lower", penalty=0.5)).tolist()
    [1.5, 2.0]
    """
    score_KN = np.asarray(scores_KN, dtype=np.float64)
    if score_KN.ndim != 2 or len(score_KN) == 0:
        raise DataError(f"scores of shape {score_KN.shape}: expected a row for each model")
    bad = np.argwhere(~np.isfinite(score_KN))
    if len(bad):
        model, text = bad[0]
        raise DataError(
            f"model {model}, text {text}: the score is {score_KN[model, text]}, expected a finite "
            "number"
        )
    if scale is not None:
        score_KN = _standardised(score_KN, scale)
    if ensemble.how == "min":
        return np.asarray(score_KN.min(axis=0))
    mean_N = score_KN.mean(axis=0)
    if ensemble.how == "mean":
        return np.asarray(mean_N)
    return np.asarray(mean_N - ensemble.penalty * score_KN.std(axis=0))


def _standardised(score_KN: FloatArray, scale: Scale) -> FloatArray:
    mean_K, std_K = (np.asarray(part, dtype=np.float64) for part in (scale.mean_K, scale.std_K))
    if mean_K.shape != (len(score_KN),) or std_K.shape != mean_K.shape or not (std_K > 0).all():
        raise DataError(
            f"the scale of {len(score_KN)} models has means {mean_K.tolist()} and standard "
            f"deviations {std_K.tolist()}: expected one each, the latter above 0"
        )
    return (score_KN - mean_K[:, None]) / std_K[:, None]
