"""Section "Training": loss and accuracy over the steps."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tamis.report.blocks import Block, Picture, Section, Text
from tamis.report.curves import Curve, training_curves
from tamis.report.numbers import Floats, count, number, percent, plural
from tamis.report.read import load_record
from tamis.report.records import TrainReport

ORDER = 100
NUM_DRAWN = 400
SHORT = 0.01  # of an outer step


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where nothing was trained."""
    report = load_record(run / "train" / "report.json", TrainReport)
    if report is None:
        return None
    text = f"{plural(report.num_pairs, 'pair')}, {plural(report.num_steps, 'step')}."
    left_out = {kind: n for kind, n in report.num_left_out.items() if n}
    if left_out:
        parts = ", ".join(f"{kind} {count(n)}" for kind, n in left_out.items())
        text += f" Left out of training: {parts}."
    scale = report.score_scale.get("training")
    if scale is not None:
        text += (
            f" At the end the two scores of a pair are {number(scale['mean_abs_delta'])} apart on "
            f"average, and all scores have a standard deviation of {number(scale['score_std'])}."
        )
    blocks: list[Block] = [Text(text + _spread(report) + _draws(report))]
    blocks += [Text(f"{warning}.", tone="note") for warning in report.warnings]
    data: dict[str, Any] = asdict(report)
    if len(report.loss) > 1:
        blocks.append(_picture(report))
    return Section("Training", "training", tuple(blocks), data)


def _spread(report: TrainReport) -> str:
    """Say how far apart unlabelled responses are scored, where MetaRM kept them apart."""
    steps, spread = report.meta.get("inner_steps"), report.meta.get("held_out_spread")
    text = ""
    if steps is not None:
        text = f" MetaRM's inner steps were {number(steps, digits=4)} of an outer step long"
        text += ", too short to matter." if steps < SHORT else "."
    if spread is None:
        return text
    return text + (
        f" Unlabelled responses to one prompt were scored {number(spread['before'])} apart on "
        f"average before training, and {number(spread['after'])} after, on "
        f"{plural(report.meta['num_held_out'], 'held-out prompt')}."
    )


def _draws(report: TrainReport) -> str:
    """Say what a prioritised sampler drew."""
    if not report.draws:
        return ""
    draws = report.draws
    text = (
        f" {count(draws['num_unique'])} of {plural(draws['num_pairs'], 'pair')} were drawn, hard "
        "ones more often."
    )
    if "wrong_frac_of_draws" in draws:
        text += (
            f" {percent(draws['wrong_frac_of_draws'])} of the draws have a label that gold "
            f"contradicts, {percent(draws['wrong_frac_of_pairs'])} of the pairs have one."
        )
    return text


def running_mean(values: Floats, *, window: int) -> Floats:
    """Return the mean of each value and up to ``window - 1`` values before it.

    >>> running_mean(np.array([1.0, 3.0, 5.0]), window=2).tolist()
    [1.0, 2.0, 4.0]
    """
    sums = np.cumsum(values)
    before = np.concatenate([np.zeros(min(window, len(values))), sums[:-window]])
    lengths = np.minimum(np.arange(len(values)) + 1, window)
    return np.asarray((sums - before[: len(values)]) / lengths, dtype=np.float64)


def _picture(report: TrainReport) -> Picture:
    steps = np.array([point.step for point in report.loss], dtype=np.float64)
    loss = np.array([point.loss for point in report.loss])
    started = "The dashed line is where the loss began and what guessing reaches."
    level, meaning = (float(loss[0]), "the first step"), started
    if _is_bradley_terry(report):
        level = (math.log(2), "ln 2: knows nothing")
        meaning = "The dashed line is what a model reaches that gives every pair the gap zero."
    curves = [_curve("loss", steps, loss, reference=level)]
    tail = max(1, len(loss) // 10)
    seen = (
        f"The loss goes from {number(float(loss[:tail].mean()), digits=3)} (mean of the first "
        f"{plural(tail, 'logged step')}) to {number(float(loss[-tail:].mean()), digits=3)} "
        f"(mean of the last {tail})"
    )
    if all(point.accuracy is not None for point in report.loss):
        accuracy = np.array([point.accuracy for point in report.loss], dtype=np.float64)
        curves.append(_curve("accuracy", steps, accuracy, reference=(0.5, "guessing")))
        first, last = float(accuracy[:tail].mean()), float(accuracy[-tail:].mean())
        seen += f", the accuracy on the training pairs from {percent(first)} to {percent(last)}"
    reading = (
        f"Thin: each logged step; thick: the running mean. {meaning} A training accuracy far above "
        "the share of right labels means that the model learns wrong labels by heart."
    )
    svg = training_curves(curves, alt=f"Loss and accuracy over the training steps. {seen}.")
    return Picture(svg, caption=f"{seen}.", reading=reading)


def _is_bradley_terry(report: TrainReport) -> bool:
    objective = {"loss": "bradley_terry", "terms": {}, "base_coefficient": 1.0} | report.objective
    is_alone = not objective["terms"] and objective["base_coefficient"] == 1
    return is_alone and objective["loss"] == "bradley_terry"


def _curve(title: str, steps: Floats, values: Floats, *, reference: tuple[float, str]) -> Curve:
    smooth = running_mean(values, window=max(1, len(values) // 20))
    drawn = np.unique(np.linspace(0, len(values) - 1, NUM_DRAWN).round().astype(int))
    return Curve(
        title=title,
        steps=steps[drawn],
        values=values[drawn],
        smooth=smooth[drawn],
        reference=reference[0],
        reference_name=reference[1],
        is_share=title == "accuracy",
    )
