"""What the command line prints: stages as they pass, errors, and the summary at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from tamis.runs import StageResult, Watcher, is_main


def show_error(message: str) -> None:
    """Print an error on standard error, as one line that no terminal width breaks."""
    label = "error:" if is_main() else "error in another process:"
    line = Text.assemble((label, "bold red"), " ", " ".join(message.splitlines()))
    Console(stderr=True, soft_wrap=True).print(line)


def show_path(label: str, path: Path) -> None:
    """Print a path on a line that no terminal width breaks."""
    Console(soft_wrap=True, quiet=not is_main()).print(
        Text.assemble((label, "bold"), " ", str(path))
    )


def watcher() -> Watcher:
    """Return the watcher that prints one line a stage on standard error."""
    console = Console(stderr=True, quiet=not is_main())

    def begin(name: str) -> None:
        console.print(f"[dim]{name} …[/dim]", highlight=False)

    def end(name: str, result: StageResult) -> None:
        done = f"{result.elapsed_s:.1f} s" if result.fresh else "already done"
        console.print(f"[green]✓[/green] {name:<16} {done}", highlight=False)

    # a notice may hold brackets, which are no markup
    return Watcher(begin, end, lambda text: console.print(Text(text)))


def show_tables(tables: list[tuple[str, list[str], list[list[str]]]]) -> None:
    """Print tables of text: title, column names, rows; all columns but the first to the right."""
    console = Console(quiet=not is_main())
    for title, columns, rows in tables:
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            side: JustifyMethod = "left" if number == 0 else "right"
            table.add_column(column, justify=side, overflow="fold")  # nothing is cut off
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))  # no markup, no emoji codes
        console.print(table)


def show_findings(sentences: list[str]) -> None:
    """Print what a study found, one sentence a line."""
    console = Console(quiet=not is_main())
    for sentence in sentences:
        console.print(Text(f"• {sentence}"))


def percent(interval: dict[str, Any]) -> str:
    """Write an interval of shares in percent: value and both ends, without the sign.

    >>> percent({"value": 0.5, "low": 0.412, "high": 0.6})
    '50.0 [41.2, 60.0]'
    """
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def points(interval: dict[str, Any]) -> str:
    """Write an interval of differences in percentage points, with signs.

    >>> points({"value": 0.014, "low": -0.005, "high": 0.03})
    '+1.4 [-0.5, +3.0]'
    """
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def decimal(interval: dict[str, Any]) -> str:
    """Write an interval as decimals.

    >>> decimal({"value": 0.5, "low": 0.412, "high": 0.6})
    '0.500 [0.412, 0.600]'
    """
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
