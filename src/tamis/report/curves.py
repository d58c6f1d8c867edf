"""The report's pictures of values that grow: over optimiser steps, and over voters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tamis.report.numbers import Floats
from tamis.report.pictures import RIGHT, RULE, svg

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve over training steps: every point, a running mean, and a level for reference."""

    title: str
    steps: Floats
    values: Floats
    smooth: Floats
    reference: float
    reference_name: str
    is_share: bool = False


def training_curves(curves: Sequence[Curve], *, alt: str) -> Markup:
    """Draw curves over steps, one panel each, below each other."""

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
        for axes, curve in zip(panels, curves, strict=True):
            many = len(curve.steps) > 40
            points = {"color": RIGHT, "alpha": 0.35, "lw": 0.8} if many else {"color": RIGHT}
            axes.plot(curve.steps, curve.values, **points)
            if many:
                axes.plot(curve.steps, curve.smooth, color=RIGHT)
            axes.axhline(curve.reference, color=RULE, lw=1.2, ls="--", label=curve.reference_name)
            axes.set_title(curve.title, loc="left")
            axes.legend(loc="best", handlelength=1.6)
            if curve.is_share:
                axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        panels[-1].set_xlabel("optimiser step")
        panels[-1].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

    return svg(paint, name="training", alt=alt, height_in=0.6 + 2.1 * len(curves))


@dataclass(frozen=True, slots=True)
class Growth:
    """A curve over the number of voters; ``predicted`` points go on from the last measured one."""

    name: str
    measured: Points
    colour: str = RIGHT
    predicted: Points = ()


def voter_curves(curves: Sequence[Growth], *, level: float, alt: str) -> Markup:
    """Draw correlations over the number of voters, predictions dashed, and the level to reach."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for curve in curves:
            style: dict[str, Any] = {"color": curve.colour, "marker": "o", "ms": 5}
            axes.plot(*zip(*curve.measured, strict=True), label=curve.name, **style)
            if curve.predicted:
                further = [curve.measured[-1], *curve.predicted]
                style |= {"ls": "--", "lw": 1.4, "markerfacecolor": "none"}
                axes.plot(*zip(*further, strict=True), label=f"{curve.name}, predicted", **style)
        axes.axhline(level, color=RULE, lw=1.2, ls="--", label=f"enough: {level}")
        axes.set_xlim(left=0)
        axes.set_xlabel("voters")
        axes.set_title("Spearman correlation", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.6, borderaxespad=0.2)

    return svg(paint, name="voters", alt=alt, height_in=3.6)
