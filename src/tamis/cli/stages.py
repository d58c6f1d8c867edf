"""Commands for single stages. Each reads files, and writes one folder of a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.options import (
    MaxLength,
    ModelPath,
    PairsFile,
    RecipeFile,
    RunDir,
    Seed,
    artefact,
    beside_of,
    finish,
    mapping,
    model_of,
    names,
    override,
    recipe_of,
    run_dir,
    seed_of,
)
from tamis.errors import ConfigError

Between = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Suspect a slice of the pairs, such as 0.3 0.4."),
]
Outside = Annotated[str | None, typer.Option(help="keep or drop the pairs that are not suspected.")]
Trusted = Annotated[
    str | None, typer.Option(help="Fit P(wrong) on gold, votes, or a file with id and gold.")
]


def data(
    file: Annotated[str, typer.Argument(help="JSONL, JSON, CSV, TSV or Parquet file, or hub id.")],
    out: RunDir = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="field=column, e.g. chosen=better (repeatable).")
    ] = None,
    convention: Annotated[str | None, typer.Option(help="Column convention, by name.")] = None,
    hub_config: Annotated[str | None, typer.Option(help="Configuration on the hub.")] = None,
    hub_split: Annotated[str | None, typer.Option(help="Split on the hub (default train).")] = None,
    test_frac: Annotated[float | None, typer.Option(help="Share of groups held out.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read so many rows at most.")] = None,
    max_dropped_frac: Annotated[
        float | None, typer.Option(help="Fail when a larger share of rows is dropped.")
    ] = None,
    on_contradiction: Annotated[
        str | None, typer.Option(help="keep or drop pairs that contradict each other.")
    ] = None,
    model: ModelPath = None,
    max_length: MaxLength = None,
    seed: Seed = None,
    recipe: RecipeFile = None,
) -> None:
    """Read preference data of any common form, check it, and write pairs.

    Writes RUN/data: pairs.parquet, dropped.parquet (each dropped row with its reason), report.json.
    With --model, pairs that the model cannot tell apart or hold are dropped, too.
    """
    from tamis.data import DataConfig
    from tamis.recipes.stages import data_stage

    loaded = recipe_of(recipe)
    settings = {} if loaded is None else loaded.data.model_dump()
    flags = {
        "path": file,
        "columns": mapping(columns, option="--columns"),
        "convention": convention,
        "hub_config": hub_config,
        "hub_split": hub_split,
        "test_frac": test_frac,
        "limit": limit,
        "max_dropped_frac": max_dropped_frac,
        "on_contradiction": on_contradiction,
        "seed": seed,
    }
    chosen = None if loaded is None and model is None else model_of(loaded, model, max_length)
    run = run_dir(out, loaded)
    finish(run, data_stage(run, config=override(DataConfig, settings, flags), model=chosen))


def vote(
    pairs: PairsFile,
    out: RunDir = None,
    model: ModelPath = None,
    max_length: MaxLength = None,
    kind: Annotated[
        str | None,
        typer.Option(help="head (fast), branch (top blocks, one pass) or full (published)."),
    ] = None,
    num_voters: Annotated[int | None, typer.Option(help="Reward models that vote.")] = None,
    num_folds: Annotated[int | None, typer.Option(help="Folds of cross-fitted votes.")] = None,
    fold_by: Annotated[str | None, typer.Option(help="Hold out by pair or by group.")] = None,
    estimators: Annotated[
        list[str] | None,
        typer.Option(help="cross_fitted, in_sample, out_of_bag (repeat, or commas between)."),
    ] = None,
    allow_slow: Annotated[
        bool, typer.Option("--allow-slow", help="Full voters on over 1,000 pairs without a GPU.")
    ] = False,
    seed: Seed = None,
    recipe: RecipeFile = None,
) -> None:
    """Let an ensemble of reward models vote on every label.

    Writes RUN/vote: strength.parquet (mean, std and each vote of a pair), report.json, and members
    (the votes of each voter: given again with another --num-voters, only new voters are trained).
    """
    from tamis.cli.screen import show_findings, watcher
    from tamis.recipes.voting import vote_stage
    from tamis.runs import read_json
    from tamis.train.config import TrainConfig
    from tamis.vote.config import VoteConfig

    loaded = recipe_of(recipe)
    settings = {} if loaded is None else loaded.vote.model_dump()
    flags = {
        "kind": kind,
        "num_voters": num_voters,
        "num_folds": num_folds,
        "fold_by": fold_by,
        "estimators": names(estimators),
        "allow_slow": allow_slow or None,
    }
    run = run_dir(out, loaded, given=pairs)
    result = vote_stage(
        run,
        pairs=artefact(pairs, "data/pairs.parquet"),
        model=model_of(loaded, model, max_length),
        config=override(VoteConfig, settings, flags),
        train=TrainConfig() if loaded is None else loaded.train,
        seed=seed_of(loaded, seed),
        notice=watcher().say,
    )
    finish(run, result)
    convergence = read_json(result.directory / "report.json").get("convergence")
    if convergence is not None:
        show_findings([convergence["sentence"]])


def denoise(
    strength: Annotated[
        Path, typer.Argument(help="strength.parquet, or a run directory with data and vote.")
    ],
    out: RunDir = None,
    pairs: Annotated[
        Path | None, typer.Option(help="pairs.parquet (default: of the same run).")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="A policy below, or a dotted path (default: auto)."),
    ] = None,
    share: Annotated[float | None, typer.Option(help="Suspect this lowest share.")] = None,
    below: Annotated[float | None, typer.Option(help="Suspect strengths below this.")] = None,
    between: Between = None,
    outside: Outside = None,
    alpha: Annotated[float | None, typer.Option(help="Soft label: target 1 - alpha.")] = None,
    margin: Annotated[str | None, typer.Option(help="raw or clipped margins.")] = None,
    trusted: Trusted = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse what TRL and OpenRLHF cannot express.")
    ] = False,
    seed: Seed = None,
    recipe: RecipeFile = None,
) -> None:
    """Turn strength into verdicts: target, margin and weight of every pair.

    Policies: keep, drop, flip, soft, margin, flip_margin, soft_margin, flip_soft, flip_soft_margin,
    smooth, calibrated, confidence, people, auto. Writes RUN/denoise: verdicts.parquet,
    wrong.parquet (the probability that a label is wrong), export.jsonl (the cleaned data set) and
    report.json.
    """
    from tamis.cli.screen import show_findings
    from tamis.cli.summary import taken_for_granted
    from tamis.denoise.config import DenoiseConfig
    from tamis.recipes.stages import denoise_stage
    from tamis.runs import read_json

    loaded = recipe_of(recipe)
    settings = {} if loaded is None else loaded.denoise.model_dump()
    if policy not in (None, settings.get("policy")):  # the recipe's settings are those of its own
        settings = {"trusted": settings.get("trusted")}
    if not (share is None and below is None and between is None):
        settings |= {"share": None, "below": None, "between": None}
    suspects = {"share": share, "below": below, "between": between, "outside": outside}
    flags = {"policy": policy, **suspects, "alpha": alpha, "margin": margin, "trusted": trusted}
    run = run_dir(out, loaded, given=strength)
    result = denoise_stage(
        run,
        strength=artefact(strength, "vote/strength.parquet"),
        pairs=artefact(pairs or beside_of(strength, run), "data/pairs.parquet"),
        config=override(DenoiseConfig, settings, flags),
        strict=strict,
        seed=seed_of(loaded, seed),
    )
    finish(run, result)
    show_findings(taken_for_granted(read_json(result.directory / "report.json")))


def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write (default RUN/report.html).")
    ] = None,
) -> None:
    """Write one self-contained HTML page about a run, and its figures as JSON beside it."""
    from tamis.cli.screen import show_path
    from tamis.report import write_report

    if not run.is_dir():
        raise ConfigError(f"{run}: expected a run directory")
    show_path("report:", write_report(run, out=out or run / "report.html").resolve())
