"""Voters are added to a vote, taken from it, and lost to nobody. Shapes: N pairs, K voters."""

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.types import Message, Pair
from tamis.vote.ballots import collect, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.full import full_votes
from tamis.vote.kept import KeptVotes, with_kept

APART = ("in_sample", "cross_fitted")  # voters that do not share out the pairs
TURNS = ("out_of_bag",)
PAIRS = [
    Pair(f"p{i}", (), (Message("assistant", "a" * i),), (Message("assistant", "b"),))
    for i in range(1, 13)
]


class PowerError(Exception):
    """The power went off."""


class FakeVoter:
    """Votes by its seed and by what it was trained on; fails at the n-th call."""

    def __init__(self, *, fails_at=None, votes=None):
        self.fails_at, self.votes = fails_at, votes
        self.calls = []

    def __call__(self, pairs, *, read, seed, work):
        self.calls.append((tuple(p.id for p in pairs), tuple(p.id for p in read), seed))
        work.mkdir(parents=True, exist_ok=True)
        if len(self.calls) == self.fails_at:
            raise PowerError
        if self.votes is not None:
            return np.full(len(read), self.votes)
        trained = sum(len(p.chosen[0].content) for p in pairs)
        return np.array([len(p.chosen[0].content) + trained / 100 + seed % 97 for p in read])


def members_of(num_voters, *, seed=3, estimators=APART):
    config = VoteConfig(kind="full", num_voters=num_voters, num_folds=3, estimators=estimators)
    return voting_members(PAIRS, config=config, seed=seed)


def vote(folder, fit, *, num_voters=4, key="this", seed=3, estimators=APART):
    members = members_of(num_voters, seed=seed, estimators=estimators)
    kept = KeptVotes(folder / "members", key)
    missing = kept.missing(members, unit="member")
    fresh = full_votes(PAIRS, members=missing, seed=seed, fit=fit, work=folder / "work")
    return collect(members, with_kept(fresh, members=members, missing=missing, kept=kept))


def bits(ballots):
    cast = [ballots.of(estimator) for estimator in (*APART, *TURNS)]
    return [votes_NK.tobytes() for votes_NK in cast if votes_NK is not None]


@pytest.mark.parametrize(("first", "then"), [(2, 4), (2, 8), (4, 2), (4, 4)])
def test_a_vote_takes_what_was_cast_and_is_what_a_fresh_one_would_be(tmp_path, first, then):
    fresh, early, late = FakeVoter(), FakeVoter(), FakeVoter()
    expected = vote(tmp_path / "fresh", fresh, num_voters=then)
    vote(tmp_path, early, num_voters=first)
    assert bits(vote(tmp_path, late, num_voters=then)) == bits(expected)
    assert late.calls == fresh.calls[len(early.calls) :]  # only the new ones are trained


@pytest.mark.parametrize(
    ("first", "then", "num_trained"),
    [(10, 14, 4), (14, 20, 10), (20, 10, 0), (14, 12, 2), (4, 6, 6)],
)
def test_voters_that_share_out_the_pairs_are_taken_in_tens(tmp_path, first, then, num_trained):
    fresh, late = FakeVoter(), FakeVoter()
    expected = vote(tmp_path / "fresh", fresh, num_voters=then, estimators=TURNS)
    vote(tmp_path, FakeVoter(), num_voters=first, estimators=TURNS)
    assert bits(vote(tmp_path, late, num_voters=then, estimators=TURNS)) == bits(expected)
    assert late.calls == fresh.calls[then - num_trained :]


def test_fewer_voters_leave_the_further_ones_for_later(tmp_path):
    expected = vote(tmp_path, FakeVoter(), num_voters=6)
    vote(tmp_path, FakeVoter(), num_voters=2)
    idle = FakeVoter()
    assert bits(vote(tmp_path, idle, num_voters=6)) == bits(expected)
    assert idle.calls == []


