import numpy as np
import pytest
from scipy.stats import norm

from tamis.metrics import holm, p_value
from tamis.types import Interval


def test_an_interval_that_touches_zero_has_p_five_percent():
    assert p_value(Interval(0.02, 0.0, 0.04)) == pytest.approx(0.05)
    assert p_value(Interval(-0.02, -0.04, 0.0)) == pytest.approx(0.05)
    assert p_value(Interval(0.02, 0.01, 0.03)) == pytest.approx(2 * norm.sf(2 * 1.96), rel=0.01)


def test_intervals_without_width():
    assert p_value(Interval(0.0, 0.0, 0.0)) == 1.0
    assert p_value(Interval(0.1, 0.1, 0.1)) == 0.0


def test_holm_is_stricter_than_nothing_and_milder_than_bonferroni():
    p_C = np.random.default_rng(0).random(20) ** 3
    adjusted_C = np.array(holm(p_C.tolist()))
    assert (adjusted_C >= p_C).all()
    assert (adjusted_C <= np.minimum(1, 20 * p_C)).all()
    order = np.argsort(p_C)
    assert (np.diff(adjusted_C[order]) >= 0).all()
    assert adjusted_C[order[0]] == pytest.approx(min(1, 20 * p_C.min()))
    assert holm([]) == []


def test_holm_by_hand():
    # 0.01 * 4, then 0.02 * 3, 0.04 * 2 = 0.08, and 0.5 * 1; 1 is the most
    assert holm([0.04, 0.01, 0.5, 0.02]) == pytest.approx([0.08, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
