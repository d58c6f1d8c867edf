"""The vote stage: pairs and a model in, strength out."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.data import pair_ids
from tamis.errors import ConfigError
from tamis.models.checkpoint import load_scorer, save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.recipes.stages import (
    REPORT,
    STRENGTH,
    model_input,
    model_settings,
    training_pairs,
)
from tamis.runs import (
    Stage,
    StageResult,
    fingerprint,
    num_processes,
    run_stage,
    write_json,
)
from tamis.train.config import TrainConfig
from tamis.train.fit import fit
from tamis.types import Pair, Verdict
from tamis.vote.ballots import CastVotes, Member, collect, training_masks, voting_members
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
from tamis.vote.table import vote_report, write_strength

PROBE_PAIRS = 16
TRAIN_COST = 3.0  # a training step costs about three forward passes


def vote_stage(
    run: Path,
    *,
    pairs: Path,
    model: ModelConfig,
    config: VoteConfig,
    train: TrainConfig,
    seed: int,
    notice: Callable[[str], None],
    cache: Path | None = None,
) -> StageResult:
    """Let reward models vote on the training pairs: ``vote/strength.parquet`` and a report.

    ``train`` is used by ``full`` voters alone. ``notice`` is told how long a full vote may take.
    ``cache`` keeps the features of ``head`` voters beyond the stage.
    """
    inputs = {"pairs": fingerprint(pairs), **model_input(model)}
    settings = {
        "vote": config.identity(),
        "model": model_settings(model),
        "train": train.identity() if config.kind == "full" else None,
        "seed": seed,
    }
    stage = Stage(run / "vote", settings, inputs, notes={"model": model.path})

    def produce(out: Path, work: Path) -> None:
        chosen = training_pairs(pairs)
        members = voting_members(chosen, config=config, seed=seed)
        if config.kind == "head":
            folder = cache or work / "features"
            cast = _heads(chosen, model=model, config=config, seed=seed, cache=folder, work=work)
        elif config.kind == "branch":
            cast = _branches(chosen, model=model, config=config, seed=seed, work=work)
        else:
            first = _initial_model(model, seed=seed, path=work / "initial")
            notice(_announce_full(chosen, members, first=first, config=config, train=train))
            cast = _full(chosen, first=first, train=train, seed=seed, work=work)
        ballots = collect(members, cast(members))
        report = vote_report(chosen, ballots=ballots, config=config, seed=seed)
        ids = pair_ids(chosen).to_pylist()
        write_strength(out / STRENGTH, ids=ids, ballots=ballots)
        write_json(out / REPORT, report)

    return run_stage(stage, produce)


def _heads(
    pairs: Sequence[Pair],
    *,
    model: ModelConfig,
    config: VoteConfig,
    seed: int,
    cache: Path,
    work: Path,
) -> CastVotes:
    """Return the voters that are linear heads on frozen features."""
    diff_NLD = frozen_differences(pairs, model=model, cache=cache)
    diff_ND = flatten(diff_NLD, scale_L=depth_scales(diff_NLD), folder=work)
    return lambda members: head_votes(diff_ND, members=members, config=config, seed=seed)


def _branches(
    pairs: Sequence[Pair], *, model: ModelConfig, config: VoteConfig, seed: int, work: Path
) -> CastVotes:
    """Return the voters that share the lower blocks and own the upper ones."""

    def cast(members: Sequence[Member]) -> Sequence[NDArray[np.float64]]:
        trains_NK = training_masks(members)
        votes_NK = branch_votes(
            pairs, trains_NK=trains_NK, model=model, config=config.branch, seed=seed, work=work
        )
        return list(votes_NK.T)

    return cast


def _full(
    pairs: Sequence[Pair], *, first: ModelConfig, train: TrainConfig, seed: int, work: Path
) -> CastVotes:
    """Return the voters whose weights are all trained, from one initial model, as published."""
    unwatched = train.watch.model_copy(update={"trackers": ()})  # one curve a voter helps nobody
    fit_voter = make_fit_voter(first, train=train.model_copy(update={"watch": unwatched}))
    return lambda members: full_votes(pairs, members=members, seed=seed, fit=fit_voter, work=work)


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
