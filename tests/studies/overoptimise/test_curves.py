import numpy as np
import pytest

from tamis.errors import DataError
from tamis.studies.overoptimise.curves import (
    ALPHA,
    AREA,
    BETA,
    END,
    HIGHEST,
    LATE,
    LOST,
    ORDER,
    Curves,
    best_of_curves,
    early_place,
    figures_of,
    mean_curves,
    peak_sizes,
)
from tamis.studies.overoptimise.pools import standardised

NUM_PROMPTS, NUM_ANSWERS = 12, 64


@pytest.fixture(scope="module")
def lengths():
    return np.random.default_rng(0).normal(size=(NUM_PROMPTS, NUM_ANSWERS))


def values(curves):
    return {name: figure.over_items().value for name, figure in figures_of(curves).items()}


def test_the_best_of_a_few_by_hand():
    """Of 0, 1, 2, 3 the best of two is 3 in 3 of 6 draws, 2 in 2 and 1 in 1; the std is 1.25."""
    gold_PK = standardised(np.array([[0.0, 1.0, 2.0, 3.0]]))
    found = best_of_curves(gold_PK[None], gold_PK)
    assert found.sizes == (1, 2, 4)
    wanted = np.array([0.0, (3 * 3 + 2 * 2 + 1) / 6 - 1.5, 1.5]) / np.sqrt(1.25)
    np.testing.assert_allclose(found.gold_SPJ[0, 0], wanted, atol=1e-12)
    np.testing.assert_allclose(found.proxy_SPJ, found.gold_SPJ)
    assert found.order_SP.tolist() == [[1.0]]
    np.testing.assert_allclose(found.kl, [0.0, np.log(2) - 1 / 2, np.log(4) - 3 / 4])
    turned = best_of_curves(-gold_PK[None], gold_PK)
    np.testing.assert_allclose(turned.gold_SPJ, -found.gold_SPJ, atol=1e-12)
    assert turned.order_SP.tolist() == [[0.0]]


def test_gold_itself_never_loses_gold(lengths):
    gold_PK = standardised(lengths)
    curves = best_of_curves(np.stack([gold_PK, 7 * lengths + 3]), gold_PK)
    assert (np.diff(curves.gold_SPJ, axis=2) > 0).all()
    found = values(curves)
    assert found[LOST] == 0.0
    assert found[LATE] > 0.5
    assert found[ORDER] == 1.0
    assert found[HIGHEST] == pytest.approx(found[END])
    assert peak_sizes(curves) == {"peak": 64, "peak_per_seed": [64, 64]}


def test_a_proxy_that_is_length_is_over_optimised_where_gold_wants_enough(lengths):
    gold_PK = standardised(-((lengths - 0.8) ** 2))
    curves = best_of_curves(lengths[None], gold_PK)
    found = values(curves)
    assert 1 < peak_sizes(curves)["peak"] < 32
    assert found[LATE] < -0.5
    assert found[LOST] > -found[LATE] - 1e-9  # the peak is at least as high as the middle
    assert found[HIGHEST] == pytest.approx(found[END] + found[LOST])
    assert found[BETA] > 0


def test_one_of_several_models_has_the_mean_of_their_curves(lengths):
    gold_PK = standardised(lengths)
    good, bad = (best_of_curves(sign * lengths[None], gold_PK) for sign in (1, -1))
    mean = mean_curves([good, bad, good])
    assert mean.sizes == good.sizes
    np.testing.assert_allclose(mean.gold_SPJ, (2 * good.gold_SPJ + bad.gold_SPJ) / 3)
    assert mean.order_SP.max() == pytest.approx(2 / 3)


def test_the_published_form_is_found_again():
    sizes = (1, 2, 4, 8, 16)
    kl = np.array([np.log(n) - (n - 1) / n for n in sizes])
    gold_J = np.sqrt(kl) * (1.5 - 0.7 * np.sqrt(kl))
    curves = Curves(sizes, np.tile(gold_J, (2, 3, 1)), np.zeros((2, 3, 5)), np.ones((2, 3)))
    found = values(curves)
    assert found[ALPHA] == pytest.approx(1.5)
    assert found[BETA] == pytest.approx(0.7)
    assert found[AREA] == pytest.approx(np.trapezoid(gold_J, kl) / kl[-1])
    assert found[END] == pytest.approx(gold_J[-1])
    assert found[LATE] == pytest.approx(gold_J[-1] - gold_J[early_place(sizes)])


def test_what_is_lost_is_lost_by_the_mean_curve_of_a_seed():
    """Two prompts whose losses cancel lose nothing together; two seeds do not cancel."""
    sizes = (1, 2, 4)
    gold_SPJ = np.array([[[0, 2, 1], [0, 0, 1]], [[0, 2, 1], [0, 2, 1]]], dtype=float)
    curves = Curves(sizes, gold_SPJ, gold_SPJ, np.ones((2, 2)))
    assert figures_of(curves)[LOST].value_S.tolist() == [0.0, 1.0]
    assert peak_sizes(curves) == {"peak": 2, "peak_per_seed": [2, 2]}


def test_answers_that_gold_finds_alike_say_nothing_of_order():
    gold_PK = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    curves = best_of_curves(np.array([[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]]), gold_PK)
    assert curves.order_SP.tolist() == [[0.5, 1.0]]


def test_a_proxy_that_says_nothing_is_refused():
    with pytest.raises(DataError, match="standard deviation of 0"):
        best_of_curves(np.zeros((1, 2, 4)), np.ones((2, 4)))
