import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tamis.errors import DataError
from tamis.strength.summary import (
    mean_votes,
    negative_mean_frac,
    summarise,
    voter_correlation,
)

VOTES = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-50, 50, width=16),
)


def test_mean_population_std_and_agreement_by_hand():
    summary = summarise(np.array([[1.0, 2.0, 6.0, -1.0], [0.0, 0.0, -1.0, 1.0]]))
    assert summary.mean_N.tolist() == [2.0, 0.0]
    # squared deviations 1, 0, 16, 9 and 0, 0, 1, 1, divided by the 4 voters, not by 3
    np.testing.assert_allclose(summary.std_N, [6.5**0.5, 0.5**0.5], rtol=1e-15)
    assert summary.agreement_N.tolist() == [0.75, 0.5]


def test_one_voter_is_sure_of_everything():
    summary = summarise(np.array([[3.0], [-0.5]]))
    assert summary.std_N.tolist() == [0.0, 0.0]
    assert summary.agreement_N.tolist() == [1.0, 0.0]


@given(VOTES)
def test_swapping_the_sides_negates_the_mean_and_leaves_the_std(votes_NK):
    one, other = summarise(votes_NK), summarise(-votes_NK)
    np.testing.assert_array_equal(other.mean_N, -one.mean_N)
    np.testing.assert_array_equal(other.std_N, one.std_N)
    np.testing.assert_allclose(other.agreement_N, 1 - one.agreement_N, atol=1e-12)


@given(VOTES)
def test_a_pair_does_not_depend_on_the_others(votes_NK):
    whole, last = summarise(votes_NK), summarise(votes_NK[-1:])
    assert whole.mean_N[-1] == pytest.approx(last.mean_N[0], abs=1e-12)
    assert whole.std_N[-1] == pytest.approx(last.std_N[0], abs=1e-12)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_vote_that_is_no_number_is_named(value):
    with pytest.raises(DataError, match="pair number 1: a vote is not finite"):
        summarise(np.array([[1.0, np.nan], [0.0, value], [value, 0.0]]))


def test_a_pair_without_a_vote_is_named():
    with pytest.raises(DataError, match="pair number 1: no vote was cast"):
        summarise(np.array([[1.0, np.nan], [np.nan, np.nan]]))


NAN = np.nan
HALF_NK = np.array(  # each pair has the votes of two of four voters
    [
        [2.0, 4.0, NAN, NAN],
        [NAN, NAN, -2.0, -1.0],
        [1.0, NAN, -1.0, NAN],
        [3.0, 5.0, NAN, NAN],
        [NAN, -6.0, NAN, 0.0],
        [4.0, 3.0, NAN, NAN],
    ]
)


def test_only_the_votes_that_were_cast_count():
    summary = summarise(HALF_NK)
    assert summary.mean_N.tolist() == [3.0, -1.5, 0.0, 4.0, -3.0, 3.5]
    assert summary.std_N.tolist() == [1.0, 0.5, 1.0, 1.0, 3.0, 0.5]
    assert summary.agreement_N.tolist() == [1.0, 0.0, 0.5, 1.0, 0.25, 1.0]
    assert mean_votes(HALF_NK).tolist() == summary.mean_N.tolist()
    assert negative_mean_frac(HALF_NK) == 2 / 6


def test_voters_are_compared_where_both_voted():
    # the first two voters share (2, 4), (3, 5), (4, 3); no other two share more than one pair
    by_hand = -1 / (2 * 2) ** 0.5  # deviations -1, 0, 1 against 0, 1, -1
    assert voter_correlation(HALF_NK) == pytest.approx(by_hand, abs=1e-12)
    assert voter_correlation(HALF_NK[:4]) == pytest.approx(1.0)  # (2, 4), (3, 5)
    assert voter_correlation(HALF_NK[:3]) is None


def test_voters_that_are_constant_where_they_meet_are_left_out():
    votes_NK = np.random.default_rng(0).normal(size=(30, 3))
    votes_NK[:10, 0], votes_NK[10:, 0], votes_NK[10:, 1] = 0.1, np.nan, np.nan
    votes_NK[-1, 0] = 9.0
    shared_N2 = votes_NK[[*range(10)], 1:]
    expected = np.corrcoef(shared_N2, rowvar=False)[0, 1]
    of_the_first = np.corrcoef(votes_NK[[*range(10), 29]][:, [0, 2]], rowvar=False)[0, 1]
    assert voter_correlation(votes_NK) == pytest.approx((expected + of_the_first) / 2)


def test_a_voter_that_always_says_the_same_has_no_correlation():
    rng = np.random.default_rng(0)
    votes_NK = rng.normal(size=(40, 4))
    votes_NK[:, 2] = 0.1  # of which 40 have another mean, in binary numbers
    assert voter_correlation(votes_NK) is None
    votes_NK[::3, :2] = np.nan
    assert voter_correlation(votes_NK) is None


@given(VOTES, st.integers(0, 9))
def test_correlation_over_shared_pairs_is_that_of_numpy_on_them(votes_NK, seed):
    rng = np.random.default_rng(seed)
    votes_NK = np.concatenate([votes_NK, rng.normal(size=(30, votes_NK.shape[1]))])
    votes_NK[rng.random(votes_NK.shape) < 0.3] = np.nan
    found = []
    for one in range(votes_NK.shape[1]):
        for other in range(one):
            both_N2 = votes_NK[:, [one, other]]
            shared_N2 = both_N2[np.isfinite(both_N2).all(axis=1)]
            found.append(np.corrcoef(shared_N2, rowvar=False)[0, 1])
    expected = pytest.approx(np.mean(found), abs=1e-6) if found else None
    assert voter_correlation(votes_NK) == expected


@given(VOTES)
def test_complete_votes_are_summarised_as_numpy_does(votes_NK):
    summary = summarise(votes_NK)
    assert summary.mean_N.tobytes() == votes_NK.mean(axis=1).tobytes()
    assert summary.std_N.tobytes() == votes_NK.std(axis=1).tobytes()


def test_voters_that_repeat_each_other_and_voters_that_do_not():
    rng = np.random.default_rng(0)
    voice_N = rng.normal(size=500)
    echo_NK = np.stack([voice_N, 2 * voice_N + 1, 3 * voice_N], axis=1)
    assert voter_correlation(echo_NK) == pytest.approx(1.0)
    assert voter_correlation(rng.normal(size=(5000, 3))) == pytest.approx(0.0, abs=0.05)
    assert voter_correlation(np.stack([voice_N, -voice_N], axis=1)) == pytest.approx(-1.0)
    three_NK = np.stack([voice_N, voice_N, -voice_N], axis=1)  # 1, -1, -1: each couple counts once
    assert voter_correlation(three_NK) == pytest.approx(-1 / 3)


@pytest.mark.parametrize(
    "votes", [[[1.0], [2.0]], [[1.0, 2.0]], [[1.0, 2.0], [1.0, 3.0]]], ids=["voter", "pair", "flat"]
)
def test_a_correlation_that_is_not_defined_is_none(votes):
    assert voter_correlation(np.array(votes)) is None


def test_the_share_of_negative_means_counts_means_not_votes():
    votes_NK = np.array([[-1.0, -1.0, 5.0], [1.0, 1.0, -5.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert negative_mean_frac(votes_NK) == 0.25
