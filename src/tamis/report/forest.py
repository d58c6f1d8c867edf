"""Dots with intervals, one row each: the picture for comparing estimates.

Every row's label and value stand above its interval, so that long names fit on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tamis.report.numbers import number, percent
from tamis.report.pictures import INK, LINE, MUTED, RIGHT, RULE, svg
from tamis.types import Interval


@dataclass(frozen=True, slots=True)
class Row:
    """One estimate; ``points`` are drawn small (seeds), ``rule`` as a diamond (a simple rule)."""

    label: str
    estimate: Interval
    points: tuple[float, ...] = ()
    rule: float | None = None
    colour: str = RIGHT


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows under one title, with vertical lines of reference at (value, name)."""

    title: str
    rows: tuple[Row, ...]
    references: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ForestStyle:
    """The words on a forest picture; shares in [0, 1] are shown as percentages.

    Values that are no shares are shown with so many ``digits``.
    """

    name: str
    alt: str
    xlabel: str
    estimate: str
    rule: str = ""
    points: str = ""
    is_share: bool = True
    digits: int = 3


def forest(panels: Sequence[Panel], *, style: ForestStyle) -> Markup:
    """Draw panels of rows on one common axis."""
    low, high = _limits(panels)

    def paint(figure: Figure) -> None:
        heights = [len(panel.rows) + (0.55 if panel.title else 0.1) for panel in panels]
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[
            :, 0
        ]
        for axes, panel in zip(grid, panels, strict=True):
            _paint_panel(axes, panel, style=style)
        last = grid[-1]
        last.set_xlim(low, high)
        last.set_xlabel(style.xlabel)
        last.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        if style.is_share:
            last.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        figure.legend(
            handles=_handles(panels, style=style),
            loc="outside upper left",
            ncols=2,
            handlelength=1.6,
            columnspacing=1.4,
            borderaxespad=0.2,
        )

    num_rows = sum(len(panel.rows) for panel in panels)
    height_in = 1.25 + 0.62 * num_rows + 0.45 * len(panels)
    return svg(paint, name=style.name, alt=style.alt, height_in=height_in)


def _paint_panel(axes: Axes, panel: Panel, *, style: ForestStyle) -> None:
    across = axes.get_yaxis_transform()
    for value, _ in panel.references:
        axes.axvline(value, color=RULE, lw=1.3, ls="--")
    for row, item in enumerate(panel.rows):
        y, estimate = -float(row), item.estimate
        value = estimate.value
        text = percent(value) if style.is_share else number(value, digits=style.digits)
        label = _short(item.label)
        for x, words, side in ((0.0, label, "left"), (1.0, text, "right")):
            axes.text(
                x, y + 0.2, words, transform=across, ha=side, va="bottom", color=INK,
                fontsize=13, in_layout=False,
            )  # fmt: skip
        axes.plot([0, 1], [y, y], transform=across, color=LINE, lw=0.8, zorder=0)
        axes.plot([estimate.low, estimate.high], [y, y], color=item.colour, lw=3.2, alpha=0.55)
        axes.plot(item.points, [y] * len(item.points), "o", color=item.colour, ms=3.2, alpha=0.7)
        if item.rule is not None:
            axes.plot([item.rule], [y], "D", color=RULE, ms=6.5)
        axes.plot([estimate.value], [y], "o", color=item.colour, ms=8)
    axes.set_ylim(-len(panel.rows) + 0.55, 0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=3)
    if panel.title:
        axes.set_title(_short(panel.title), loc="left", fontweight="bold", color=INK)


def _short(text: str, *, limit: int = 40) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _limits(panels: Sequence[Panel]) -> tuple[float, float]:
    values = [
        value
        for panel in panels
        for row in panel.rows
        for value in (row.estimate.low, row.estimate.high, row.rule, *row.points)
        if value is not None
    ]
    values += [value for panel in panels for value, _ in panel.references]
    pad = 0.06 * (max(values) - min(values)) or 0.02
    return min(values) - pad, max(values) + pad


def _handles(panels: Sequence[Panel], *, style: ForestStyle) -> list[Line2D]:
    handles = [
        Line2D([], [], color=MUTED, marker="o", ms=8, lw=3.2, alpha=0.8, label=style.estimate)
    ]
    rows = [row for panel in panels for row in panel.rows]
    if style.points and any(row.points for row in rows):
        handles.append(Line2D([], [], color=MUTED, ls="", marker="o", ms=3.2, label=style.points))
    if style.rule and any(row.rule is not None for row in rows):
        handles.append(Line2D([], [], color=RULE, ls="", marker="D", ms=6.5, label=style.rule))
    names = dict.fromkeys(name for panel in panels for _, name in panel.references)
    handles += [
        Line2D([], [], color=RULE, lw=1.3, ls="--", label=_short(name, limit=26)) for name in names
    ]
    return handles
