"""Gold and proxy reward of the best of n answers, and what can be read from such a curve.

Everything linear in gold is a mean over prompts. What is not, the highest point of a curve and what
is lost after it, is read from the mean curve of each seed, and from that of each resample of the
prompts. The highest of several means is too high on average, the more so the noisier they are: what
decides is linear (see `LATE`).

Shape legend: S seeds, P prompts, K answers to each, J sizes n, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.metrics import pair_credit
from tamis.metrics.best_of import expected_gold
from tamis.metrics.divergence import best_of_kl_bound
from tamis.policy.sampling.best_of import sizes
from tamis.studies.intervals import Figure, draw_clusters, mean_figure
from tamis.studies.overoptimise.pools import standardised

GOLD, PROXY = "gold", "proxy"
END, LATE, LOST, HIGHEST = "gold at the end", "late gain", "lost after the peak", "peak gold"
AREA, ORDER = "mean gold over KL", "order of two answers"
ALPHA, BETA = "alpha", "beta"
PEAKS = (
    HIGHEST,
    LOST,
)  # of a curve's highest point: too high on average, and compared with nothing
STREAM = 0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curves:
    """What the best of n by one proxy is worth.

    Attributes:
        sizes: n [J], from 1 to all answers.
        gold_SPJ: expected gold reward, 0 for one answer.
        proxy_SPJ: expected reward by the proxy itself, standardised, 0 for one answer.
        order_SP: the share of two answers that the proxy puts in the order of gold, a tie half.
    """

    sizes: tuple[int, ...]
    gold_SPJ: Floats
    proxy_SPJ: Floats
    order_SP: Floats

    @property
    def kl(self) -> Floats:
        """How far the best of n is from the policy, in nats, were no two scores equal [J]."""
        return np.array([best_of_kl_bound(num) for num in self.sizes])


def best_of_curves(scores_SPK: Floats, gold_PK: Floats) -> Curves:
    """Return the curves of a proxy that scores the answers of the pool.

    Args:
        scores_SPK: by the proxy of each seed.
        gold_PK: standardised gold rewards.

    Raises:
        DataError: a proxy scores all answers to each prompt alike, or a score is not finite.
    """
    nums = tuple(sizes(gold_PK.shape[1]))
    proxies = [standardised(scores_PK) for scores_PK in scores_SPK]
    gold_SPJ = np.stack([_expected(own_PK, gold_PK, nums) for own_PK in proxies])
    proxy_SPJ = np.stack([_expected(own_PK, own_PK, nums) for own_PK in proxies])
    order_SP = np.stack([ordered_share(own_PK, gold_PK) for own_PK in proxies])
    return Curves(nums, gold_SPJ, proxy_SPJ, order_SP)


def mean_curves(several: Sequence[Curves]) -> Curves:
    """Return what one of several models, drawn at random, is worth: the mean of their curves."""
    return Curves(
        several[0].sizes,
        np.mean([curves.gold_SPJ for curves in several], axis=0),
        np.mean([curves.proxy_SPJ for curves in several], axis=0),
        np.mean([curves.order_SP for curves in several], axis=0),
    )


def early_place(nums: Sequence[int]) -> int:
    """Return the place of the n from which the late gain is counted: the middle one.

    >>> nums = sizes(64)
    >>> nums[early_place(nums)]
    8
    """
    return len(nums) // 2


def figures_of(curves: Curves) -> dict[str, Figure]:
    """Return what is compared between arms, by name.

    ``gold at the end``: of the best of all answers. ``late gain``: this minus that of the best of
    the middle n; below 0, more optimisation makes it worse. ``alpha`` and ``beta``: of the least
    squares fit ``gold(d) = d (alpha - beta d)``, with d the root of the KL (Gao et al. 2023,
    arXiv 2210.10760, equation 1), to all n above 1. ``mean gold over KL``: the area under the curve
    over its width.
    """
    gold_SPJ, last = curves.gold_SPJ, len(curves.sizes) - 1
    weight = {END: _unit(last, last + 1)}
    weight[LATE] = weight[END] - _unit(early_place(curves.sizes), last + 1)
    weight[AREA] = _trapezoid(curves.kl)
    weight[ALPHA], weight[BETA] = _gao(curves.kl)
    found = {name: mean_over_prompts(gold_SPJ @ weight_J) for name, weight_J in weight.items()}
    found[ORDER] = mean_over_prompts(curves.order_SP)
    points = points_of(gold_SPJ)
    found[HIGHEST] = _of_curve(points, lambda curve_J: curve_J.max(axis=-1))
    found[LOST] = _of_curve(points, lambda curve_J: curve_J.max(axis=-1) - curve_J[..., -1])
    return found


def points_of(values_SPJ: Floats) -> list[Figure]:
    """Return the mean over prompts at each n."""
    return [mean_over_prompts(values_SPJ[..., place]) for place in range(values_SPJ.shape[-1])]


def peak_sizes(curves: Curves) -> Mapping[str, int | list[int]]:
    """Return the n of the highest point of the mean curve, and of that of each seed."""
    mean_SJ = curves.gold_SPJ.mean(axis=1)
    of_seeds = [curves.sizes[place] for place in mean_SJ.argmax(axis=1)]
    return {"peak": curves.sizes[int(mean_SJ.mean(axis=0).argmax())], "peak_per_seed": of_seeds}


def mean_over_prompts(values_SP: Floats) -> Figure:
    """Return the mean of a number for each prompt; equal numbers of prompts share resamples."""
    num_prompts = values_SP.shape[1]
    counts_RC = draw_clusters(num_prompts, stream=STREAM)
    return mean_figure(values_SP, clusters_N=np.arange(num_prompts), counts_RC=counts_RC)


def _of_curve(points: Sequence[Figure], read: Callable[[Floats], Floats]) -> Figure:
    value_SJ = np.stack([point.value_S for point in points], axis=-1)
    resampled_RSJ = np.stack([point.resampled_RS for point in points], axis=-1)
    return Figure(read(value_SJ), read(resampled_RSJ), points[0].num_items)


def _expected(score_PK: Floats, worth_PK: Floats, nums: Sequence[int]) -> Floats:
    return np.array(
        [
            [expected_gold(score_K, worth_K, num_answers=num) for num in nums]
            for score_K, worth_K in zip(score_PK, worth_PK, strict=True)
        ]
    )


def ordered_share(score_PK: Floats, gold_PK: Floats) -> Floats:
    """Return the share of two answers to a prompt that scores put in the order of gold [P].

    A tie of scores is a half; two answers of equal gold do not count.

    >>> ordered_share(np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 5.0, 4.0]])).round(3).tolist()
    [0.667]
    """
    first, second = np.triu_indices(gold_PK.shape[1], 1)
    gold_PN = np.sign(gold_PK[:, first] - gold_PK[:, second])
    credit_PN = pair_credit((score_PK[:, first] - score_PK[:, second]) * gold_PN)
    differs_PN = gold_PN != 0
    num_P = differs_PN.sum(axis=1)
    total_P = np.where(differs_PN, credit_PN, 0.0).sum(axis=1)
    # a prompt whose answers are all alike for gold says nothing, and counts as chance
    share_P: Floats = np.where(num_P > 0, total_P / np.maximum(num_P, 1), 0.5)
    return share_P


def _unit(place: int, size: int) -> Floats:
    unit_J = np.zeros(size)
    unit_J[place] = 1.0
    return unit_J


def _trapezoid(kl_J: Floats) -> Floats:
    """Return the weights of the mean of a function over KL, linear between its points."""
    step_I = np.diff(kl_J)
    weight_J = np.zeros(len(kl_J))
    weight_J[:-1] += step_I / 2
    weight_J[1:] += step_I / 2
    weight_J /= step_I.sum()
    return weight_J


def _gao(kl_J: Floats) -> Floats:
    """Return the weights of the points in alpha and in beta, [2, J]."""
    distance_J = np.sqrt(kl_J)
    weight_2J = np.zeros((2, len(kl_J)))
    weight_2J[:, 1:] = np.linalg.pinv(np.stack([distance_J, -(distance_J**2)], axis=1)[1:])
    return weight_2J
