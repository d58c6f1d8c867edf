"""Drawing pairs by how wrong the model is about them, and weights that take that back.

Prioritised replay (Schaul et al. 2016) on preference pairs: what was a temporal-difference error is
the residual of a pair, and DALAP (arXiv 2311.14390), which sets the exponent of the weights from
the measured shift of the sampling distribution, is read in closed form. Its attention network, its
map from shift to exponent and its priority encouragement are published without code and not
followed. Everything here is a function of its arguments.

Shapes: N pairs of the training set, B draws, F features of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.train.order import Indices
from tamis.train.step_config import PriorityConfig

NUM_COMPARED = 512

Floats = NDArray[np.float64]


def residuals(delta_N: Floats, *, target_N: Floats, margin_N: Floats) -> Floats:
    """Return ``|sigmoid(delta - margin) - target|``, the size of Bradley-Terry's gradient.

    In [0, 1]; with a target of 1 and no margin 1 - sigmoid(delta). Used whatever the base loss.

    >>> one, zero = np.ones(1), np.zeros(1)
    >>> residuals(zero, target_N=one, margin_N=zero).tolist()
    [0.5]
    """
    with np.errstate(over="ignore"):  # sigmoid is 0 there
        wins_N = 1.0 / (1.0 + np.exp(margin_N - delta_N))
    return np.asarray(np.abs(wins_N - target_N))


def draw_probabilities(residual_N: Floats, *, config: PriorityConfig) -> Floats:
    """Return the probability of each pair at every draw.

        P = (1 - u) p / sum p + u / N  with  p = clip(residual, least, most)^alpha

    ``most`` is below 1 because a pair of large residual is often one with a wrong label; ``u`` lets
    every pair come again, so that no residual grows old for ever.

    >>> draw_probabilities(np.array([0.5, 0.5]), config=PriorityConfig()).round(6).tolist()
    [0.5, 0.5]
    """
    priority_N = np.clip(residual_N, config.least, config.most) ** config.alpha
    share_N = (1.0 - config.uniform_frac) * priority_N / priority_N.sum()
    return np.asarray(share_N + config.uniform_frac / len(priority_N))


def importance_weights(probability_N: Floats, *, beta: float) -> Floats:
    """Return what the loss of a drawn pair is multiplied with, for each pair.

        w = (N P)^-beta / sum_i P_i (N P_i)^-beta

    With beta 1 the denominator is 1, and the mean over draws of weight times loss has the mean loss
    of all pairs as its expectation, whatever P. For other beta it is biased towards pairs that are
    drawn often; the denominator makes the expected weight 1, so that the scale of the loss, and of
    the step, does not depend on beta. *Deviation:* Schaul et al. divide by the largest weight,
    which makes steps smaller the more unequal the draws are, and changes the loss at beta 1, too.

    >>> importance_weights(np.array([0.75, 0.25]), beta=1.0).round(3).tolist()
    [0.667, 2.0]
    """
    weight_N = (len(probability_N) * probability_N) ** -beta
    return np.asarray(weight_N / (probability_N @ weight_N))


def stratified_draw(probability_N: Floats, *, size: int, rng: np.random.Generator) -> Indices:
    """Return ``size`` pairs, one from each of so many equal parts of the distribution, shuffled.

    The expected number of times that a pair is drawn is ``size`` times its probability, as with
    independent draws, and varies less (Schaul et al. 2016, appendix B.2.1).

    >>> rng = np.random.default_rng(0)
    >>> sorted(stratified_draw(np.array([0.5, 0.25, 0.25]), size=4, rng=rng).tolist())
    [0, 0, 1, 2]
    """
    ends_N = np.cumsum(probability_N)
    point_B = (np.arange(size) + rng.random(size)) / size * ends_N[-1]
    drawn_B = np.searchsorted(ends_N, point_B, side="right")
    return rng.permutation(np.minimum(drawn_B, len(ends_N) - 1)).astype(np.int64)


def effective_size(probability_N: Floats) -> float:
    """Return ``1 / sum P^2``: so many pairs, drawn alike, are as concentrated.

    >>> effective_size(np.full(4, 0.25))
    4.0
    """
    return float(1.0 / np.square(probability_N).sum())


def likeness(
    probability_N: Floats, feature_FN: Sequence[Floats], *, rng: np.random.Generator
) -> float:
    """Return how alike prioritised and equal draws are, ``kappa`` in [0, 1]; 1 = the same.

        kappa = a'K u / sqrt(a'K a  u'K u)

    where ``a`` holds the probabilities of 512 pairs (or all), ``u`` equal ones, and ``K`` attention
    without parameters, ``exp(-d^2 / (2 F))`` by the distance ``d`` of standardised features: the
    cosine of the two distributions, each pooled by attention. (DALAP draws a prioritised and a
    uniform batch, and learns the attention; weighting one sample twice has no noise where the two
    distributions are the same.)

    >>> rng = np.random.default_rng(0)
    >>> round(likeness(np.full(3, 1 / 3), [np.arange(3.0)], rng=rng), 6)
    1.0
    """
    num_pairs = len(probability_N)
    taken = np.arange(num_pairs)
    if num_pairs > NUM_COMPARED:
        taken = rng.choice(num_pairs, NUM_COMPARED, replace=False)
    feature_SF = np.stack([value_N[taken] / (value_N.std() or 1.0) for value_N in feature_FN], 1)
    square_S = np.square(feature_SF).sum(axis=1)
    distance_SS = square_S[:, None] + square_S - 2.0 * feature_SF @ feature_SF.T
    attention_SS = np.exp(-np.maximum(distance_SS, 0.0) / (2.0 * len(feature_FN)))
    prioritised_S = probability_N[taken] / probability_N[taken].sum()
    equal_S = np.full(len(taken), 1.0 / len(taken))
    between = prioritised_S @ attention_SS @ equal_S
    within = (prioritised_S @ attention_SS @ prioritised_S) * (equal_S @ attention_SS @ equal_S)
    return float(np.clip(between / np.sqrt(within), 0.0, 1.0))


def beta_of_step(
    config: PriorityConfig,
    *,
    step: int,
    num_steps: int,
    probability_N: Floats,
    feature_FN: Sequence[Floats],
    rng: np.random.Generator,
) -> float:
    """Return the exponent of the importance weights at a step, from 0.

    Annealed, it rises linearly from ``beta_start`` to 1 at the last step. Measured, it is

        beta_start + (1 - beta_start) (1 - kappa)

    so that draws that are further from equal ones are corrected more; see `likeness`.
    """
    if config.beta == "annealed":
        done = step / max(1, num_steps - 1)
    elif config.beta == "measured":
        done = 1.0 - likeness(probability_N, feature_FN, rng=rng)
    else:
        return config.beta
    return config.beta_start + (1.0 - config.beta_start) * min(1.0, done)
