"""The kinds of voters, made from a model and settings.

Shape legend: R pairs that a member reads.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.errors import ConfigError
from tamis.models.checkpoint import load_scorer, save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.runs import num_processes
from tamis.train.config import TrainConfig
from tamis.train.fit import fit
from tamis.types import Pair, Verdict
from tamis.vote.ballots import Member
from tamis.vote.branch import branch_votes
from tamis.vote.config import VoteConfig
from tamis.vote.frozen import depth_scales, flatten, frozen_differences
from tamis.vote.full import (
    FitVoter,
    check_affordable,
    describe_time,
    full_votes,
    pairs_passed,
)
from tamis.vote.heads import head_votes

PROBE_PAIRS = 16
TRAIN_COST = 3.0  # a training step costs about three forward passes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VoterSetup:
    """What voters are made from. ``train`` is used by ``full`` voters alone.

    ``notice`` is told how long a full vote may take; ``cache`` keeps the features of ``head``
    voters beyond the vote.
    """

    model: ModelConfig
    config: VoteConfig
    train: TrainConfig
    seed: int
    notice: Callable[[str], None]
    cache: Path | None = None


def cast_votes(
    pairs: Sequence[Pair], members: Sequence[Member], *, setup: VoterSetup, work: Path
) -> Iterable[Floats]:
    """Train the members and give the votes of each, in order [R].

    What is not finished is kept in ``work``: voting that was killed goes on from there.

    Raises:
        ConfigError: the model does not suit the kind of voters, or the vote would take too long.
        DataError: a member has nothing to learn from.
    """
    if setup.config.kind == "head":
        return _head_votes(pairs, members, setup=setup, work=work)
    if setup.config.kind == "branch":
        votes_NK = branch_votes(
            pairs,
            members=members,
            model=setup.model,
            config=setup.config.branch,
            seed=setup.seed,
            work=work,
        )
        return list(votes_NK.T)
    return _full_votes(pairs, members, setup=setup, work=work)


def _head_votes(
    pairs: Sequence[Pair], members: Sequence[Member], *, setup: VoterSetup, work: Path
) -> Iterable[Floats]:
    diff_NLD = frozen_differences(pairs, model=setup.model, cache=setup.cache or work / "features")
    diff_ND = flatten(diff_NLD, scale_L=depth_scales(diff_NLD), folder=work)
    return head_votes(diff_ND, members=members, config=setup.config, seed=setup.seed)


def _full_votes(
    pairs: Sequence[Pair], members: Sequence[Member], *, setup: VoterSetup, work: Path
) -> Iterable[Floats]:
    """All voters start from one initial model, as published."""
    train = setup.train
    first = _initial_model(setup.model, seed=setup.seed, path=work / "initial")
    setup.notice(_announce_full(pairs, members, first=first, config=setup.config, train=train))
    unwatched = train.watch.model_copy(update={"trackers": ()})  # one curve a voter helps nobody
    fit_voter = make_fit_voter(first, train=train.model_copy(update={"watch": unwatched}))
    return full_votes(pairs, members=members, seed=setup.seed, fit=fit_voter, work=work)


def full_cost(members: Sequence[Member], *, train: TrainConfig) -> float:
    """Return what a full vote costs, in readings of a pair; runs may stop at ``max_steps``."""
    at_most = math.inf if train.max_steps is None else train.max_steps * train.batch_size
    num_trained, num_read = pairs_passed(members, epochs=train.epochs, at_most=at_most)
    return TRAIN_COST * num_trained + num_read


def _announce_full(
    pairs: Sequence[Pair],
    members: Sequence[Member],
    *,
    first: ModelConfig,
    config: VoteConfig,
    train: TrainConfig,
) -> str:
    """Return what a full vote will cost in words, unless it must not be paid.

    Raises:
        ConfigError: it would take too long without an accelerator, or several processes run.
    """
    try:
        if num_processes() > 1:
            raise ConfigError(
                f"full voters are trained by one process, and {num_processes()} were launched; "
                "run this stage without `accelerate launch`"
            )
        seconds = full_cost(members, train=train)
        seconds *= _seconds_to_read(pairs[:PROBE_PAIRS], model=first)
        accelerator = torch.cuda.is_available()
        check_affordable(len(pairs), config=config, seconds=seconds, accelerator=accelerator)
    except ConfigError:
        shutil.rmtree(first.path)  # nobody comes back for it
        raise
    return f"full vote on {len(pairs):,} pairs: about {describe_time(seconds)}"


def _initial_model(model: ModelConfig, *, seed: int, path: Path) -> ModelConfig:
    """Save the model with its new head once, so that voters differ in data order alone."""
    if not path.is_dir():
        tokenizer = load_tokenizer(model)
        fresh = load_reward_model(model, seed=seed, pad_token_id=pad_id_of(tokenizer))
        save_checkpoint(fresh, tokenizer, path, card={})
    return ModelConfig(path=str(path), dtype=model.dtype)


def _seconds_to_read(pairs: Sequence[Pair], *, model: ModelConfig) -> float:
    scorer = load_scorer(model.path)
    started = time.monotonic()
    score_pairs(scorer.model, scorer.tokenizer, pairs, max_length=scorer.max_length)
    return (time.monotonic() - started) / len(pairs)


def make_fit_voter(model: ModelConfig, *, train: TrainConfig) -> FitVoter:
    """Return the function by which a full vote trains one voter and reads its gaps."""

    def fit_voter(
        pairs: Sequence[Pair], *, read: Sequence[Pair], seed: int, work: Path
    ) -> NDArray[np.float64]:
        checkpoint = work / "checkpoint"
        verdicts = [Verdict(pair.id) for pair in pairs]
        fit(
            pairs,
            verdicts,
            model=model,
            train=train,
            seed=seed,
            work=work / "train",
            out=checkpoint,
        )
        scorer = load_scorer(str(checkpoint))
        scores = score_pairs(scorer.model, scorer.tokenizer, read, max_length=scorer.max_length)
        return (scores.chosen_N - scores.rejected_N).astype(np.float64)

    return fit_voter
