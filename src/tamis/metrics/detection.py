"""How well a suspicion score finds wrong labels.

AUROC is the chance that a wrong label is more suspicious than a right one (0.5 for a random order);
average precision is the mean share of wrong labels among the most suspicious, at each wrong label
(the share of wrong labels for a random order). Which labels are wrong is known only where trusted
labels exist; they serve for evaluation alone.

Shapes: N pairs, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from tamis.errors import DataError
from tamis.metrics.bootstrap import bootstrap_statistic
from tamis.types import Interval

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Detection:
    """AUROC and average precision of a suspicion score, with what a random order reaches.

    ``num_wrong`` counts the wrong labels of all seeds together, ``num_items`` the pairs of one
    seed. The tuples hold one value a seed: their spread is not part of the intervals.
    """

    auroc: Interval
    average_precision: Interval
    chance_average_precision: float
    num_wrong: int
    num_items: int
    chance_auroc: float = 0.5
    auroc_per_seed: tuple[float, ...] = ()
    average_precision_per_seed: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The pairs in order of falling suspicion; ``start`` marks where each run of ties begins."""

    order_N: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    is_wrong_N: BoolArray


def detection(
    suspicion_N: npt.ArrayLike,
    is_wrong_N: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike,
    seed: int,
    num_resamples: int = 200,
    known: npt.ArrayLike | None = None,
) -> Detection:
    """Measure how well a high suspicion marks a wrong label, with 95% intervals.

    The values are those of scikit-learn's ``roc_auc_score`` and ``average_precision_score``; the
    resamples use the same definitions on an order that is sorted once.

    Args:
        suspicion_N: finite, higher = more likely wrong (for a strength: its negative). ``[S, N]``
            for several seeds; both figures are then averaged over the seeds.
        is_wrong_N: whether the label of the pair is wrong, ``[N]`` or ``[S, N]``.
        clusters: ``[N]`` or ``[N, 2]`` integers, see `tamis.metrics.cluster_bootstrap`.
        seed: of the resamples.
        num_resamples: of each interval.
        known: for which pairs the truth is known, ``[N]`` or ``[S, N]``; the others are left out.

    Raises:
        DataError: shapes that do not match, a suspicion that is not finite, or one kind of labels.

    >>> found = detection([3, 2, 1, 0], [True, False, True, False], clusters=[0, 1, 2, 3], seed=0)
    >>> (found.auroc.value, round(found.average_precision.value, 4), found.num_wrong)
    (0.75, 0.8333, 2)
    """
    suspicion_SN, is_wrong_SN, known_SN = _checked(suspicion_N, is_wrong_N, known)
    rankings = _rankings(suspicion_SN, is_wrong_SN, known_SN)

    def interval(
        statistic: Callable[[_Ranking, FloatArray], float], per_seed: Sequence[float]
    ) -> Interval:
        resampled = bootstrap_statistic(
            lambda weights_N: float(np.mean([statistic(r, weights_N) for r in rankings])),
            clusters=clusters,
            num_resamples=num_resamples,
            seed=seed,
        )
        value = float(np.mean(per_seed))
        return Interval(value, resampled.low, resampled.high, resampled.num_items)

    by_seed = [
        (w_N[k_N], s_N[k_N])
        for w_N, s_N, k_N in zip(is_wrong_SN, suspicion_SN, known_SN, strict=True)
    ]
    aurocs = tuple(float(roc_auc_score(w_N, s_N)) for w_N, s_N in by_seed)
    precisions = tuple(float(average_precision_score(w_N, s_N)) for w_N, s_N in by_seed)
    return Detection(
        auroc=interval(_auroc, aurocs),
        average_precision=interval(_average_precision, precisions),
        chance_average_precision=float(np.mean([w_N.mean() for w_N, _ in by_seed])),
        num_wrong=int((is_wrong_SN & known_SN).sum()),
        num_items=suspicion_SN.shape[1],
        auroc_per_seed=aurocs,
        average_precision_per_seed=precisions,
    )