@pytest.mark.parametrize("fails_at", range(1, 9))
def test_a_vote_that_crashed_goes_on_and_ends_alike(tmp_path, fails_at):
    calm, crashing, resumed = FakeVoter(), FakeVoter(fails_at=fails_at), FakeVoter()
    expected = vote(tmp_path / "calm", calm, num_voters=2)
    with pytest.raises(PowerError):
        vote(tmp_path, crashing, num_voters=2)
    assert bits(vote(tmp_path, resumed, num_voters=2)) == bits(expected)
    assert crashing.calls[:-1] + resumed.calls == calm.calls  # what was finished is not repeated


def test_a_vote_that_crashed_may_go_on_with_fewer_voters(tmp_path):
    crashing, resumed = FakeVoter(fails_at=18), FakeVoter()
    with pytest.raises(PowerError):
        vote(tmp_path, crashing, num_voters=6)
    expected = vote(tmp_path / "fresh", FakeVoter(), num_voters=2)
    assert bits(vote(tmp_path, resumed, num_voters=2)) == bits(expected)
    assert resumed.calls == []


def test_votes_of_another_key_are_not_taken_and_go(tmp_path):
    vote(tmp_path, FakeVoter(), num_voters=4)
    other = FakeVoter()
    found = vote(tmp_path, other, num_voters=2, key="that", seed=9)
    assert bits(found) == bits(vote(tmp_path / "fresh", FakeVoter(), num_voters=2, seed=9))
    assert len(other.calls) == 8
    assert len(list((tmp_path / "members").glob("*.npy"))) == 8
    again = FakeVoter()
    vote(tmp_path, again, num_voters=4)  # the first key's votes are gone, too
    assert len(again.calls) == 16


def test_old_votes_stay_until_the_first_new_one_is_there(tmp_path):
    vote(tmp_path, FakeVoter(), num_voters=2)
    with pytest.raises(PowerError):
        vote(tmp_path, FakeVoter(fails_at=1), num_voters=2, key="that")
    idle = FakeVoter()
    vote(tmp_path, idle, num_voters=2)
    assert idle.calls == []


def test_half_removed_votes_are_nobodys(tmp_path):
    """A crash in between leaves the key of no vote."""
    vote(tmp_path, FakeVoter(), num_voters=2)
    (tmp_path / "members" / "key").write_text("")
    for key in ("this", "that"):
        kept = KeptVotes(tmp_path / "members", key)
        assert len(kept.missing(members_of(2), unit="member")) == 8


def test_members_that_train_together_are_missing_together(tmp_path):
    vote(tmp_path, FakeVoter(), num_voters=4)
    next((tmp_path / "members").glob("cross_fitted-2-1-*.npy")).unlink()
    kept, members = KeptVotes(tmp_path / "members", "this"), members_of(4)
    alone = [member.name for member in kept.missing(members, unit="member")]
    together = [member.name for member in kept.missing(members, unit="voter")]
    assert alone == ["cross_fitted-2-1"]
    assert together == [member.name for member in members if member.voter == 2]


def test_a_voter_that_diverged_is_not_kept(tmp_path):
    with pytest.raises(DataError, match=r"cross_fitted-0-0, pair number .* not finite"):
        vote(tmp_path, FakeVoter(votes=np.nan))
    assert not list((tmp_path / "members").glob("*.npy"))


def test_scratch_of_finished_voters_is_not_kept(tmp_path):
    vote(tmp_path, FakeVoter())
    assert not list((tmp_path / "work" / "runs").iterdir())


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_a_damaged_file_is_named(tmp_path, content):
    vote(tmp_path, FakeVoter())
    (path,) = (tmp_path / "members").glob("in_sample-1-*.npy")
    if content is None:
        np.save(path, np.zeros(5))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"in_sample-1-\w+\.npy: expected .* remove the file"):
        vote(tmp_path, FakeVoter())
