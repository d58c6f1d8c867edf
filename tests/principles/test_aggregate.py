import numpy as np
import pytest

from tamis.principles.aggregate import (
    draw_for,
    label_of,
    standardised,
    truncated_geometric,
    variances,
)

NAN = np.nan


def test_scores_by_hand():
    one = np.array([[2.0, 5.0], [-1.0, 0.0], [3.0, NAN], [1.0, -4.0]])
    two = np.array([[4.0, 1.0], [-3.0, 2.0], [-3.0, 1.0], [1.0, -2.0]])
    # principle 0: 2, -1, 3, 1 and 4, -3, -3, 1 have mean 0.5 and variance 48 / 8
    # principle 1 lacks the third pair: 5, 0, -4 and 1, 2, -2 have mean 1/3
    variance_P = variances(one, two)
    assert variance_P == pytest.approx([6.0, (25 + 16 + 1 + 4 + 4) / 6 - 1 / 9])
    expected = [[3.0, 3.0], [-2.0, 0.0], [0.0, NAN], [1.0, -3.0]] / variance_P
    np.testing.assert_allclose(standardised(one, two), expected)


def test_orders_that_disagree_say_nothing():
    one = np.array([[5.0], [5.0], [0.0], [-1.0]])
    two = np.array([[-1.0], [0.0], [0.0], [-1.0]])
    assert (standardised(one, two) != 0).ravel().tolist() == [False, False, False, True]


def test_swapping_the_sides_turns_every_score():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 30, 4))
    np.testing.assert_allclose(standardised(-one, -two), -standardised(one, two))


def test_a_principle_without_variance_is_not_divided():
    same = np.full((3, 1), 2.0)
    assert standardised(same, same).ravel().tolist() == [2.0, 2.0, 2.0]
    nothing = np.full((3, 1), NAN)
    assert variances(nothing, nothing).tolist() == [0.0]
    assert np.isnan(standardised(nothing, nothing)).all()


def test_the_unit_of_a_judge_cancels_up_to_its_inverse():
    one = np.array([[1.0], [2.0], [-3.0]])
    np.testing.assert_allclose(standardised(10 * one, 10 * one), standardised(one, one) / 10)


@pytest.mark.parametrize("most", [1, 3, 8])
def test_the_number_of_principles_is_a_truncated_geometric(most):
    uniform = (np.arange(20_000) + 0.5) / 20_000
    found = np.array([truncated_geometric(u, stop_prob=0.2, most=most) for u in uniform])
    expected = 0.2 * 0.8 ** np.arange(most)
    shares = np.bincount(found, minlength=most + 1)[1:] / len(found)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=1e-3)
    assert truncated_geometric(0.5, stop_prob=1.0, most=most) == 1
    assert truncated_geometric(0.5, stop_prob=0.2, most=0) == 0


def test_a_draw_belongs_to_its_pair():
    def draw(pair_id, number=0, seed=0):
        return draw_for(pair_id, number, num_principles=6, negate_prob=0.5, seed=seed)

    first, again = draw("a"), draw("a")
    assert first.order_P.tolist() == again.order_P.tolist()
    assert (first.count, first.noise) == (again.count, again.noise)
    assert sorted(first.order_P.tolist()) == [0, 1, 2, 3, 4, 5]
    others = [draw("b"), draw("a", number=1), draw("a", seed=1)]
    assert len({d.count for d in (first, *others)}) == 4
    shown = first.shown(np.ones(6, bool), stop_prob=1e-9, most=6)
    assert shown == first.order_P.tolist()[: len(shown)]
    known_P = np.array([True, False, True, False, False, False])
    assert set(first.shown(known_P, stop_prob=0.2, most=8)) <= {0, 2}


def test_half_of_the_principles_are_negated():
    draws = [
        draw_for(str(n), 0, num_principles=10, negate_prob=0.5, seed=0).negated_P
        for n in range(300)
    ]
    assert np.mean(draws) == pytest.approx(0.5, abs=0.03)
    never = draw_for("a", 0, num_principles=10, negate_prob=0.0, seed=0)
    assert not never.negated_P.any()


def test_the_largest_magnitude_decides():
    label = label_of([0.5, -2.0, 1.0])
    assert (label.sign, label.score, label.deciding) == (-1, -2.0, 1)
    assert label_of([2.0, 2.0, -1.0]).sign == 1
    assert label_of([2.0, -2.0, 1.0]).sign == 0
    assert label_of([NAN, 0.0]).sign == 0
    assert label_of([NAN, 0.1]).deciding == 1
