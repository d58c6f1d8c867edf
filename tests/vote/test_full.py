import math

import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.types import Message, Pair
from tamis.vote.ballots import collect, voter_folds, voter_halves, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.full import check_affordable, describe_time, full_votes, pairs_passed

CONFIG = VoteConfig(kind="full", num_voters=2, num_folds=3)
PAIRS = [
    Pair(f"p{i}", (), (Message("assistant", "a" * i),), (Message("assistant", "b"),))
    for i in range(1, 13)
]


class FakeVoter:
    """Votes by its seed and by what it was trained on."""

    def __init__(self):
        self.calls = []

    def __call__(self, pairs, *, read, seed, work):
        self.calls.append((tuple(p.id for p in pairs), tuple(p.id for p in read), seed))
        work.mkdir(parents=True, exist_ok=True)
        (work / "checkpoint").write_text("weights")
        trained = sum(len(p.chosen[0].content) for p in pairs)
        return np.array([len(p.chosen[0].content) + trained / 100 + seed % 97 for p in read])


def vote(fit, work, *, config=CONFIG, seed=3):
    members = voting_members(PAIRS, config=config, seed=seed)
    votes = full_votes(PAIRS, members=members, seed=seed, fit=fit, work=work)
    return collect(members, votes)


def asking_for(*estimators, **changes):
    return CONFIG.model_copy(update={"estimators": estimators, **changes})


def test_who_is_trained_on_what_and_votes_on_what(tmp_path):
    fit = FakeVoter()
    ballots = vote(fit, tmp_path)
    folds_NK = voter_folds(PAIRS, config=CONFIG, seed=3)
    everybody = tuple(p.id for p in PAIRS)
    expected = []
    for voter in range(2):
        for fold in range(3):
            inside = folds_NK[:, voter] == fold
            ids = np.array(everybody)
            expected.append((tuple(ids[~inside]), tuple(ids[inside])))
        expected.append((everybody, everybody))
    assert [(trained, read) for trained, read, _ in fit.calls] == expected
    assert len({seed for _, _, seed in fit.calls}) == 8  # every run has an order of its own
    assert all(0 <= seed < 2**31 for _, _, seed in fit.calls)
    for votes_NK in (ballots.in_sample_NK, ballots.cross_fitted_NK):
        assert votes_NK.shape == (12, 2)
        assert np.isfinite(votes_NK).all()
    assert not list((tmp_path / "runs").iterdir())  # scratch of finished runs is not kept


def test_the_seeds_of_runs_stay_what_they_are(tmp_path):
    """A run's seed is its order of the data: another one would give other votes to old recipes."""
    fit = FakeVoter()
    vote(fit, tmp_path)
    expected = [1431450334, 783495042, 1636480977, 1576890651]  # three folds, in-sample
    assert [seed for *_, seed in fit.calls[:4]] == expected


def test_every_run_has_a_seed_of_its_own(tmp_path):
    fit = FakeVoter()
    vote(fit, tmp_path, config=asking_for("in_sample", "cross_fitted", "out_of_bag"))
    assert len({seed for *_, seed in fit.calls}) == 10


def test_the_scratch_of_a_run_lives_until_the_next_votes_are_asked_for(tmp_path):
    members = voting_members(PAIRS, config=asking_for("in_sample"), seed=3)
    votes = full_votes(PAIRS, members=members, seed=3, fit=FakeVoter(), work=tmp_path)
    next(votes)
    assert (tmp_path / "runs" / "in_sample-0" / "checkpoint").is_file()
    next(votes)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["in_sample-1"]


def test_out_of_bag_voters_learn_from_their_half_and_read_everything(tmp_path):
    fit = FakeVoter()
    config = asking_for("out_of_bag", num_voters=4)
    ballots = vote(fit, tmp_path, config=config)
    trains_NK = voter_halves(PAIRS, config=config, seed=3)
    everybody = np.array([p.id for p in PAIRS])
    assert [trained for trained, *_ in fit.calls] == [
        tuple(everybody[trains_NK[:, voter]]) for voter in range(4)
    ]
    assert all(read == tuple(everybody) for _, read, _ in fit.calls)
    assert len({seed for *_, seed in fit.calls}) == 4
    assert (np.isnan(ballots.out_of_bag_NK) == trains_NK).all()
    assert (np.isnan(ballots.in_sample_NK) == ~trains_NK).all()


@pytest.mark.parametrize(
    ("estimators", "num_calls", "num_trained", "num_read"),
    [
        (("in_sample",), 2, 24, 24),
        (("cross_fitted",), 6, 48, 24),
        (("out_of_bag",), 2, 12, 24),
        (("in_sample", "cross_fitted"), 8, 72, 48),
    ],
)
def test_only_the_votes_asked_for_are_cast(tmp_path, estimators, num_calls, num_trained, num_read):
    config = asking_for(*estimators)
    fit = FakeVoter()
    ballots = vote(fit, tmp_path, config=config)
    assert len(fit.calls) == num_calls
    comes_with = {"in_sample"} if "out_of_bag" in estimators else set()
    for estimator in ("in_sample", "cross_fitted", "out_of_bag"):
        was_cast = estimator in {*estimators, *comes_with}
        assert (ballots.of(estimator) is not None) == was_cast
    members = voting_members(PAIRS, config=config, seed=3)
    assert pairs_passed(members, epochs=1) == (num_trained, num_read)
    assert sum(len(trained) for trained, _, _ in fit.calls) == num_trained
    assert sum(len(read) for _, read, _ in fit.calls) == num_read


@pytest.mark.parametrize(
    ("epochs", "at_most", "num_trained"), [(1.5, math.inf, 72), (1.5, 10, 60), (0.5, 4, 24)]
)
def test_a_run_that_stops_early_passes_over_fewer_pairs(epochs, at_most, num_trained):
    members = voting_members(PAIRS, config=asking_for("cross_fitted"), seed=3)  # 6 runs on 8 pairs
    assert pairs_passed(members, epochs=epochs, at_most=at_most) == (num_trained, 24)


def test_a_voter_does_not_depend_on_how_many_there_are(tmp_path):
    many = vote(FakeVoter(), tmp_path / "a", config=CONFIG.model_copy(update={"num_voters": 4}))
    few = vote(FakeVoter(), tmp_path / "b")
    np.testing.assert_array_equal(many.cross_fitted_NK[:, :2], few.cross_fitted_NK)
    np.testing.assert_array_equal(many.in_sample_NK[:, :2], few.in_sample_NK)


@pytest.mark.parametrize(
    ("num_pairs", "accelerator", "allow_slow", "refused"),
    [
        (1000, False, False, False),
        (1001, False, False, True),
        (1001, True, False, False),
        (1001, False, True, False),
        (10**6, True, False, False),
    ],
)
def test_a_full_vote_that_takes_days_has_to_be_asked_for(
    num_pairs, accelerator, allow_slow, refused
):
    config = CONFIG.model_copy(update={"allow_slow": allow_slow})

    def check():
        check_affordable(num_pairs, config=config, seconds=86400.0, accelerator=accelerator)

    if refused:
        with pytest.raises(ConfigError, match=r"1,001 pairs .*24\.0 hours .*--allow-slow"):
            check()
    else:
        check()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 seconds"),
        (59, "59 seconds"),
        (121, "2 minutes"),
        (3600, "60 minutes"),
        (5401, "1.5 hours"),
        (86400, "24.0 hours"),
    ],
)
def test_a_time_is_told_in_a_unit_for_people(seconds, text):
    assert describe_time(seconds) == text
