import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from tamis.errors import DataError
from tamis.metrics import bootstrap_statistic, detection, detection_difference

rows = st.lists(
    st.tuples(st.integers(-3, 3), st.booleans()),
    min_size=4,
    max_size=25,
)


def example(num_pairs=400, *, seed=0):
    rng = np.random.default_rng(seed)
    is_wrong_N = rng.random(num_pairs) < 0.3
    return np.round(rng.normal(size=num_pairs) + is_wrong_N, 1), is_wrong_N


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(0, 1000))
def test_intervals_equal_those_of_scikit_learn(rows, seed):
    suspicion_N = np.array([row[0] for row in rows], dtype=float)
    is_wrong_N = np.array([row[1] for row in rows])
    assume(2 <= is_wrong_N.sum() <= len(rows) - 2)
    clusters = np.arange(len(rows))

    def defined(weights_N):
        return 0 < weights_N @ is_wrong_N < weights_N.sum()

    def auroc(weights_N):
        if not defined(weights_N):
            return float("nan")
        return roc_auc_score(is_wrong_N, suspicion_N, sample_weight=weights_N)

    def precision(weights_N):
        if not weights_N @ is_wrong_N:
            return float("nan")
        return average_precision_score(is_wrong_N, suspicion_N, sample_weight=weights_N)

    found = detection(suspicion_N, is_wrong_N, clusters=clusters, seed=seed, num_resamples=10)
    for ours, theirs in ((found.auroc, auroc), (found.average_precision, precision)):
        expected = bootstrap_statistic(theirs, clusters=clusters, seed=seed, num_resamples=10)
        got = (ours.value, ours.low, ours.high)
        assert got == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)


def test_perfect_reversed_and_constant_suspicion():
    is_wrong_N = np.arange(20) < 5
    clusters = np.arange(20)
    perfect = detection(is_wrong_N, is_wrong_N, clusters=clusters, seed=0)
    assert (perfect.auroc.value, perfect.auroc.low, perfect.auroc.high) == (1.0, 1.0, 1.0)
    assert perfect.average_precision.value == 1.0
    assert (perfect.num_wrong, perfect.num_items, perfect.chance_auroc) == (5, 20, 0.5)
    assert detection(~is_wrong_N, is_wrong_N, clusters=clusters, seed=0).auroc.value == 0.0
    constant = detection(np.zeros(20), is_wrong_N, clusters=clusters, seed=0)
    assert constant.auroc.value == 0.5
    assert constant.average_precision.value == constant.chance_average_precision == 0.25


def test_the_interval_holds_the_value_and_shrinks_with_data():
    small, large = (
        detection(*example(num_pairs), clusters=np.arange(num_pairs), seed=0)
        for num_pairs in (100, 2000)
    )
    for interval in (small.auroc, small.average_precision, large.auroc):
        assert interval.low < interval.value < interval.high
    assert large.auroc.high - large.auroc.low < (small.auroc.high - small.auroc.low) / 2


def test_seeds_are_averaged_and_kept():
    (first, wrong), (second, other_wrong) = example(seed=1), example(seed=2)
    clusters = np.arange(400)
    both = detection([first, second], [wrong, other_wrong], clusters=clusters, seed=0)
    singles = [
        detection(s, w, clusters=clusters, seed=0)
        for s, w in ((first, wrong), (second, other_wrong))
    ]
    assert both.auroc_per_seed == tuple(d.auroc.value for d in singles)
    assert both.auroc.value == pytest.approx(np.mean(both.auroc_per_seed))
    assert both.average_precision.value == pytest.approx(np.mean(both.average_precision_per_seed))
    assert both.num_wrong == sum(d.num_wrong for d in singles)
    same_truth = detection([first, second], wrong, clusters=clusters, seed=0)
    assert same_truth.num_wrong == 2 * singles[0].num_wrong


@pytest.mark.parametrize(
    ("suspicion", "is_wrong", "message"),
    [
        ([1.0, 2.0], [False, False], "0 to 0 of 2 labels are wrong"),
        ([1.0, 2.0], [True, True], "2 to 2 of 2"),
        ([1.0, np.nan], [True, False], "NaN"),
        ([1.0, 2.0, 3.0], [True, False], "same N"),
    ],
)
def test_bad_input_is_refused(suspicion, is_wrong, message):
    with pytest.raises(DataError, match=message):
        detection(suspicion, is_wrong, clusters=[0, 1], seed=0)


def test_pairs_whose_truth_is_not_known_are_left_out():
    suspicion_N, is_wrong_N = example()
    known_N = np.random.default_rng(2).random(400) < 0.5
    clusters = np.arange(400)
    found = detection(suspicion_N, is_wrong_N, known=known_N, clusters=clusters, seed=0)
    alone = roc_auc_score(is_wrong_N[known_N], suspicion_N[known_N])
    assert found.auroc.value == pytest.approx(alone)
    assert found.chance_average_precision == pytest.approx(is_wrong_N[known_N].mean())
    assert found.num_wrong == (is_wrong_N & known_N).sum()
    unknown_N = np.where(known_N, suspicion_N, 1e9)
    assert detection(unknown_N, is_wrong_N, known=known_N, clusters=clusters, seed=0) == found


def test_each_seed_has_its_own_unknown_pairs():
    runs = [example(seed=seed) for seed in range(2)]
    known_SN = np.random.default_rng(3).random((2, 400)) < 0.5
    suspicion_SN, wrong_SN = (np.stack(part) for part in zip(*runs, strict=True))
    found = detection(suspicion_SN, wrong_SN, known=known_SN, clusters=np.arange(400), seed=0)
    apart = [
        roc_auc_score(w_N[k_N], s_N[k_N])
        for s_N, w_N, k_N in zip(suspicion_SN, wrong_SN, known_SN, strict=True)
    ]
    assert found.auroc_per_seed == pytest.approx(apart)


@pytest.mark.parametrize("measure", ["auroc", "average_precision"])
def test_a_difference_is_paired(measure):
    suspicion_N, is_wrong_N = example()
    noisy_N = suspicion_N + 0.3 * np.random.default_rng(4).normal(size=400)
    clusters = np.arange(400)
    options = {"clusters": clusters, "seed": 0}
    gap = detection_difference(suspicion_N, noisy_N, is_wrong_N, measure=measure, **options)
    one, other = (
        getattr(detection(s_N, is_wrong_N, **options), measure) for s_N in (suspicion_N, noisy_N)
    )
    assert gap.value == pytest.approx(one.value - other.value)
    assert gap.high - gap.low < 0.7 * (one.high - one.low + other.high - other.low)
    same = detection_difference(suspicion_N, suspicion_N, is_wrong_N, measure=measure, **options)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_known_pairs_of_one_kind_alone_are_refused():
    suspicion_N, is_wrong_N = example()
    with pytest.raises(DataError, match="some wrong and some right"):
        detection(suspicion_N, is_wrong_N, known=is_wrong_N, clusters=np.arange(400), seed=0)
