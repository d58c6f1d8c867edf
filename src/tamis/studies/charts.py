"""The studies' own picture: curves with intervals, a panel a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tamis.report.pictures import LINE, MUTED, RIGHT, RULE, svg
from tamis.types import Interval


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: values with intervals over x; without intervals where ``bars`` is off."""

    name: str
    x: tuple[float, ...]
    values: tuple[Interval, ...]
    colour: str = RIGHT
    dashes: str = "-"
    bars: bool = True


@dataclass(frozen=True, slots=True)
class LinePanel:
    """Curves under one title, with a horizontal line of reference at (value, name)."""

    title: str
    lines: tuple[Line, ...]
    level: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class LineStyle:
    """The words on a picture of curves; both axes are shares where they are said to be.

    ``ticks`` are names for the places 1, 2, 3 ... of an axis that is no number.
    """

    name: str
    alt: str
    xlabel: str
    x_is_share: bool = True
    diagonal: bool = False
    ticks: tuple[str, ...] = ()


def line_panels(panels: Sequence[LinePanel], *, style: LineStyle) -> Markup:
    """Draw panels of curves below each other, with one legend."""

    def paint(figure: Figure) -> None:
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(grid, panels, strict=True):
            for line in panel.lines:
                _paint(axes, line)
            if panel.level is not None:
                axes.axhline(panel.level[0], color=RULE, lw=1.2, ls=":", label=panel.level[1])
            if style.diagonal:
                axes.plot([0, 1], [0, 1], color=LINE, lw=1.2, ls="--", label="as predicted")
            axes.set_title(panel.title, loc="left")
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        grid[-1].set_xlabel(style.xlabel)
        if style.ticks:
            grid[-1].set_xticks(range(1, 1 + len(style.ticks)), style.ticks)
        elif style.x_is_share:
            grid[-1].xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        known = {}
        for axes in grid:
            handles, names = axes.get_legend_handles_labels()
            known.update(dict(zip(names, handles, strict=True)))
        figure.legend(
            known.values(), known.keys(), loc="outside upper left", ncols=2, handlelength=1.8,
            columnspacing=1.4, borderaxespad=0.2,
        )  # fmt: skip

    height_in = 1.0 + 2.6 * len(panels)
    return svg(paint, name=style.name, alt=style.alt, height_in=height_in)


def _paint(axes: Any, line: Line) -> None:
    middle = [item.value for item in line.values]
    style = {"color": line.colour, "ls": line.dashes, "label": line.name}
    if not line.bars:
        axes.plot(line.x, middle, **style, marker="o", ms=4, lw=1.6)
        return
    below = [item.value - item.low for item in line.values]
    above = [item.high - item.value for item in line.values]
    axes.errorbar(
        line.x, middle, yerr=(below, above), **style, marker="o", ms=5, lw=1.8,
        ecolor=MUTED, elinewidth=1.0, capsize=2,
    )  # fmt: skip
