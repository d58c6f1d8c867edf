"""Section "Merge": members, the mean of their scores and their average beside each other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tamis.report.blocks import Block, Bullets, Section, Table, Text
from tamis.report.numbers import count, number, percent, percent_interval, plural, points_interval
from tamis.report.read import load_record
from tamis.types import Interval

ORDER = 105


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Accuracy of each member, of both ways to put them together, and of the length rules."""

    num_pairs: int
    members: list[Interval]
    ensemble: Interval
    merge: Interval
    longest: Interval
    shortest: Interval
    best_member: int
    merge_minus_best: Interval
    merge_minus_mean: Interval
    merge_minus_ensemble: Interval


@dataclass(frozen=True, slots=True)
class CurveRecord:
    """Accuracy on the way from one member to another."""

    first: int
    second: int
    lambdas: list[float]
    accuracies: list[float]
    middle_minus_ends: Interval
    connected: bool


@dataclass(frozen=True, slots=True)
class Diversity:
    """How much members differ, on average over two of them."""

    disagreement_frac: float
    gap_correlation: float | None


@dataclass(frozen=True, slots=True)
class Learnt:
    """How often one model agrees with right and with wrong labels that it was trained on."""

    name: str
    right: Interval | None
    wrong: Interval | None


@dataclass(frozen=True, slots=True)
class Memorisation:
    """What members, ensemble and average learnt by heart."""

    num_right: int
    num_wrong: int
    rows: list[Learnt]


@dataclass(frozen=True, slots=True)
class MergeReport:
    """``merge/report.json``."""

    method: str
    weights: list[float]
    names: list[str]
    start: str
    accuracy: Accuracies | None
    curves: list[CurveRecord]
    diversity: Diversity | None
    warnings: list[str]
    memorisation: Memorisation | None = None


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where nothing was merged."""
    report = load_record(run / "merge" / "report.json", MergeReport)
    if report is None:
        return None
    used = sum(weight > 0 for weight in report.weights)
    text = f"The model is the average of {used} of {plural(len(report.weights), 'model')}."
    if report.start == "unchecked":
        text += " That all were trained from the same weights was not checked."
    blocks: list[Block] = [Text(text)]
    lead = ""
    if report.accuracy is not None:
        lead = _lead(report.accuracy)
        blocks.append(_accuracies(report, report.accuracy))
    if report.warnings:
        blocks.append(Bullets(tuple(report.warnings), title="Warnings"))
    if report.curves:
        blocks.append(_curves(report))
    if report.diversity is not None:
        blocks.append(
            Text(
                f"Two members disagree on {percent(report.diversity.disagreement_frac)} of the "
                "pairs on average, and their gaps correlate at "
                f"{number(report.diversity.gap_correlation)}. Members that hardly differ gain "
                "little from an average."
            )
        )
    if report.memorisation is not None:
        blocks.append(_memorisation(report, report.memorisation))
    data: dict[str, Any] = asdict(report)
    return Section("Merge", "merge", tuple(blocks), data, lead)


def _lead(found: Accuracies) -> str:
    return (
        f"The average of the models reaches {percent_interval(found.merge)} on "
        f"{count(found.num_pairs)} validation pairs, {points_interval(found.merge_minus_mean)} "
        f"from its members' mean and {points_interval(found.merge_minus_ensemble)} from "
        "the mean of their scores."
    )


def _accuracies(report: MergeReport, found: Accuracies) -> Table:
    members = tuple(
        (_member(report, n), number(weight), percent_interval(accuracy))
        for n, (weight, accuracy) in enumerate(zip(report.weights, found.members, strict=True))
    )
    others = (
        ("mean of their scores", "–", percent_interval(found.ensemble)),
        ("their average, the merged model", "–", percent_interval(found.merge)),
        ("always the longer", "–", percent_interval(found.longest)),
        ("always the shorter", "–", percent_interval(found.shortest)),
    )
    return Table(
        "Accuracy on validation pairs with 95% intervals, resampling prompts",
        ("model", "weight", "accuracy"),
        members + others,
    )


def _curves(report: MergeReport) -> Table:
    steps = report.curves[0].lambdas
    rows = tuple(
        (
            f"{curve.first} to {curve.second}",
            *(percent(accuracy) for accuracy in curve.accuracies),
            points_interval(curve.middle_minus_ends),
        )
        for curve in report.curves
    )
    header = ("members", *(f"λ = {step:g}" for step in steps), "middle minus ends")
    return Table("Accuracy on the way from one member to another", header, rows)


def _memorisation(report: MergeReport, found: Memorisation) -> Table:
    rows = tuple(
        (
            _member(report, int(row.name)) if row.name.isdigit() else row.name,
            percent_interval(row.right),
            percent_interval(row.wrong),
        )
        for row in found.rows
    )
    caption = (
        f"Agreement with training labels, {count(found.num_right)} right and "
        f"{count(found.num_wrong)} wrong ones; agreeing with wrong ones is learning by heart"
    )
    return Table(caption, ("model", "right labels", "wrong labels"), rows)


def _member(report: MergeReport, index: int) -> str:
    return f"member {index} ({report.names[index]})"
