"""The command that opens the review page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tamis.cli.extras import needing
from tamis.cli.options import RunDir, artefact, beside_of, override, run_dir
from tamis.errors import ConfigError

Run = Annotated[Path, typer.Argument(help="Run directory with data and vote, or pairs.parquet.")]
StrengthFile = Annotated[
    Path | None, typer.Option(help="strength.parquet (default: of the run directory).")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port (default 8765; 0 takes a free one).")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="TAMIS_REVIEW_TOKEN",
        help="What opens the page (default: drawn at random; none: nothing, on 127.0.0.1).",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(help="File or URL of the decisions (default RUN/review/review.sqlite)."),
]
Reviewer = Annotated[str | None, typer.Option(help="Who judges (default: the page asks).")]
Blind = Annotated[
    bool, typer.Option("--blind", help="Hide labels and votes, and shuffle the sides.")
]
Export = Annotated[
    bool, typer.Option("--export", help="Write verdicts and trusted labels, and end.")
]


def review(
    run: Run,
    out: RunDir = None,
    strength: StrengthFile = None,
    host: Host = None,
    port: Port = None,
    token: Token = None,
    database: Database = None,
    reviewer: Reviewer = None,
    blind: Blind = False,
    export: Export = False,
) -> None:
    """Judge suspicious pairs on a page in the browser: keep, flip, tie or drop, by keyboard.

    Prints the address of the page; Ctrl-C ends it, and nothing that was saved is lost. Writes
    RUN/review: review.sqlite (every decision) and, on export, verdicts.parquet (for tamis train
    --verdicts), trusted.parquet and report.json.
    """
    from tamis.cli.screen import show_path
    from tamis.review.config import ReviewConfig

    flags = {"host": host, "port": port, "token": token, "reviewer": reviewer, "blind": blind}
    config = override(ReviewConfig, {}, flags)
    folder = run_dir(out, None, given=run)
    beside = beside_of(run, folder)
    with needing("review", what="the review page"):
        from tamis.review.serve import Sources, open_review, serve
    sources = Sources(
        pairs=artefact(run, "data/pairs.parquet"),
        strength=strength or _strength_of(beside),
        out=folder / "review",
        wrong=beside / "denoise" / "wrong.parquet",
        base=beside / "denoise" / "verdicts.parquet",
        database=database,
    )
    with open_review(sources, blind=config.blind) as opened:
        if export:
            opened.write()
            show_path("written:", sources.out)
        else:
            serve(opened, config, announce=lambda address: typer.echo(f"review: {address}"))


def _strength_of(run: Path) -> Path:
    """Return the votes of the run directory.

    Raises:
        ConfigError: it has none.
    """
    found = run / "vote" / "strength.parquet"
    if not found.is_file():
        raise ConfigError(f"{found}: no such file; run `tamis vote` first, or give --strength")
    return found
