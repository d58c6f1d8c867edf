"""The report's pictures of policies: gains against KL, drift over rounds, scores, steps of RL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tamis.report.lines import SERIES, Line, LinePanel, LineStyle, Look, line_panels
from tamis.report.numbers import Floats
from tamis.report.pictures import INK, RIGHT, svg
from tamis.report.policy_records import Point
from tamis.types import Interval

PROXY, GOLD, POLICY = "reward model (proxy)", "gold reward", "policy"
PROXY_LOOK, GOLD_LOOK = SERIES[1], SERIES[0]
NO_GAIN, HALF = Interval(0.0, 0.0, 0.0), Interval(0.5, 0.5, 0.5)
WHOLE = (-0.03, 1.03)  # from 0% to 100%, with room for marks
NUM_DRAWN = 400  # of many steps


def against_kl(points: Sequence[Point], *, alt: str) -> Markup | None:
    """Draw gains and win rate against the KL from the start; ``None`` where none was measured."""
    kinds = (
        (PROXY, [point.proxy_gain for point in points], PROXY_LOOK),
        (GOLD, [point.gold_gain for point in points], GOLD_LOOK),
    )
    gains = tuple(
        Line(name, *_known(points, values, at_start=NO_GAIN), look=look)
        for name, values, look in kinds
        if any(value is not None for value in values)
    )
    wins = [point.win_rate for point in points]
    panels = [LinePanel("gain over the start, in stds", gains, is_share=False)] if gains else []
    if any(value is not None for value in wins):
        line = Line("judge", *_known(points, wins, at_start=HALF), look=SERIES[3])
        panels.append(LinePanel("win rate against the start", (line,)))
    if not panels:
        return None
    style = LineStyle("against-kl", alt, "KL from the start, nats a response", x_axis="value")
    return line_panels(panels, style=style)


def over_rounds(points: Sequence[Point], *, alt: str) -> Markup:
    """Draw what responses look like, round by round, one panel a measure."""
    shares = (
        ("share that ended by itself", [point.finished_frac for point in points]),
        ("distinct bigrams", [point.distinct_2 for point in points]),
        ("Self-BLEU", [point.self_bleu for point in points]),
        ("repeated four-grams", [point.repeated_frac for point in points]),
    )
    panels = [
        _drift("tokens of a response", [point.tokens for point in points]),
        _drift("perplexity under the start", [point.perplexity for point in points]),
        *(_drift(title, values, share=True) for title, values in shares),
        _drift("disagreement, start = 1", [point.spread_ratio for point in points]),
    ]
    names = tuple(point.label.removeprefix("round ") for point in points)
    style = LineStyle("over-rounds", alt, "round", x_axis="names", names=names)
    return line_panels([panel for panel in panels if panel is not None], style=style)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many scores lie between ``edges``: of what is filled, and of what is an outline."""

    title: str
    edges: Sequence[float]
    counts: Sequence[int]
    outline_counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class HistogramStyle:
    """Names of a picture of histograms; ``name`` is that of the picture in the page."""

    name: str
    filled: str
    outline: str
    x_label: str


def histograms(panels: Sequence[Histogram], *, style: HistogramStyle, alt: str) -> Markup | None:
    """Draw histograms below each other, as shares; ``None`` where there is none."""
    if not panels:
        return None

    def paint(figure: Figure) -> None:
        grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, panel in zip(grid, panels, strict=True):
            axes.stairs(
                _shares(panel.counts), panel.edges, fill=True, color=RIGHT, alpha=0.75, lw=0,
                label=style.filled,
            )  # fmt: skip
            axes.stairs(
                _shares(panel.outline_counts), panel.edges, color=INK, lw=1.4, label=style.outline
            )
            axes.set_title(panel.title, loc="left")
            _share_axis(axes)
        grid[-1].set_xlabel(style.x_label)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper left", ncols=2, handlelength=1.4, borderaxespad=0.2
        )

    return svg(paint, name=style.name, alt=alt, height_in=1.0 + 2.0 * len(panels))


@dataclass(frozen=True, slots=True)
class StepCurve:
    """One measure over optimiser steps; ``name`` tells curves of one panel apart."""

    name: str
    steps: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class StepPanel:
    """Curves of one measure under one title."""

    title: str
    curves: tuple[StepCurve, ...]
    is_share: bool = False


def over_steps(panels: Sequence[StepPanel], *, alt: str, name: str) -> Markup:
    """Draw what was measured at every step of RL, one panel a measure; many steps are thinned."""
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    looks = dict(zip(names, SERIES, strict=False))

    def paint(figure: Figure) -> None:
        grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(grid, panels, strict=True):
            for curve in panel.curves:
                _paint_steps(axes, curve, look_of=looks)
            axes.set_title(panel.title, loc="left")
            if panel.is_share:
                axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        grid[-1].set_xlabel("optimiser step")
        grid[-1].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if len(names) > 1:
            known = _legend_of(grid)
            figure.legend(
                known.values(), known.keys(), loc="outside upper left", ncols=3,
                handlelength=1.8, borderaxespad=0.2,
            )  # fmt: skip

    return svg(paint, name=name, alt=alt, height_in=0.9 + 1.8 * len(panels))


def _paint_steps(axes: Axes, curve: StepCurve, *, look_of: dict[str, Look]) -> None:
    look = look_of.get(curve.name)
    if look is None:  # more curves than looks
        return
    last = len(curve.steps) - 1
    drawn = np.unique(np.linspace(0, last, NUM_DRAWN).round().astype(int))
    style: dict[str, Any] = {"color": look.colour, "ls": look.dashes, "label": curve.name}
    style |= {"marker": "o", "ms": 4} if last == 0 else {"lw": 1.6}
    axes.plot(curve.steps[drawn], curve.values[drawn], **style)


def _legend_of(grid: Iterable[Axes]) -> dict[str, Any]:
    """Return the handle of each name, once, from all panels."""
    found: dict[str, Any] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        found.update(dict(zip(labels, handles, strict=True)))
    return found


def _known(
    points: Sequence[Point], values: Sequence[Interval | None], *, at_start: Interval
) -> tuple[tuple[float, ...], tuple[Interval, ...]]:
    """Return KL and value of the points that have one; the start has ``at_start`` by definition."""
    found = [at_start if place == 0 else value for place, value in enumerate(values)]
    both = [(p.kl.value, v) for p, v in zip(points, found, strict=True) if v is not None]
    return tuple(kl for kl, _ in both), tuple(value for _, value in both)


def _drift(
    title: str, values: Sequence[Interval | float | None], *, share: bool = False
) -> LinePanel | None:
    known = [(float(place), value) for place, value in enumerate(values, 1) if value is not None]
    if not known:
        return None
    x = tuple(place for place, _ in known)
    exact = any(not isinstance(value, Interval) for _, value in known)
    intervals = tuple(
        value if isinstance(value, Interval) else Interval(value, value, value)
        for _, value in known
    )
    line = Line(POLICY, x, intervals, bars=not exact)
    return LinePanel(title, (line,), is_share=share, limits=WHOLE if share else None)


def _shares(counts: Sequence[int]) -> Floats:
    return np.asarray(counts, np.float64) / max(1, sum(counts))


def _share_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
