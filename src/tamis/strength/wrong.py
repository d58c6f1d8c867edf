"""The probability that a label is wrong, from the log odds of `combined_evidence`.

Shape legend: N pairs, T of them with a trusted label, F kinds of evidence, C columns of a fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression

from tamis.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BOUNDS = ((-5.0, 5.0), (-8.0, 8.0))  # of the logarithm of the slope, and of logit(2 rate)
STARTS = ((0.0, -4.0), (0.0, 0.0), (1.0, -4.0), (1.0, 0.0))
LEAST_TRUSTED = 20  # of them at least a handful wrong and a handful right
LEAST_OF_EACH = 3
KIND_RMS = 0.5  # of a kind of evidence beside the odds
LEVEL = 0.95
VAGUE = 0.2  # an interval of the rate that is wider says next to nothing


@dataclass(frozen=True, slots=True)
class WrongLabels:
    """P(label wrong) of each pair, and where it comes from.

    Attributes:
        wrong_N: in [0, 1].
        method: ``trusted`` (fitted on trusted labels) or ``mixture`` (no trusted label was needed).
        noise_rate: of the mixture: the share of all labels that were turned at random.
        rate_interval: 95% interval of it, if what the mixture takes for granted holds.
        num_trusted: trusted labels that were used.
    """

    wrong_N: Floats
    method: Literal["trusted", "mixture"]
    noise_rate: float | None = None
    rate_interval: tuple[float, float] | None = None
    num_trusted: int = 0

    @property
    def is_vague(self) -> bool:
        """Whether the evidence is too weak for the mixture to tell how many labels are wrong."""
        low, high = self.rate_interval or (0.0, 0.0)
        return high - low > VAGUE


def wrong_by_trusted(
    odds_N: Floats,
    *,
    trusted: NDArray[np.int64],
    is_wrong_T: Bools,
    evidence_NF: Floats | None = None,
    kind_rms: float = KIND_RMS,
) -> WrongLabels:
    """Fit P(label wrong) on pairs whose label was checked: a logistic curve over the log odds.

    Where labels are wrong by a rule that most labels follow, such as towards the longer answer, the
    odds say that they are right, as they were fitted on the labels; what is checked shows the rule.
    So each kind of evidence by itself stands beside the odds. All slopes have the penalty
    slope^2 / 2, for log odds of standard deviation 1 and for kinds with a root mean square of 1/2:
    few checked pairs bend the odds little. The intercept has no penalty. On five data sets this
    ranks labels that were turned at random or near ties next to as well as the odds alone do, and
    better where wrong labels follow a rule that the votes have learnt (`make bench-trusted`).

    The trusted pairs need not be a random draw, as long as they were not chosen by their truth: a
    review of the most suspicious pairs serves as well, though its middle is then uncertain.

    Args:
        odds_N: log odds that the label says what the evidence says (`combined_evidence`).
        trusted: numbers of the T checked pairs.
        is_wrong_T: whether the check went against the label.
        evidence_NF: the kinds of evidence that the odds were made from, in the same orientation.
        kind_rms: what their root mean square is made; the smaller, the less they can bend.

    Raises:
        DataError: fewer than 20 checked pairs, or fewer than 3 wrong or 3 right ones.
    """
    num_wrong = int(is_wrong_T.sum())
    num_right = len(is_wrong_T) - num_wrong
    if len(is_wrong_T) < LEAST_TRUSTED or min(num_wrong, num_right) < LEAST_OF_EACH:
        raise DataError(
            f"{len(is_wrong_T)} trusted labels, {num_wrong} of them against the given label; "
            f"expected at least {LEAST_TRUSTED}, and {LEAST_OF_EACH} of each kind"
        )
    # what all odds have in common is for the intercept, and must not make the slope look small
    apart_N = odds_N - odds_N.mean()
    columns = [apart_N / _scale(apart_N)]
    if evidence_NF is not None:
        columns += [kind_rms * kind_N / _scale(kind_N) for kind_N in evidence_NF.T]
    x_NC = np.stack(columns, axis=1)
    model = LogisticRegression().fit(x_NC[trusted], is_wrong_T)
    wrong_N = np.asarray(model.predict_proba(x_NC)[:, 1], dtype=np.float64)
    return WrongLabels(wrong_N, "trusted", num_trusted=len(is_wrong_T))


def wrong_by_mixture(odds_N: Floats) -> WrongLabels:
    """Split the labels into right ones and ones turned at random, without any trusted label.

    Assumption: every label was turned with the same probability ``rate``, whatever the pair, and
    the odds that an unturned label says what the evidence says are ``exp(slope * log odds)``. Then

        P(label | evidence) = (1 - rate) sigmoid(slope * odds) + rate sigmoid(-slope * odds),

    a mixture of two components, fitted by maximum likelihood over rate < 1/2 and slope > 0: the
    rate is what the evidence disagrees with even where it is surest. P(label wrong) is the second
    term over the sum.

    People err more on close pairs, which this cannot see: for labels of people the rate is then too
    low and so is P(wrong). For labels turned at random it is right as far as the evidence is
    strong: without pairs on which it is sure, a weak slope and many turned labels look the same,
    and the rate may be anything. Its interval says so: all rates whose likelihood, at the slope
    that suits them best, is above that of the best by a chi-square of one degree (pairs taken as
    independent). The order of the pairs is that of the evidence either way.

    Reference: Copas, "Binary regression models for contaminated data" (JRSS B 1988), with a single
    slope and no intercept.

    Raises:
        DataError: no pairs.

    >>> evidence_N = np.concatenate([np.linspace(0, 9, 90), -np.linspace(0, 9, 10)])
    >>> round(wrong_by_mixture(evidence_N).noise_rate, 1)
    0.1
    """
    if not len(odds_N):
        raise DataError("there are no pairs")
    x_N = odds_N / _scale(odds_N)

    fits = [
        minimize(partial(_loss, x_N), start, jac=True, method="L-BFGS-B", bounds=BOUNDS)
        for start in STARTS
    ]
    best = min(fits, key=lambda fit: float(fit.fun))
    slope, rate = _unpack(best.x)
    right_N = expit(slope * x_N)
    turned_N = rate * (1.0 - right_N)
    wrong_N = turned_N / (turned_N + (1.0 - rate) * right_N)
    interval = _rate_interval(x_N, best=best.x, loss=float(best.fun))
    return WrongLabels(wrong_N, "mixture", noise_rate=rate, rate_interval=interval)


def _loss(x_N: Floats, parameters: Floats) -> tuple[float, Floats]:
    """Return the mean negative log likelihood, and its gradient."""
    slope, rate = _unpack(parameters)
    right_N = expit(slope * x_N)
    label_N = rate + (1.0 - 2.0 * rate) * right_N
    by_slope_N = (1.0 - 2.0 * rate) * right_N * (1.0 - right_N) * x_N * slope
    by_rate_N = (1.0 - 2.0 * right_N) * rate * (1.0 - 2.0 * rate)
    gradient = [-(by_slope_N / label_N).mean(), -(by_rate_N / label_N).mean()]
    return float(-np.log(label_N).mean()), np.array(gradient)


def _rate_interval(x_N: Floats, *, best: Floats, loss: float) -> tuple[float, float]:
    """Return the profile-likelihood interval of the rate."""
    most = loss + float(chi2.ppf(LEVEL, df=1)) / (2 * len(x_N))
    lowest, highest = BOUNDS[1]

    def beyond(at: float) -> float:
        found = minimize_scalar(
            lambda slope: _loss(x_N, np.array([slope, at]))[0], bounds=BOUNDS[0], method="bounded"
        )
        kept = _loss(x_N, np.array([best[0], at]))[0]  # where the search is lost
        return min(float(found.fun), kept) - most

    low = 0.0
    if beyond(lowest) > 0:
        low = _unpack(np.array([0.0, brentq(beyond, lowest, best[1], xtol=1e-2)]))[1]
    high = 0.5
    if beyond(highest) > 0:
        high = _unpack(np.array([0.0, brentq(beyond, best[1], highest, xtol=1e-2)]))[1]
    return low, high


def _unpack(parameters: Floats) -> tuple[float, float]:
    """Return slope and rate from their unbounded forms."""
    return float(np.exp(parameters[0])), 0.5 * float(expit(parameters[1]))


def _scale(odds_N: Floats) -> float:
    scale = float(np.sqrt(np.square(odds_N).mean()))
    return scale if scale > 0 else 1.0
