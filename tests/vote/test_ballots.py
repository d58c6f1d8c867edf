"""Shapes: N pairs, K voters, D feature dimensions."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from tamis.errors import DataError
from tamis.strength.summary import mean_votes
from tamis.types import Message, Pair
from tamis.vote.ballots import Ballots, collect, training_masks, voter_halves, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.frozen import depth_scales, flatten
from tamis.vote.heads import head_votes

N, D = 1200, 8
CONFIG = VoteConfig(num_voters=4, num_folds=4, epochs=5, batch_size=64)


def answer(text):
    return (Message("assistant", text),)


PAIRS = [Pair(f"p{i}", (), answer("a"), answer("b"), group=f"g{i // 3}") for i in range(N)]


@pytest.fixture(scope="module")
def noisy():
    """Pairs whose truth is linear in their features, and 20% of labels turned around."""
    rng = np.random.default_rng(0)
    truth_D = rng.normal(size=D)
    diff_ND = rng.normal(size=(N, D))
    diff_ND *= np.sign(diff_ND @ truth_D)[:, None]
    wrong_N = rng.random(N) < 0.2
    diff_ND[wrong_N] *= -1
    return diff_ND.astype(np.float32), wrong_N


def cast(diff_ND, *, config=CONFIG, seed=0):
    members = voting_members(PAIRS, config=config, seed=seed)
    return collect(members, head_votes(diff_ND, members=members, config=config, seed=seed))


def asking_for(*estimators, **changes):
    return CONFIG.model_copy(update={"estimators": estimators, **changes})


@pytest.mark.parametrize("fold_by", ["pair", "group"])
def test_voters_find_the_labels_that_were_turned(noisy, fold_by):
    diff_ND, wrong_N = noisy
    ballots = cast(diff_ND, config=CONFIG.model_copy(update={"fold_by": fold_by}))
    for votes_NK in (ballots.cross_fitted_NK, ballots.in_sample_NK):
        assert votes_NK.shape == (N, 4)
        assert roc_auc_score(wrong_N, -votes_NK.mean(axis=1)) > 0.95
        # in doubt about a fifth of the labels, on the right ones
        assert (votes_NK.mean(axis=1) < 0).mean() == pytest.approx(wrong_N.mean(), abs=0.05)


def test_the_headline_is_the_cross_fitted_vote_where_it_is_cast(noisy):
    diff_ND, _ = noisy
    both = cast(diff_ND)
    np.testing.assert_array_equal(both.headline_NK, both.cross_fitted_NK)
    for estimator, other in (("in_sample", "cross_fitted"), ("cross_fitted", "in_sample")):
        ballots = cast(diff_ND, config=asking_for(estimator))
        assert (ballots.of(other), ballots.out_of_bag_NK) == (None, None)
        assert ballots.headline == estimator
        np.testing.assert_array_equal(ballots.headline_NK, ballots.of(estimator))
        np.testing.assert_allclose(ballots.of(estimator), both.of(estimator), atol=1e-4)


def test_the_order_of_headlines():
    votes_NK = np.ones((1, 2))
    assert Ballots(votes_NK, votes_NK, votes_NK).headline == "cross_fitted"
    assert Ballots(votes_NK, None, votes_NK).headline == "out_of_bag"
    assert Ballots(votes_NK, None).headline == "in_sample"
    with pytest.raises(DataError, match="there are no votes"):
        _ = Ballots(None, None).headline


@pytest.mark.parametrize("pair", [0, 7, 1199])
def test_a_pair_has_no_say_in_its_own_cross_fitted_vote(noisy, pair):
    """A poisoned fold: the label of a pair turned around, a thousand times as loud."""
    diff_ND, _ = noisy
    poisoned = diff_ND.copy()
    poisoned[pair] *= -1000
    before, after = cast(diff_ND), cast(poisoned)
    # the vote on the pair is read on its features, which were scaled by -1000
    np.testing.assert_allclose(
        after.cross_fitted_NK[pair], -1000 * before.cross_fitted_NK[pair], rtol=1e-4
    )
    assert (np.sign(after.cross_fitted_NK[pair]) != np.sign(before.cross_fitted_NK[pair])).all()
    assert np.abs(after.in_sample_NK[pair] + 1000 * before.in_sample_NK[pair]).max() > 1


@pytest.mark.parametrize("fold_by", ["pair", "group"])
def test_further_voters_leave_the_votes_of_the_earlier_ones_bit_for_bit(noisy, fold_by):
    diff_ND, _ = noisy
    config = asking_for("cross_fitted", "in_sample", "out_of_bag", fold_by=fold_by)
    few, many = (
        cast(diff_ND, config=config.model_copy(update={"num_voters": num})) for num in (10, 14)
    )
    for estimator in config.estimators:
        np.testing.assert_array_equal(many.of(estimator)[:, :10], few.of(estimator))


def test_voters_may_be_trained_without_those_before_them(noisy):
    diff_ND, _ = noisy
    config = CONFIG.model_copy(update={"num_voters": 6})
    members = voting_members(PAIRS, config=config, seed=0)
    votes = head_votes(diff_ND, members=members, config=config, seed=0)
    whole = {member.name: votes_R for member, votes_R in zip(members, votes, strict=True)}
    late = [member for member in members if member.voter in (2, 5)]
    alone = head_votes(diff_ND, members=late, config=config, seed=0)
    for member, votes_R in zip(late, alone, strict=True):
        np.testing.assert_array_equal(votes_R, whole[member.name])


def test_a_seed_gives_the_same_bits(noisy):
    diff_ND, _ = noisy
    first, again, other = cast(diff_ND), cast(diff_ND), cast(diff_ND, seed=1)
    assert first.cross_fitted_NK.tobytes() == again.cross_fitted_NK.tobytes()
    assert first.in_sample_NK.tobytes() == again.in_sample_NK.tobytes()
    assert (first.cross_fitted_NK != other.cross_fitted_NK).all()


@pytest.mark.parametrize("fold_by", ["pair", "group"])
def test_half_of_the_voters_have_not_seen_a_pair(noisy, fold_by):
    diff_ND, wrong_N = noisy
    config = asking_for("out_of_bag", fold_by=fold_by)
    ballots = cast(diff_ND, config=config)
    trains_NK = voter_halves(PAIRS, config=config, seed=0)
    assert (trains_NK.sum(axis=1) == 2).all()
    if fold_by == "group":
        assert (trains_NK.reshape(-1, 3, 4) == trains_NK.reshape(-1, 3, 4)[:, :1]).all()
    assert (np.isnan(ballots.out_of_bag_NK) == trains_NK).all()
    assert (np.isnan(ballots.in_sample_NK) == ~trains_NK).all()
    assert ballots.cross_fitted_NK is None
    assert roc_auc_score(wrong_N, -mean_votes(ballots.headline_NK)) > 0.95


def test_out_of_bag_and_cross_fitted_votes_order_the_pairs_alike(noisy):
    diff_ND, _ = noisy
    out_of_bag = cast(diff_ND, config=asking_for("out_of_bag")).headline_NK
    cross_fitted = cast(diff_ND, config=asking_for("cross_fitted")).headline_NK
    found = spearmanr(mean_votes(out_of_bag), mean_votes(cross_fitted)).statistic
    assert found > 0.95


@pytest.mark.parametrize("pair", [0, 7, 1199])
def test_a_swapped_pair_turns_the_votes_of_those_it_was_held_out_from_and_no_other(noisy, pair):
    diff_ND, _ = noisy
    swapped_ND = diff_ND.copy()
    swapped_ND[pair] *= -1
    before, after = (cast(d, config=asking_for("out_of_bag")) for d in (diff_ND, swapped_ND))
    held_out_K = ~np.isnan(before.out_of_bag_NK[pair])
    before_NK = np.where(np.isnan(before.out_of_bag_NK), before.in_sample_NK, before.out_of_bag_NK)
    after_NK = np.where(np.isnan(after.out_of_bag_NK), after.in_sample_NK, after.out_of_bag_NK)
    sign_N1 = np.where(np.arange(N) == pair, -1.0, 1.0)[:, None]
    expected_NK = sign_N1 * before_NK
    np.testing.assert_array_equal(after_NK[:, held_out_K], expected_NK[:, held_out_K])
    learnt_K = ~held_out_K  # those that learnt the label have changed everywhere
    assert (after_NK[:, learnt_K] != expected_NK[:, learnt_K]).all(axis=1).mean() > 0.9


def test_all_estimators_at_once_are_each_what_they_are_alone(noisy):
    diff_ND, _ = noisy
    names = ("cross_fitted", "in_sample", "out_of_bag")
    together = cast(diff_ND, config=asking_for(*names))
    for name in names:
        alone = cast(diff_ND, config=asking_for(name))
        np.testing.assert_allclose(together.of(name), alone.of(name), atol=1e-4)
    assert np.isfinite(together.in_sample_NK).all()  # asked for: not the other half of the bags
    again = cast(diff_ND, config=asking_for(*reversed(names)))
    assert together.out_of_bag_NK.tobytes() == again.out_of_bag_NK.tobytes()


def test_who_learns_from_what_and_reads_what():
    members = voting_members(PAIRS, config=asking_for("out_of_bag", "in_sample"), seed=3)
    assert [member.name for member in members] == [
        f"{estimator}-{voter}" for voter in range(4) for estimator in ("in_sample", "out_of_bag")
    ]
    assert all(member.reads_N.all() for member in members)
    expected_NK = voter_halves(PAIRS, config=CONFIG, seed=3)
    np.testing.assert_array_equal(training_masks(members)[:, 1::2], expected_NK)
    assert training_masks(members)[:, ::2].all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vote_that_is_no_number_is_named(value):
    members = voting_members(PAIRS[:6], config=asking_for("cross_fitted", num_folds=2), seed=0)
    votes = [np.zeros(member.reads_N.sum()) for member in members]
    votes[3][2] = value
    at = np.flatnonzero(members[3].reads_N)[2]
    with pytest.raises(DataError, match=f"cross_fitted-1-1, pair number {at}: a vote is not finit"):
        collect(members, votes)


def test_depths_are_scaled_to_count_alike():
    rng = np.random.default_rng(0)
    diff_NLD = (rng.normal(size=(50, 3, 4)) * np.array([0.01, 1.0, 100.0])[:, None]).astype("f4")
    scale_L = depth_scales(diff_NLD)
    flat_NA = flatten(diff_NLD, scale_L=scale_L)
    assert (flat_NA.shape, flat_NA.dtype) == ((50, 12), np.float32)
    blocks = np.sqrt(np.square(flat_NA.reshape(50, 3, 4)).mean(axis=(0, 2)))
    np.testing.assert_allclose(blocks, 1.0, rtol=1e-5)
    np.testing.assert_allclose(flat_NA[:, 4:8], diff_NLD[:, 1] / scale_L[1], rtol=1e-5)


def test_a_depth_without_differences_is_no_division_by_0():
    diff_NLD = np.ones((5, 2, 3), np.float32)
    diff_NLD[:, 0] = 0
    assert depth_scales(diff_NLD).tolist() == [1.0, 1.0]
    assert np.isfinite(flatten(diff_NLD, scale_L=depth_scales(diff_NLD))).all()
