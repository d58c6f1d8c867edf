"""The vote stage: pairs and a model in, strength out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tamis.data import pair_ids
from tamis.models.config import ModelConfig
from tamis.recipes.stages import (
    REPORT,
    STRENGTH,
    model_input,
    model_settings,
    objective_inputs,
    training_pairs,
)
from tamis.recipes.voters import VoterSetup, cast_votes
from tamis.runs import Stage, StageResult, fingerprint, run_stage, write_json
from tamis.runs.stage import KEPT
from tamis.train.config import TrainConfig
from tamis.vote.ballots import Member, collect, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.kept import KeptVotes, with_kept
from tamis.vote.table import vote_report, write_strength


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

    The votes of single voters are kept in ``vote/members``: a vote that differs in their number
    alone casts those that are missing, and ends in what a vote from scratch would give.

    ``train`` is used by ``full`` voters alone. ``notice`` is told how many voters had voted before,
    and how long a full vote may take. ``cache`` keeps the features of ``head`` voters beyond the
    stage.
    """
    inputs = {"pairs": fingerprint(pairs), **model_input(model)}
    settings = {
        "vote": config.identity(),
        "model": model_settings(model),
        "train": train.identity() if config.kind == "full" else None,
        "seed": seed,
    }
    if config.kind == "full":
        inputs |= objective_inputs(train)
    stage = Stage(run / "vote", settings, inputs, notes={"model": model.path})
    shared = replace(stage, config={**settings, "vote": config.voter_identity()})
    kept = KeptVotes(stage.directory / KEPT, shared.key)
    setup = VoterSetup(model, config, train, seed=seed, notice=notice, cache=cache)

    def produce(out: Path, work: Path) -> None:
        chosen = training_pairs(pairs)
        members = voting_members(chosen, config=config, seed=seed)
        missing = kept.missing(members, unit="member" if config.kind == "full" else "voter")
        _tell_kept(members, missing, notice=notice)
        fresh = cast_votes(chosen, missing, setup=setup, work=work) if missing else ()
        votes = with_kept(fresh, members=members, missing=missing, kept=kept)
        ballots = collect(members, votes)
        report = vote_report(chosen, ballots=ballots, config=config, seed=seed)
        write_strength(out / STRENGTH, ids=pair_ids(chosen).to_pylist(), ballots=ballots)
        write_json(out / REPORT, report)

    return run_stage(stage, produce)


def _tell_kept(
    members: Sequence[Member], missing: Sequence[Member], *, notice: Callable[[str], None]
) -> None:
    num_voters = len({member.voter for member in members})
    num_kept = num_voters - len({member.voter for member in missing})
    if num_kept:
        notice(f"{num_kept} of {num_voters} voters have voted before")
