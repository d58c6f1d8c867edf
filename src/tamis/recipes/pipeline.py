"""A whole run, stage after stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tamis.evaluate import BenchmarkConfig, check_benchmarks, compare_items
from tamis.recipes.conditioning import bench_principles, check_principles, principles_stage
from tamis.recipes.evidence import trusted_file
from tamis.recipes.files import save_recipe
from tamis.recipes.policies import policy_of
from tamis.recipes.schema import Recipe
from tamis.recipes.scoring import Scoring
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
from tamis.recipes.warm import WarmRun, check_warm, warm_steps
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
from tamis.train.fit import checked_model

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
    """Run all stages of a recipe but the report. ``cache`` keeps the features of head voters.

    Raises:
        ConfigError, DataError: what `check_late_stages` refuses, before the first stage; and what
            the stages refuse.
    """
    check_late_stages(recipe)
    run = Path(recipe.out)
    if is_main():
        save_recipe(run / "recipe.yaml", recipe)
    pairs = run / "data" / PAIRS
    _read_data(recipe, run=run, watcher=watcher)
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
        if benchmarks_of(recipe):
            _watched(watcher, "compare", lambda: compare_stage(run, seed=recipe.seed))


def _read_data(recipe: Recipe, *, run: Path, watcher: Watcher) -> None:
    """Write ``data/pairs.parquet``; with principles, of examples, from the pairs in ``source/``."""
    if recipe.principles.judge is None:
        _watched(watcher, "data", lambda: data_stage(run, config=recipe.data, model=recipe.model))
        return
    source = run / "source"
    _watched(watcher, "data", lambda: data_stage(source, config=recipe.data))
    _watched(
        watcher,
        "principles",
        lambda: principles_stage(
            run,
            pairs=source / "data" / PAIRS,
            config=recipe.principles,
            model=recipe.model,
            seed=recipe.seed,
            notice=watcher.say,
        ),
    )


def check_late_stages(recipe: Recipe) -> None:
    """Refuse what a late stage would refuse, before the early ones have taken hours.

    Raises:
        ConfigError: an unknown policy, loss, term or benchmark, a benchmark that is there twice or
            has no data, settings of the training that contradict each other or that the model does
            not fit, or a missing file of trusted labels.
        DataError: the file of a benchmark is missing.
    """
    policy_of(recipe.denoise)
    trusted_file(recipe.denoise.trusted)
    check_benchmarks(recipe.bench)
    if recipe.principles.judge is not None:
        check_principles(recipe.principles)
        bench_principles(recipe.principles)
    checked_model(recipe.train, model=recipe.model)
    check_warm(recipe.warm)


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
    stages = _training(recipe, run=run, verdicts=verdicts)
    for name, stage in stages:
        _watched(watcher, f"{prefix}{name}", stage)
    benchmarks = benchmarks_of(recipe)
    if benchmarks:
        checkpoint = run / stages[-1][0] / CHECKPOINT
        _watched(
            watcher,
            f"{prefix}bench",
            lambda: bench_stage(
                run,
                scoring=Scoring(
                    [f"checkpoint:{checkpoint}"],
                    principles=bench_principles(recipe.principles),
                    keeps_own=True,
                    layout=recipe.principles.layout,
                ),
                benchmarks=benchmarks,
                seed=recipe.seed,
                notice=watcher.say,
            ),
        )


def _training(
    recipe: Recipe, *, run: Path, verdicts: Path | None
) -> Sequence[tuple[str, Callable[[], StageResult]]]:
    """Return the stages that make the reward model; the last one is named like its directory."""
    data = Path(recipe.out) / "data"
    if recipe.warm.num_members:
        held_out = data / TEST_PAIRS
        wanted = WarmRun(
            run=run,
            pairs=data / PAIRS,
            verdicts=verdicts,
            held_out=held_out if held_out.is_file() else None,
            model=recipe.model,
            train=recipe.train,
            warm=recipe.warm,
            seed=recipe.seed,
        )
        return warm_steps(wanted)

    def train() -> StageResult:
        return train_stage(
            run,
            pairs=data / PAIRS,
            verdicts=verdicts,
            model=recipe.model,
            config=recipe.train,
            seed=recipe.seed,
        )

    return [("train", train)]


def _watched(watcher: Watcher, name: str, stage: Callable[[], StageResult]) -> None:
    watcher.begin(name)
    watcher.end(name, stage())