def detection_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    is_wrong: npt.ArrayLike,
    *,
    measure: Literal["auroc", "average_precision"],
    clusters: npt.ArrayLike,
    seed: int,
    num_resamples: int = 200,
    known: npt.ArrayLike | None = None,
) -> Interval:
    """Return how much better the first suspicion is than the second, both on the same resamples.

    Arguments and errors as for `detection`.

    >>> found = detection_difference(
    ...     [3, 2, 1, 0], [0, 0, 0, 0], [True, True, False, False],
    ...     measure="auroc", clusters=[0, 1, 2, 3], seed=0,
    ... )
    >>> found.value
    0.5
    """
    sides = [_rankings(*_checked(suspicion, is_wrong, known)) for suspicion in (first, second)]
    statistic = _auroc if measure == "auroc" else _average_precision

    def difference(weights_N: FloatArray) -> float:
        one, other = (np.mean([statistic(r, weights_N) for r in rankings]) for rankings in sides)
        return float(one - other)

    return bootstrap_statistic(
        difference, clusters=clusters, num_resamples=num_resamples, seed=seed
    )


def _checked(
    suspicion: npt.ArrayLike, is_wrong: npt.ArrayLike, known: npt.ArrayLike | None
) -> tuple[FloatArray, BoolArray, BoolArray]:
    suspicion_SN = np.atleast_2d(np.asarray(suspicion, dtype=np.float64))
    wrong_SN = np.atleast_2d(np.asarray(is_wrong, dtype=np.bool_))
    shapes = {suspicion_SN.shape, suspicion_SN[:1].shape}
    known_SN = np.ones_like(wrong_SN) if known is None else np.atleast_2d(np.asarray(known, bool))
    if suspicion_SN.ndim != 2 or wrong_SN.shape not in shapes or known_SN.shape not in shapes:
        raise DataError(
            f"suspicion has the shape {np.shape(suspicion)} and is_wrong {np.shape(is_wrong)}, "
            "expected [N] or [S, N] with the same N, and as many known"
        )
    if not np.isfinite(suspicion_SN).all():
        raise DataError("suspicion holds NaN or infinity, expected finite numbers only")
    wrong_SN = np.broadcast_to(wrong_SN, suspicion_SN.shape)
    known_SN = np.broadcast_to(known_SN, suspicion_SN.shape)
    num_wrong_S, num_known_S = (wrong_SN & known_SN).sum(axis=1), known_SN.sum(axis=1)
    if (num_wrong_S == 0).any() or (num_wrong_S == num_known_S).any():
        raise DataError(
            f"{num_wrong_S.min()} to {num_wrong_S.max()} of {num_known_S.max()} labels are wrong, "
            "expected some wrong and some right ones"
        )
    return suspicion_SN, wrong_SN, known_SN


def _rankings(
    suspicion_SN: FloatArray, is_wrong_SN: BoolArray, known_SN: BoolArray
) -> list[_Ranking]:
    return [
        _rank(s_N, w_N, np.flatnonzero(k_N))
        for s_N, w_N, k_N in zip(suspicion_SN, is_wrong_SN, known_SN, strict=True)
    ]


def _rank(suspicion_N: FloatArray, is_wrong_N: BoolArray, known: npt.NDArray[np.int64]) -> _Ranking:
    order_N = known[np.argsort(-suspicion_N[known], kind="stable")]
    sorted_N = suspicion_N[order_N]
    start = np.flatnonzero(np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]]))
    return _Ranking(order_N, start, is_wrong_N[order_N])


def _by_threshold(ranking: _Ranking, weights_N: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the weight of wrong and of right labels at each distinct suspicion, falling."""
    weight_N = weights_N[ranking.order_N]
    wrong = np.add.reduceat(weight_N * ranking.is_wrong_N, ranking.start)
    return wrong, np.add.reduceat(weight_N, ranking.start) - wrong


def _auroc(ranking: _Ranking, weights_N: FloatArray) -> float:
    wrong, right = _by_threshold(ranking, weights_N)
    area = wrong.sum() * right.sum()
    if area <= 0:
        return float("nan")
    less_suspicious = right.sum() - np.cumsum(right)
    return float(wrong @ (less_suspicious + 0.5 * right) / area)


def _average_precision(ranking: _Ranking, weights_N: FloatArray) -> float:
    wrong, right = _by_threshold(ranking, weights_N)
    found, seen = np.cumsum(wrong), np.cumsum(wrong + right)
    if found[-1] <= 0:
        return float("nan")
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    return float(wrong @ precision / found[-1])
