import numpy as np
import pytest
from scipy import stats

from tamis.errors import DataError
from tamis.metrics import cluster_bootstrap
from tamis.studies.intervals import Figure, average, draw_clusters, mean_figure

NUM_CLUSTERS = 50


@pytest.fixture(scope="module")
def clusters_N():
    return np.repeat(np.arange(NUM_CLUSTERS), 3)


def figure_of(values_SN, clusters_N, *, stream=0):
    counts_RC = draw_clusters(NUM_CLUSTERS, stream=stream)
    return mean_figure(np.atleast_2d(values_SN), clusters_N=clusters_N, counts_RC=counts_RC)


def test_over_items_it_is_the_cluster_bootstrap(clusters_N):
    rng = np.random.default_rng(0)
    values_SN = rng.random((4, clusters_N.size)) + rng.random(NUM_CLUSTERS)[clusters_N]
    found = figure_of(values_SN, clusters_N).over_items()
    expected = cluster_bootstrap(values_SN, clusters=clusters_N, seed=1)
    assert found.value == pytest.approx(expected.value)
    assert found.num_items == clusters_N.size
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_over_seeds_the_variance_is_that_of_a_mean_of_few():
    value_S = np.array([0.1, -0.2, 0.3, 0.0, -0.1])
    figure = Figure(value_S, np.tile(value_S, (20_000, 1)), num_items=7)
    found, p = figure.over_items_and_seeds()
    expected = stats.ttest_1samp(value_S, 0.0)
    low, high = expected.confidence_interval()
    assert found.value == pytest.approx(value_S.mean())
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert p == pytest.approx(expected.pvalue)
    assert figure.over_items().low == figure.over_items().high


def test_what_is_in_both_is_part_of_what_items_vary_by():
    """Chance can have seeds move against each other, so that their mean hardly moves."""
    moved_R = np.random.default_rng(0).normal(size=4000)
    value_S = np.array([1.0, 0.4, 0.7])
    against_RS = value_S + np.stack([moved_R, -moved_R, 0 * moved_R], axis=1)
    found, p = Figure(value_S, against_RS, num_items=9).over_items_and_seeds()
    assert found.low < 0 < found.high
    assert found.high - found.low < 10
    assert 0.05 < p < 0.7


def test_one_seed_leaves_the_items(clusters_N):
    figure = figure_of(np.random.default_rng(0).random(clusters_N.size), clusters_N)
    found, alone = figure.over_items_and_seeds()[0], figure.over_items()
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=0.02)


def test_what_is_shared_cancels(clusters_N):
    value_N = np.random.default_rng(0).random(clusters_N.size)
    one, other = (figure_of(value_N + shift, clusters_N) for shift in (0.0, 0.5))
    gap = other.minus(one).over_items()
    assert (gap.low, gap.high) == (pytest.approx(0.5), pytest.approx(0.5))
    ratio = figure_of(3 * value_N, clusters_N).over(one).over_items()
    assert (ratio.low, ratio.high) == (pytest.approx(3.0), pytest.approx(3.0))


def test_streams_are_independent(clusters_N):
    value_N = np.random.default_rng(0).random(clusters_N.size)
    same, again, other = (figure_of(value_N, clusters_N, stream=stream) for stream in (0, 0, 1))
    assert (same.resampled_RS == again.resampled_RS).all()
    correlation = np.corrcoef(same.resampled_RS[:, 0], other.resampled_RS[:, 0])[0, 1]
    assert abs(correlation) < 0.1
    width = np.ptp(
        [average([same, other]).over_items().low, average([same, other]).over_items().high]
    )
    alone = same.over_items().high - same.over_items().low
    assert width == pytest.approx(alone / np.sqrt(2), rel=0.1)


def test_nothing_differs_from_itself(clusters_N):
    figure = figure_of(np.random.default_rng(0).random((5, clusters_N.size)), clusters_N)
    found, p = figure.minus(figure).over_items_and_seeds()
    assert (found.value, found.low, found.high, p) == (0.0, 0.0, 0.0, 1.0)


def test_what_is_nowhere_defined_is_an_error(clusters_N):
    zero = figure_of(np.zeros(clusters_N.size), clusters_N)
    with pytest.raises(DataError, match="defined on 0 of 2000"):
        zero.over(zero).over_items()


@pytest.mark.parametrize(
    ("num_seeds", "of_seeds", "of_items", "of_both"),
    [(5, 0.0, 0.4, 0.05), (5, 0.0, 0.0, 0.4), (5, 0.2, 0.05, 0.05), (3, 0.3, 0.0, 1.0)],
)
def test_how_often_nothing_looks_like_something(num_seeds, of_seeds, of_items, of_both):
    rng = np.random.default_rng(0)
    counts_RC = draw_clusters(NUM_CLUSTERS, stream=0)
    shape, num_found = (num_seeds, NUM_CLUSTERS), 0
    for _ in range(300):
        values_SN = of_seeds * rng.normal(size=(num_seeds, 1)) + of_both * rng.normal(size=shape)
        values_SN += of_items * rng.normal(size=NUM_CLUSTERS)
        figure = mean_figure(values_SN, clusters_N=np.arange(NUM_CLUSTERS), counts_RC=counts_RC)
        num_found += figure.over_items_and_seeds()[1] < 0.05
    assert 0.005 <= num_found / 300 <= 0.085
