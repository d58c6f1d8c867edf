"""P(label wrong): calibrated where its assumption holds, and honest about it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tamis.errors import DataError
from tamis.strength.combine import label_odds
from tamis.strength.wrong import wrong_by_mixture, wrong_by_trusted


def labels(rate: float, *, seed: int = 0, num_pairs: int = 20_000, std: float = 4.0):
    """Log odds of calibrated evidence, and labels that were turned at random."""
    rng = np.random.default_rng(seed)
    odds_N = std * rng.normal(size=num_pairs)
    chosen_N = rng.random(num_pairs) < 1 / (1 + np.exp(-odds_N))
    is_wrong_N = rng.random(num_pairs) < rate
    sign_N = np.where(chosen_N, 1.0, -1.0) * np.where(is_wrong_N, -1.0, 1.0)
    return odds_N * sign_N, is_wrong_N


def calibration_error(wrong_N, is_wrong_N, num_bins: int = 15) -> float:
    order = np.argsort(wrong_N)
    gaps = [
        len(part) / len(order) * abs(wrong_N[part].mean() - is_wrong_N[part].mean())
        for part in np.array_split(order, num_bins)
    ]
    return sum(gaps)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3, 0.4])
def test_the_mixture_finds_the_rate_of_random_flips(rate):
    odds_N, is_wrong_N = labels(rate)
    found = wrong_by_mixture(odds_N)
    assert found.noise_rate == pytest.approx(rate, abs=0.02)
    assert calibration_error(found.wrong_N, is_wrong_N) < 0.03
    assert found.method == "mixture"


def test_the_interval_holds_the_rate_and_is_narrow_where_evidence_is_strong():
    found = [wrong_by_mixture(labels(0.2, seed=n, num_pairs=2000)[0]) for n in range(40)]
    held = [one.rate_interval[0] <= 0.2 <= one.rate_interval[1] for one in found]
    assert sum(held) >= 34  # of 40 at 95%: fewer in 2 of 1,000 draws
    assert all(one.rate_interval[0] < one.noise_rate < one.rate_interval[1] for one in found)
    assert not any(one.is_vague for one in found)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_weak_evidence_does_not_tell_how_many_labels_are_wrong(rate):
    found = [wrong_by_mixture(labels(rate, seed=n, num_pairs=3000, std=0.3)[0]) for n in range(10)]
    assert all(one.is_vague for one in found)
    held = [one.rate_interval[0] <= rate <= one.rate_interval[1] for one in found]
    assert sum(held) >= 8
    # the rate itself is found nowhere near, which is why the interval must say so
    assert np.ptp([one.noise_rate for one in found]) > 0.1


def test_labels_that_close_pairs_get_wrong_are_underestimated():
    """The assumption fails, as it does with people: then too few labels are doubted."""
    rng = np.random.default_rng(0)
    gap_N = 2 * rng.normal(size=20_000)
    is_wrong_N = rng.random(20_000) < 1 / (1 + np.exp(3 * np.abs(gap_N)))
    odds_N = 3 * np.abs(gap_N) * np.where(is_wrong_N, -1, 1)
    assert wrong_by_mixture(odds_N).wrong_N.mean() < 0.5 * is_wrong_N.mean()


def test_clean_labels_are_left_in_peace():
    odds_N, _ = labels(0.0)
    assert wrong_by_mixture(odds_N).wrong_N.mean() < 0.01


def test_the_mixture_keeps_the_order_of_the_evidence():
    odds_N, _ = labels(0.2, num_pairs=500)
    wrong_N = wrong_by_mixture(odds_N).wrong_N[np.argsort(odds_N)]
    assert (np.diff(wrong_N) <= 1e-12).all()
    assert ((wrong_N >= 0) & (wrong_N <= 1)).all()


def test_the_mixture_does_not_care_for_units_or_for_silent_evidence():
    odds_N, _ = labels(0.2, num_pairs=500)
    scaled = wrong_by_mixture(1e3 * odds_N)
    np.testing.assert_allclose(scaled.wrong_N, wrong_by_mixture(odds_N).wrong_N, atol=1e-6)
    silent = wrong_by_mixture(np.zeros(10))
    assert np.isfinite(silent.wrong_N).all()
    assert silent.rate_interval == (0.0, 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_200_trusted_labels_calibrate(seed):
    odds_N, is_wrong_N = labels(0.15, seed=seed)
    trusted = np.random.default_rng(seed).choice(len(odds_N), 200, replace=False)
    found = wrong_by_trusted(odds_N, trusted=trusted, is_wrong_T=is_wrong_N[trusted])
    rest = np.setdiff1d(np.arange(len(odds_N)), trusted)
    assert calibration_error(found.wrong_N[rest], is_wrong_N[rest]) < 0.05
    skill = 1 - np.square(found.wrong_N - is_wrong_N)[rest].mean() / is_wrong_N[rest].var()
    assert skill > 0.15
    assert (found.method, found.num_trusted) == ("trusted", 200)


def evidence_on(length_N, truth_N, *, seed):
    """A vote that follows labels towards the longer answer, and the lengths, as labels have it."""
    rng = np.random.default_rng(seed)
    label_N = np.where(rng.random(len(truth_N)) < 0.75, np.sign(length_N), truth_N)
    vote_N = (0.6 * truth_N + 1.2 * length_N + rng.normal(size=len(truth_N))) * label_N
    return np.stack([vote_N, length_N * label_N], axis=1), label_N != truth_N


@pytest.mark.parametrize("seed", range(3))
def test_trusted_labels_show_a_rule_that_wrong_labels_follow(seed):
    rng = np.random.default_rng(seed)
    length_N, truth_N = rng.normal(size=3000), rng.choice([-1.0, 1.0], 3000)
    evidence_NF, is_wrong_N = evidence_on(length_N, truth_N, seed=seed)
    odds_N = evidence_NF @ label_odds(evidence_NF)
    known = {"trusted": np.arange(100), "is_wrong_T": is_wrong_N[:100]}
    alone = wrong_by_trusted(odds_N, **known).wrong_N[100:]
    beside = wrong_by_trusted(odds_N, **known, evidence_NF=evidence_NF).wrong_N[100:]
    assert roc_auc_score(is_wrong_N[100:], beside) > 0.75
    assert roc_auc_score(is_wrong_N[100:], beside) > roc_auc_score(is_wrong_N[100:], alone) + 0.05
    assert calibration_error(beside, is_wrong_N[100:]) < 0.12  # as 100 draws tell the share


@pytest.mark.parametrize("seed", range(3))
def test_kinds_of_evidence_bend_the_odds_little_where_no_rule_is(seed):
    rng = np.random.default_rng(seed)
    odds_N, is_wrong_N = labels(0.2, seed=seed, num_pairs=3000)
    others_N = rng.normal(size=3000)
    evidence_NF = np.stack([odds_N + others_N, odds_N - others_N, others_N], axis=1)
    known = {"trusted": np.arange(60), "is_wrong_T": is_wrong_N[:60]}
    alone = wrong_by_trusted(odds_N, **known).wrong_N[60:]
    beside = wrong_by_trusted(odds_N, **known, evidence_NF=evidence_NF).wrong_N[60:]
    assert roc_auc_score(is_wrong_N[60:], beside) > roc_auc_score(is_wrong_N[60:], alone) - 0.03


def test_a_review_of_the_most_suspicious_pairs_serves_as_well():
    odds_N, is_wrong_N = labels(0.15)
    trusted = np.argsort(odds_N)[:6000:20]  # a slice of the suspicious half
    found = wrong_by_trusted(odds_N, trusted=trusted, is_wrong_T=is_wrong_N[trusted])
    assert calibration_error(found.wrong_N, is_wrong_N) < 0.06


def test_what_all_evidence_has_in_common_does_not_matter_to_trusted_labels():
    odds_N, is_wrong_N = labels(0.15, num_pairs=1000)
    trusted = np.arange(30)
    asked = {"trusted": trusted, "is_wrong_T": is_wrong_N[trusted]}
    found = wrong_by_trusted(odds_N, **asked)
    shifted = wrong_by_trusted(1e-3 * odds_N + 7, **asked)
    np.testing.assert_allclose(shifted.wrong_N, found.wrong_N, atol=1e-4)
    same = wrong_by_trusted(np.full(1000, 2.0), **asked)  # for all pairs
    np.testing.assert_allclose(same.wrong_N, is_wrong_N[trusted].mean(), atol=1e-4)


def test_too_few_trusted_labels_are_refused():
    odds_N, is_wrong_N = labels(0.15, num_pairs=100)
    with pytest.raises(DataError, match=r"5 trusted labels, .* expected at least 20"):
        wrong_by_trusted(odds_N, trusted=np.arange(5), is_wrong_T=is_wrong_N[:5])
    with pytest.raises(DataError, match="0 of them against the given label; expected"):
        wrong_by_trusted(odds_N, trusted=np.arange(50), is_wrong_T=np.zeros(50, dtype=bool))
