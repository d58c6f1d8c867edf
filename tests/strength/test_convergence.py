"""Shapes: N pairs, K voters."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tamis.strength.convergence import (
    MAX_PAIRS,
    NUM_DRAWS,
    Convergence,
    Step,
    convergence,
    describe,
    spearman_brown,
)
from tamis.strength.halves import balanced_halves


def cast(num_pairs=2000, num_voters=8, *, noise=1.0, seed=0):
    """Voters that see one truth, each with an error of its own."""
    rng = np.random.default_rng(seed)
    truth_N1 = rng.normal(size=(num_pairs, 1))
    return truth_N1 + noise * rng.normal(size=(num_pairs, num_voters))


def found_in(votes_NK, *, seed=0):
    return convergence(votes_NK, rng=np.random.default_rng(seed))


def out_of_bag(votes_NK, *, seed=0):
    """The votes that are left where half of the voters hold out each pair."""
    rng = np.random.default_rng(seed)
    num_pairs, num_voters = votes_NK.shape
    trains_NK = balanced_halves(np.arange(num_pairs), num_voters=num_voters, rng=rng)
    return np.where(trains_NK, np.nan, votes_NK)


def test_the_steps_are_powers_of_two_the_half_and_all():
    found = found_in(cast(num_voters=10))
    assert [step.num_voters for step in found.steps] == [1, 2, 4, 5, 8, 10]
    assert [step.with_others is None for step in found.steps] == [False] * 4 + [True] * 2
    assert (found.num_voters, found.num_draws) == (10, NUM_DRAWS)


def test_both_curves_rise_and_the_one_with_the_final_vote_flatters():
    found = found_in(cast())
    finals = [step.with_final for step in found.steps]
    others = [step.with_others for step in found.steps if step.with_others is not None]
    assert finals == sorted(finals)
    assert finals[-1] == pytest.approx(1.0)
    assert others == sorted(others)
    assert all(final > other for final, other in zip(finals, others, strict=False))


def test_two_voters_by_hand():
    """The one split there is, whatever is drawn."""
    votes_NK = cast(num_pairs=50, num_voters=2)
    found = found_in(votes_NK)
    between = spearmanr(votes_NK[:, 0], votes_NK[:, 1]).statistic
    with_mean = [spearmanr(votes_NK[:, k], votes_NK.mean(axis=1)).statistic for k in range(2)]
    assert found.steps[0].with_others == pytest.approx(between)
    assert min(with_mean) < found.steps[0].with_final < max(with_mean)
    assert found.two_votes == pytest.approx(2 * between / (1 + between))
    assert found.two_doubled == pytest.approx(4 * between / (1 + 3 * between))


@pytest.mark.parametrize(("noise", "seed"), [(1.0, 0), (2.0, 1), (0.5, 2)])
def test_the_prediction_is_what_another_vote_finds(noise, seed):
    """Sixteen voters of one kind: the first eight are the vote, the rest another one."""
    votes_NK = cast(num_pairs=5000, num_voters=16, noise=noise, seed=seed)
    found = found_in(votes_NK[:, :8])
    one_N, other_N = votes_NK[:, :8].mean(axis=1), votes_NK[:, 8:].mean(axis=1)
    assert found.two_votes == pytest.approx(spearmanr(one_N, other_N).statistic, abs=0.015)
    twice = found_in(cast(num_pairs=5000, num_voters=16, noise=noise, seed=seed))
    assert found.two_doubled == pytest.approx(twice.two_votes, abs=0.015)


def test_as_many_voters_as_are_said_to_be_enough_are_just_enough():
    found = found_in(cast(num_pairs=3000, num_voters=8, noise=2.0))
    assert not found.is_enough
    enough = found_in(cast(num_pairs=3000, num_voters=found.num_enough, noise=2.0))
    assert enough.two_votes == pytest.approx(0.95, abs=0.01)
    fewer = found_in(cast(num_pairs=3000, num_voters=found.num_enough // 2, noise=2.0))
    assert not fewer.is_enough


def test_voters_with_errors_of_their_own_are_at_the_lower_bound_where_they_share_out_the_pairs():
    """Ten voters cast five votes a pair: as steady as five voters that vote on all pairs."""
    found = found_in(out_of_bag(cast(num_pairs=5000, num_voters=10)))
    five = found_in(cast(num_pairs=5000, num_voters=5))
    assert found.two_votes == pytest.approx(five.two_votes, abs=0.03)
    assert found.two_votes_at_most == (1 + found.two_votes) / 2
    assert found.num_enough % 2 == 0
    assert five.two_votes_at_most == five.two_votes


def test_voters_whose_errors_come_from_the_halves_alone_are_at_the_upper_bound():
    """A voter errs by a direction that its half gives it, and those of a block sum to nothing."""
    num_pairs, width = 4000, 200

    def votes(seed):
        rng = np.random.default_rng([1, seed])
        trains_NK = balanced_halves(np.arange(num_pairs), num_voters=10, rng=rng)
        push_ND = np.random.default_rng(0).normal(size=(num_pairs, width))
        error_DK = push_ND.T @ np.where(trains_NK, 1.0, -1.0) / num_pairs**0.5
        features_ND = np.random.default_rng(2).normal(size=(num_pairs, width))
        truth_N1 = features_ND[:, :1] * width**0.5
        return np.where(trains_NK, np.nan, truth_N1 + features_ND @ error_DK)

    found = found_in(votes(0))
    really = spearmanr(*(np.nanmean(votes(seed), axis=1) for seed in (0, 1))).statistic
    assert really == pytest.approx(found.two_votes_at_most, abs=0.02)
    assert really - found.two_votes > 0.05


def test_votes_are_compared_over_the_pairs_that_both_have():
    votes_NK = cast(num_pairs=400, num_voters=2)
    votes_NK[:100, 0] = votes_NK[300:, 1] = np.nan
    found = found_in(votes_NK)
    both = slice(100, 300)
    expected = spearmanr(votes_NK[both, 0], votes_NK[both, 1]).statistic
    assert found.steps[0].with_others == pytest.approx(expected)


def test_monotone_votes_agree_whatever_their_scale():
    votes_NK = cast(num_pairs=300, num_voters=1) ** 3 * np.array([1.0, 100.0])
    found = found_in(votes_NK)
    assert found.two_votes == pytest.approx(1.0)
    assert found.num_enough == 1


def test_a_seed_draws_the_same_voters_and_another_seed_others():
    votes_NK = cast(num_pairs=200)
    assert found_in(votes_NK) == found_in(votes_NK)
    assert found_in(votes_NK, seed=1) != found_in(votes_NK)


def test_of_many_pairs_some_are_drawn():
    votes_NK = cast(num_pairs=MAX_PAIRS + 1000, num_voters=2)
    found = found_in(votes_NK)
    between = spearmanr(votes_NK[:, 0], votes_NK[:, 1]).statistic
    assert found.steps[0].with_others != between
    assert found.steps[0].with_others == pytest.approx(between, abs=0.02)


@pytest.mark.parametrize(
    "votes_NK",
    [
        cast(num_voters=1),
        out_of_bag(cast(num_voters=2)),
        cast(num_pairs=1),
        np.zeros((9, 4)),
        np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, 1.0], [np.nan, 2.0]]),
    ],
    ids=[
        "one voter",
        "taking turns",
        "one pair",
        "all the same",
        "no pair in common",
    ],
)
def test_nothing_to_compare(votes_NK):
    assert found_in(votes_NK) is None


@pytest.mark.parametrize(
    ("two_votes", "at_most", "num_enough", "verdict"),
    [
        (0.981, 0.981, 6, "at about 0.981: enough, as 6 would be."),
        (0.95, 0.95, 10, "at about 0.950: enough."),
        (0.912, 0.956, 1200, "at 0.912 to 0.956: not enough; about 1,200 voters would reach 0.95."),
        (
            -0.012,
            -0.012,
            None,
            "at about -0.012: the voters do not agree, and more would not help.",
        ),
    ],
)
def test_what_the_sentence_says(two_votes, at_most, num_enough, verdict):
    steps = (Step(1, 0.8, 0.7), Step(8, 0.987, None), Step(10, 1.0, None))
    found = Convergence(10, 20, steps, two_votes, at_most, two_doubled=0.99, num_enough=num_enough)
    assert describe(found) == (
        "8 of 10 voters give the order of all at Spearman 0.987; "
        f"two votes of 10 voters would correlate {verdict}"
    )


def test_voters_that_do_not_agree_are_said_to():
    rng = np.random.default_rng(0)
    one_N = rng.normal(size=500)
    found = found_in(np.stack([one_N, -one_N + 0.1 * rng.normal(size=500)], axis=1))
    assert found.num_enough is None
    assert not found.is_enough
    assert found.two_votes < -0.9
    assert describe(found).endswith("do not agree, and more would not help.")


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_spearman_brown_goes_back_the_way_it_came(factor):
    there = spearman_brown(0.4, factor=factor)
    assert spearman_brown(there, factor=1 / factor) == pytest.approx(0.4)
    assert spearman_brown(-0.2, factor=factor) == -0.2
