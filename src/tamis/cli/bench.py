"""The command that measures reward models on benchmarks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.cli.options import (
    PrinciplesFile,
    PrinciplesLayout,
    RecipeFile,
    RunDir,
    Seed,
    ensemble_of,
    finish,
    local_path,
    mapping,
    override,
    principles_of,
    recipe_of,
    run_dir,
    seed_of,
)

if TYPE_CHECKING:
    from tamis.evaluate.config import BenchmarkConfig
    from tamis.evaluate.scorers import ScorerOptions

Scorers = Annotated[
    list[str],
    typer.Argument(
        help="Checkpoint, run directory, hub id or KIND:ADDRESS; several make one ensemble."
    ),
]
On = Annotated[
    list[str] | None,
    typer.Option(help="Benchmark: NAME or NAME=FILE (repeatable), e.g. hhh=eval.jsonl.gz."),
]
Limit = Annotated[int | None, typer.Option(help="Items of each benchmark at most.")]
Principles = Annotated[
    list[str] | None,
    typer.Option(help="Score under it: NAME, not:NAME, or words (repeatable)."),
]
How = Annotated[
    str | None,
    typer.Option(
        help="Of several: mean (default), min, lower (mean - L * std), raw_min, raw_lower."
    ),
]
Penalty = Annotated[float | None, typer.Option(help="L of --ensemble lower (default 1).")]
Options = Annotated[
    list[str] | None,
    typer.Option(help="Of the scorers, e.g. max_length=2048 or workers=16 (repeatable)."),
]
Calibrated = Annotated[
    bool, typer.Option("--calibrated", help="Apply the calibrators that lie in checkpoints.")
]


def bench(
    scorer: Scorers,
    out: RunDir = None,
    on: On = None,
    limit: Limit = None,
    principle: Principles = None,
    principles: PrinciplesFile = None,
    layout: PrinciplesLayout = None,
    ensemble: How = None,
    penalty: Penalty = None,
    option: Options = None,
    calibrated: Calibrated = False,
    seed: Seed = None,
    recipe: RecipeFile = None,
) -> None:
    """Measure a reward model on benchmarks, with intervals, beside the length rules.

    Kinds of scorers: checkpoint (understood where none is named), longest, shortest, random,
    constant, file, python, dpo, judge, classify, pooling, openrlhf, calibrated. Benchmarks are
    modules of tamis.evaluate.benchmarks, such as hhh, and pairs for a file of your own; without
    --on the held-out pairs of the run directory are used. Of several checkpoints, one is in memory
    at a time. Writes RUN/bench: items.parquet, report.json, and members, which keeps all scores.
    """
    from tamis.cli.screen import watcher
    from tamis.evaluate.scorers.calibrated import with_calibrators
    from tamis.recipes.conditioning import asked_texts
    from tamis.recipes.scoring import Scoring
    from tamis.recipes.stages import bench_stage

    loaded = recipe_of(recipe)
    # the first of several says nothing of where their bench belongs
    given = None if len(scorer) > 1 else local_path(scorer[0])
    known = [] if loaded is None else list(loaded.bench)
    benchmarks = known + benchmarks_of(on, limit=limit, held_out=None if known else given)
    run = run_dir(out, loaded, given=given)
    settings = {} if loaded is None else loaded.principles.model_dump()
    known_principles = principles_of(settings, file=principles, layout=layout)
    asked = principle or known_principles.bench
    result = bench_stage(
        run,
        scoring=Scoring(
            with_calibrators(scorer) if calibrated else scorer,
            ensemble=ensemble_of(len(scorer), how=ensemble, penalty=penalty),
            principles=asked_texts(asked, file=known_principles.file),
            keeps_own=not principle,
            layout=known_principles.layout,
            options=scorer_options(option, scorers=scorer),
        ),
        benchmarks=benchmarks,
        seed=seed_of(loaded, seed),
        notice=watcher().say,
    )
    finish(run, result)


def scorer_options(
    texts: list[str] | None, *, scorers: Sequence[str], others: Collection[str] = ()
) -> ScorerOptions:
    """Return the options of scorers that ``--option`` names.

    Args:
        texts: KEY=VALUE.
        scorers: the scorers; one at least must read each option.
        others: options that something else reads.

    Raises:
        ConfigError: an option is unknown, has no such value, or is read by nothing.
    """
    from tamis.evaluate.scorers import ScorerOptions
    from tamis.evaluate.scorers.opening import check_options

    options: ScorerOptions = override(ScorerOptions, {}, mapping(texts, option="--option") or {})
    check_options(scorers, options, others=others)
    return options


def benchmarks_of(
    texts: list[str] | None, *, limit: int | None, held_out: Path | None = None
) -> list[BenchmarkConfig]:
    """Return the benchmarks that options name, else the held-out pairs of a run directory, if any.

    Args:
        texts: NAME or NAME=FILE.
        limit: items of each at most.
        held_out: a run directory, perhaps.
    """
    from tamis.evaluate.config import BenchmarkConfig

    if not texts and held_out is not None:
        pairs = held_out / "data" / "test_pairs.parquet"
        texts = [f"pairs={pairs}"] if pairs.is_file() else []
    parts = [text.partition("=") for text in texts or []]
    return [
        override(BenchmarkConfig, {}, {"name": name, "path": path or None, "limit": limit})
        for name, _, path in parts
    ]
