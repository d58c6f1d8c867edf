"""A vote of branches: one pass, honest halves, and a kill that changes nothing."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from dying import end_of_child

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.strength.halves import balanced_halves
from tamis.types import Message, Pair
from tamis.vote import branch
from tamis.vote.ballots import Member
from tamis.vote.branch import branch_steps, branch_votes
from tamis.vote.config import BranchConfig

QUICK = BranchConfig(num_layers=1, rank=4, batch_size=4, learning_rate=3e-3, epochs=6)
VOTERS = 4


@pytest.fixture
def planted() -> list[Pair]:
    """48 pairs: the better answer says good, and four labels are wrong."""
    rng = np.random.default_rng(0)
    words = ["fox", "dog", "jumps", "over", "brown", "lazy", "quick"]

    def answer(word: str) -> tuple[Message, ...]:
        return (Message("assistant", f"{' '.join(rng.choice(words, 3))} {word}"),)

    pairs = []
    for number in range(48):
        prompt = (Message("user", f"question {number} {' '.join(rng.choice(words, 6))}"),)
        good, bad = answer("good"), answer("worse")
        is_wrong = number % 12 == 0
        chosen, rejected = (bad, good) if is_wrong else (good, bad)
        pairs.append(Pair(f"p{number}", prompt, chosen, rejected, group=f"g{number}", row=number))
    return pairs


def halves(num_pairs: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return balanced_halves(np.arange(num_pairs), num_voters=VOTERS, rng=rng)


def members_of(trains_NK: np.ndarray) -> list[Member]:
    everything = np.ones(len(trains_NK), dtype=bool)
    return [
        Member("out_of_bag", voter, trains_N, everything)
        for voter, trains_N in enumerate(trains_NK.T)
    ]


def cast(
    pairs: list[Pair],
    model: ModelConfig,
    work: Path,
    *,
    voters: Sequence[int] = range(VOTERS),
    **changes: object,
) -> np.ndarray:
    members = members_of(halves(len(pairs)))
    return branch_votes(
        pairs,
        members=[members[voter] for voter in voters],
        model=model,
        config=QUICK.model_copy(update=changes),
        seed=0,
        work=work,
    )


def test_out_of_bag_votes_find_the_wrong_labels(llama, planted, tmp_path) -> None:
    votes_NK = cast(planted, llama, tmp_path)
    out_NK = np.where(halves(len(planted)), np.nan, votes_NK)
    mean_N = np.nanmean(out_NK, axis=1)
    is_wrong = np.arange(len(planted)) % 12 == 0
    assert (mean_N[is_wrong] < 0).all()
    assert (mean_N[~is_wrong] > 0).mean() > 0.9


def test_a_vote_does_not_depend_on_labels_that_the_voter_held_out(llama, planted, tmp_path) -> None:
    """Turn one pair: voters that held it out see the same data, and vote the other way."""
    trains_NK = halves(len(planted))
    turned = [planted[0].swapped(), *planted[1:]]
    before_NK = cast(planted, llama, tmp_path / "a")
    after_NK = cast(turned, llama, tmp_path / "b")
    held_out = ~trains_NK[0]
    assert held_out.sum() == VOTERS // 2
    assert np.allclose(after_NK[1:, held_out], before_NK[1:, held_out], atol=1e-5)
    assert np.allclose(after_NK[0, held_out], -before_NK[0, held_out], atol=1e-5)
    assert (np.abs(after_NK[1:, ~held_out] - before_NK[1:, ~held_out]) > 1e-4).any()


def test_voters_in_two_passes_are_what_they_are_in_one(llama, planted, tmp_path) -> None:
    """Bit for bit, also where the second pass finds the first one's scratch."""
    together_NK = cast(planted, llama, tmp_path / "a", epochs=1)
    passes = [cast(planted, llama, tmp_path / "b", voters=v, epochs=1) for v in ((0, 1), (2, 3))]
    np.testing.assert_array_equal(np.concatenate(passes, axis=1), together_NK)


def test_steps_of_a_vote() -> None:
    assert branch_steps(33, config=BranchConfig(batch_size=16, epochs=1)) == 3
    assert branch_steps(33, config=BranchConfig(batch_size=16, epochs=0.1)) == 1


def test_a_vote_that_diverges_says_so(llama, planted, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"the vote diverged: the loss of voter .* step"):
        cast(planted, llama, tmp_path, learning_rate=1e38)


def cast_in_child(
    pairs: list[Pair], model: ModelConfig, work: Path, *, out: Path, kill: int
) -> int:
    """Cast a vote in a child that dies after ``kill`` saves, if not 0, and return its code."""
    saves = 0

    def killing(function: Callable[..., None]) -> Callable[..., None]:
        def write(path: Path, content: object) -> None:
            nonlocal saves
            function(path, content)
            saves += 1
            if saves == kill:
                os.kill(os.getpid(), signal.SIGKILL)

        return write

    def vote() -> None:
        branch.LEAST_SAVE_EVERY, branch.NUM_SAVES, branch.READ_PAIRS = 5, 10**6, 16
        branch.write_bytes = killing(branch.write_bytes)
        branch.write_array = killing(branch.write_array)
        np.save(out, cast(pairs, model, work, epochs=2))

    return end_of_child(vote)


@pytest.mark.slow
def test_a_killed_vote_goes_on_to_the_same_votes(llama, planted, tmp_path) -> None:
    """Killed after 3 of 5 saves of its training, and again while reading."""

    def run(work: str, kill: int) -> int:
        out = tmp_path / f"{work}.npy"
        return cast_in_child(planted, llama, tmp_path / work, out=out, kill=kill)

    assert run("whole", 0) == 0
    assert run("cut", 3) == -signal.SIGKILL
    assert len(list((tmp_path / "cut").glob("branches-*/votes/*"))) == 0
    assert run("cut", 3) == -signal.SIGKILL
    assert len(list((tmp_path / "cut").glob("branches-*/votes/*"))) == 1
    assert run("cut", 0) == 0
    assert (tmp_path / "cut.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
