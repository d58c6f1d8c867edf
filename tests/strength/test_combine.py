"""Several kinds of evidence put together, without trusted labels."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tamis.errors import DataError
from tamis.strength.combine import combined_evidence, label_odds
from tamis.strength.folds import pair_folds


def planted(seed: int = 0, num_pairs: int = 4000, noise: float = 0.2):
    """Two noisy views of the truth, one of them better, and one that knows nothing."""
    rng = np.random.default_rng(seed)
    gap_N = rng.normal(size=num_pairs)
    is_wrong_N = rng.random(num_pairs) < noise
    label_N = np.where(gap_N > 0, 1.0, -1.0) * np.where(is_wrong_N, -1.0, 1.0)
    views = [
        gap_N + rng.normal(size=num_pairs),
        gap_N + 2 * rng.normal(size=num_pairs),
        rng.normal(size=num_pairs),
    ]
    return np.stack(views, axis=1) * label_N[:, None], is_wrong_N


def folds(num_pairs: int) -> np.ndarray:
    return pair_folds(num_pairs, num_folds=5, rng=np.random.default_rng(1))


def test_together_they_find_more_than_the_best_alone():
    evidence_NF, is_wrong_N = planted()
    odds_N = combined_evidence(evidence_NF, folds_N=folds(len(evidence_NF)))
    alone = [roc_auc_score(is_wrong_N, -evidence_NF[:, kind]) for kind in range(3)]
    assert roc_auc_score(is_wrong_N, -odds_N) > max(alone) + 0.01


def test_units_do_not_matter():
    evidence_NF, _ = planted(num_pairs=300)
    odds_N = combined_evidence(evidence_NF, folds_N=folds(300))
    scaled_N = combined_evidence(evidence_NF * [1e3, 1e-4, 7.0], folds_N=folds(300))
    np.testing.assert_allclose(scaled_N, odds_N, atol=1e-5)


def test_turning_a_pair_turns_its_odds():
    evidence_NF, _ = planted(num_pairs=300)
    turned_NF = evidence_NF.copy()
    turned_NF[7] *= -1
    fold_N = folds(300)
    same = np.flatnonzero(fold_N == fold_N[7])  # whose weights know nothing of the pair
    odds_N = combined_evidence(evidence_NF, folds_N=fold_N)
    again_N = combined_evidence(turned_NF, folds_N=fold_N)
    assert again_N[7] == pytest.approx(-odds_N[7])
    same = same[same != 7]
    np.testing.assert_allclose(again_N[same], odds_N[same])
    learnt = fold_N != fold_N[7]  # whose weights know it, as one of 240
    assert (again_N[learnt] != odds_N[learnt]).all()
    np.testing.assert_allclose(again_N[learnt], odds_N[learnt], atol=0.3)


def test_the_weights_are_those_of_a_logistic_regression():
    evidence_NF, _ = planted()
    weight_F = label_odds(evidence_NF)
    slope_NF = evidence_NF / (1 + np.exp(evidence_NF @ weight_F))[:, None]
    # the gradient of sum softplus(-x w) + w^2 / 2 is 0
    np.testing.assert_allclose(slope_NF.sum(axis=0), weight_F, atol=0.5)
    assert np.abs(evidence_NF).sum() > 1e3


def test_evidence_that_never_speaks_does_no_harm():
    evidence_NF, _ = planted(num_pairs=200)
    silent_NF = np.concatenate([evidence_NF, np.zeros((200, 1))], axis=1)
    odds_N = combined_evidence(evidence_NF, folds_N=folds(200))
    silent_N = combined_evidence(silent_NF, folds_N=folds(200))
    np.testing.assert_allclose(silent_N, odds_N, atol=1e-6)


def test_what_cannot_be_used_is_refused():
    evidence_NF = np.ones((4, 1))
    with pytest.raises(DataError, match="one fold"):
        combined_evidence(evidence_NF, folds_N=np.zeros(4, np.int64))
    with pytest.raises(DataError, match="differ in shape"):
        combined_evidence(evidence_NF, folds_N=np.arange(3))
    with pytest.raises(DataError, match="NaN or infinity"):
        combined_evidence(evidence_NF * np.nan, folds_N=np.arange(4))
