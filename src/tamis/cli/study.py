"""The command that puts Tamis to the test on data whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tamis.errors import ConfigError

Tier = Literal["quick", "default", "full"]
NumSeeds = Annotated[
    int,
    typer.Option(
        min=1,
        max=100,
        help="Seeds: draws of labels, folds and orders (overoptimise: at most 3 without --full).",
    ),
]
FirstSeed = Annotated[
    int, typer.Option(min=0, help="The first of them; seeds that nobody has seen confirm.")
]
Arms = Annotated[
    list[str] | None,
    typer.Option(help="Only these arms (repeatable; shift, overoptimise); others can follow."),
]
RL = Annotated[
    bool,
    typer.Option("--rl", help="The run of reinforcement learning of --full, too (overoptimise)."),
]


def study(
    kind: Annotated[
        Literal["noise", "deciles", "shift", "overoptimise"],
        typer.Argument(
            help="noise (find, repair, train), deciles (what each tenth teaches), shift (what "
            "generalises) or overoptimise (what survives best of n)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run directory.")] = Path("runs/study"),
    quick: Annotated[bool, typer.Option("--quick", help="A small part: some 8 minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Fine-tuned models as well; may be stopped and go on.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(envvar="TAMIS_DATA_DIR", help="Folder of the development data sets."),
    ] = None,
    num_seeds: NumSeeds = 5,
    first_seed: FirstSeed = 0,
    arm: Arms = None,
    rl: RL = False,
    page: Annotated[
        Path | None,
        typer.Option(help="Put tables and pictures into their places in this Markdown page."),
    ] = None,
) -> None:
    """Put methods to the test on data whose truth is known, with intervals.

    Prints what it will take, then runs; a study that was stopped goes on where it was. Writes
    OUT/KIND: report.html, tables.md with images, results.parquet and report.json. Needs
    pip install 'tamis\\[study]'.
    """
    from tamis.cli.screen import show_path, show_tables, watcher
    from tamis.studies.commands import fill_document, plan_for, run_study_stage, sections_of
    from tamis.studies.present import terminal_tables

    if quick and full:
        raise ConfigError("--quick and --full were both given; choose one, or neither")
    tier: Tier = "quick" if quick else "full" if full else "default"
    seeds = {"num_seeds": num_seeds, "first_seed": first_seed}
    plan = plan_for(kind, tier, **seeds, arms=arm or (), rl=rl)
    watch = watcher()
    watch.begin(f"study {kind}")
    result = run_study_stage(kind, out, plan=plan, data=data, notice=watch.say)
    watch.end(f"study {kind}", result)
    sections = sections_of(kind, out)
    if page is not None:
        fill_document(kind, sections, page=page, tier=tier, first_seed=first_seed)
    show_tables(terminal_tables(sections))
    show_path("report:", (result.directory / "report.html").resolve())
