"""Shapes: N pairs, K voters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import ConfigError
from tamis.strength.halves import balanced_halves

EVEN = st.sampled_from([2, 4, 6, 10, 12, 20])


def halves(groups, num_voters, *, seed=0):
    return balanced_halves(groups, num_voters=num_voters, rng=np.random.default_rng(seed))


@given(num_pairs=st.integers(2, 90), num_voters=EVEN, seed=st.integers(0, 99))
def test_every_pair_is_held_out_by_half_of_the_voters_and_every_voter_by_half(
    num_pairs, num_voters, seed
):
    trains_NK = halves(np.arange(num_pairs), num_voters, seed=seed)
    assert (trains_NK.shape, trains_NK.dtype) == ((num_pairs, num_voters), bool)
    assert (trains_NK.sum(axis=1) == num_voters // 2).all()
    assert set(trains_NK.sum(axis=0)) <= {num_pairs // 2, (num_pairs + 1) // 2}


@given(groups=st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), num_voters=EVEN)
def test_groups_stay_whole_and_voters_differ_by_one_group_at_most(groups, num_voters):
    if len(set(groups)) < 2:
        with pytest.raises(ConfigError, match="with 1 groups: expected at least 2"):
            halves(groups, num_voters)
        return
    trains_NK = halves(groups, num_voters)
    for name in set(groups):
        (rows,) = [trains_NK[np.array(groups) == name]]
        assert (rows == rows[0]).all()
    assert (trains_NK.sum(axis=1) == num_voters // 2).all()
    largest = max(groups.count(name) for name in groups)
    shares = trains_NK.sum(axis=0)
    assert shares.max() - shares.min() <= largest
    assert shares.min() > 0
    assert shares.max() < len(groups)  # everybody holds something out


def test_two_voters_meet_as_often_as_chance_has_it():
    """Both hold out a pair: 5/10 * 4/9 of the pairs in a block, a quarter in two blocks."""
    held_out_NK = ~halves(np.arange(9000), 16)
    together_KK = held_out_NK.T.astype(float) @ held_out_NK / len(held_out_NK)
    in_ten, in_six = (together_KK[part, part] for part in (slice(10), slice(10, 16)))
    np.testing.assert_allclose(in_ten[np.triu_indices(10, k=1)], 5 / 10 * 4 / 9, atol=0.02)
    np.testing.assert_allclose(in_six[np.triu_indices(6, k=1)], 3 / 6 * 2 / 5, atol=0.02)
    np.testing.assert_allclose(together_KK[:10, 10:], 0.25, atol=0.02)


@given(groups=st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=60))
def test_voters_beyond_ten_leave_the_halves_of_the_first_ten(groups):
    groups = [*groups, "x", "y"]
    few_NK, many_NK = halves(groups, 10, seed=3), halves(groups, 24, seed=3)
    np.testing.assert_array_equal(many_NK[:, :10], few_NK)
    assert (many_NK[:, 10:20].sum(axis=1) == 5).all()
    assert (many_NK[:, 20:].sum(axis=1) == 2).all()


def test_sizes_that_all_differ_do_not_tie_the_same_voters_together():
    groups = [f"g{size}" for size in range(1, 60) for _ in range(size)]
    trains_NK = halves(groups, 6)
    agree_KK = (trains_NK[:, :, None] == trains_NK[:, None, :]).mean(axis=0)
    assert agree_KK[np.triu_indices(6, k=1)].max() < 0.8


def test_seeds_deal_differently_and_a_seed_alike():
    one, again, other = (halves(np.arange(50), 4, seed=seed) for seed in (0, 0, 1))
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize("num_voters", [0, 1, 3, 9])
def test_an_odd_number_of_voters_has_no_half(num_voters):
    with pytest.raises(ConfigError, match=f"num_voters is {num_voters}: .* even number"):
        halves(np.arange(10), num_voters)
