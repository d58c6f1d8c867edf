"""One score from several kinds of evidence on a label, fitted on the labels themselves.

Shape legend: N pairs, F kinds of evidence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tamis.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def combined_evidence(evidence_NF: Floats, *, folds_N: Ints) -> Floats:
    """Return the log odds that the label says "chosen", as the evidence predicts it [N].

    Each kind of evidence is a gap in the orientation of the label, positive where it speaks for
    chosen, so that turning a pair negates it. A logistic regression without intercept predicts the
    labels from it; the folds keep a label from judging itself, given evidence that does not know it
    either. No trusted label is needed: wrong labels lower the odds of all, and keep their order.

    Args:
        evidence_NF: finite; scaled here to a mean square of 1 for each kind.
        folds_N: fold of each pair, at least two different ones.

    Raises:
        DataError: evidence that is not finite, shapes that differ, or fewer than two folds.

    >>> evidence = np.array([[2.0], [1.0], [-1.0], [3.0]])
    >>> (combined_evidence(evidence, folds_N=np.array([0, 1, 0, 1])) > 0).tolist()
    [True, True, False, True]
    """
    if evidence_NF.ndim != 2 or folds_N.shape != evidence_NF.shape[:1]:
        raise DataError(
            f"evidence {evidence_NF.shape} and folds {folds_N.shape} differ in shape, expected "
            "[N, F] and [N]"
        )
    if not np.isfinite(evidence_NF).all():
        raise DataError("the evidence holds NaN or infinity, expected finite numbers only")
    if np.unique(folds_N).size < 2:
        raise DataError(f"the {len(folds_N)} pairs lie in one fold, expected at least two folds")
    scale_F = np.sqrt(np.square(evidence_NF).mean(axis=0))
    scaled_NF = evidence_NF / np.where(scale_F == 0.0, 1.0, scale_F)
    odds_N = np.empty(len(scaled_NF))
    for fold in np.unique(folds_N):
        held_out_N = folds_N == fold
        odds_N[held_out_N] = scaled_NF[held_out_N] @ label_odds(scaled_NF[~held_out_N])
    return odds_N


def label_odds(evidence_NF: Floats) -> Floats:
    """Return the weights [F] with which evidence predicts that the label says "chosen".

    Every label says "chosen" in its own orientation, and a classifier needs both outcomes: each
    pair enters as it is and turned, at half the weight.
    """
    both = np.concatenate([evidence_NF, -evidence_NF])
    outcome = np.repeat([1.0, 0.0], len(evidence_NF))
    model = LogisticRegression(fit_intercept=False)
    model.fit(both, outcome, sample_weight=np.full(len(both), 0.5))
    return np.asarray(model.coef_[0], dtype=np.float64)
