"""A whole run, stage after stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tamis.evaluate.compare import compare_items
from tamis.evaluate.config import BenchmarkConfig
from tamis.recipes.files import save_recipe
from tamis.recipes.schema import Recipe
from tamis.recipes.stages import (
    CHECKPOINT,
    PAIRS,
    REPORT,
    STRENGTH,
    TEST_PAIRS,
    VERDICTS,
    bench_stage,
    data_stage,
    denoise_stage,
    train_stage,
)
from tamis.recipes.voting import vote_stage
from tamis.report import write_report
from tamis.runs import (
    Stage,
    StageResult,
    Watcher,
    fingerprint,
    is_main,
    read_parquet,
    run_stage,
    write_json,
)

BASELINE = "baseline"
ITEMS = "items.parquet"


def run_recipe(recipe: Recipe, *, watcher: Watcher) -> Path:
    """Run all stages of a recipe, and return the path of its report.

    A finished stage with the same settings and inputs is not run again.
    """
    run = Path(recipe.out)
    run_stages(recipe, watcher=watcher)
    page = run / "report.html"
    return write_report(run, out=page) if is_main() else page


def run_stages(recipe: Recipe, *, watcher: Watcher, cache: Path | None = None) -> None:
    """Run all stages of a recipe but the report. ``cache`` keeps the features of head voters."""
    run = Path(recipe.out)
    if is_main():
        save_recipe(run / "recipe.yaml", recipe)
    pairs = run / "data" / PAIRS
    _watched(watcher, "data", lambda: data_stage(run, config=recipe.data, model=recipe.model))
    _watched(
        watcher,
        "vote",
        lambda: vote_stage(
            run,
            pairs=pairs,
            model=recipe.model,
            config=recipe.vote,
            train=recipe.train,
            seed=recipe.seed,
            notice=watcher.say,
            cache=cache,
        ),
    )
    strength = run / "vote" / STRENGTH
    _watched(
        watcher,
        "denoise",
        lambda: denoise_stage(
            run, strength=strength, pairs=pairs, config=recipe.denoise, seed=recipe.seed
        ),
    )
    _train_and_bench(recipe, run=run, verdicts=run / "denoise" / VERDICTS, watcher=watcher)
    if recipe.baseline:
        _train_and_bench(recipe, run=run / BASELINE, verdicts=None, watcher=watcher)
        if (run / "bench" / ITEMS).is_file():
            _watched(watcher, "compare", lambda: compare_stage(run, seed=recipe.seed))


def benchmarks_of(recipe: Recipe) -> Sequence[BenchmarkConfig]:
    """Return the recipe's benchmarks, led by the held-out pairs where there are any."""
    held_out = Path(recipe.out) / "data" / TEST_PAIRS
    first = (BenchmarkConfig(name="pairs", path=str(held_out)),) if held_out.is_file() else ()
    return (*first, *recipe.bench)


def compare_stage(run: Path, *, seed: int) -> StageResult:
    """Compare the bench of a run with that of its baseline: ``compare/report.json``."""
    items, baseline = run / "bench" / ITEMS, run / BASELINE / "bench" / ITEMS
    inputs = {"items": fingerprint(items), "baseline": fingerprint(baseline)}
    stage = Stage(run / "compare", {"seed": seed}, inputs)

    def produce(out: Path, _: Path) -> None:
        report = compare_items(read_parquet(items), read_parquet(baseline), seed=seed)
        write_json(out / REPORT, report)

    return run_stage(stage, produce)


def _train_and_bench(recipe: Recipe, *, run: Path, verdicts: Path | None, watcher: Watcher) -> None:
    prefix = f"{BASELINE} " if verdicts is None else ""
    pairs = Path(recipe.out) / "data" / PAIRS
    _watched(
        watcher,
        f"{prefix}train",
        lambda: train_stage(
            run,
            pairs=pairs,
            verdicts=verdicts,
            model=recipe.model,
            config=recipe.train,
            seed=recipe.seed,
        ),
    )
    benchmarks = benchmarks_of(recipe)
    if benchmarks:
        checkpoint = run / "train" / CHECKPOINT
        _watched(
            watcher,
            f"{prefix}bench",
            lambda: bench_stage(
                run, checkpoint=checkpoint, benchmarks=benchmarks, seed=recipe.seed
            ),
        )


def _watched(watcher: Watcher, name: str, stage: Callable[[], StageResult]) -> None:
    watcher.begin(name)
    watcher.end(name, stage())
