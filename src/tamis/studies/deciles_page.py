"""The decile study as a section: the curve of tenths, and the curves that grow from either end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tamis.report.blocks import Block, Picture, Section, Table, Text
from tamis.report.lines import Line, LinePanel, LineStyle, Look, line_panels
from tamis.report.numbers import number, percent, percent_interval, points_interval
from tamis.report.pictures import RIGHT, RULE, WRONG
from tamis.studies.deciles import CHANCE
from tamis.studies.material import bench_title
from tamis.studies.noise_figures import HEADS, as_interval
from tamis.studies.parts import DECILE, STRONGEST, WEAKEST
from tamis.studies.tuned import FINE_TUNED

COLOURS = {DECILE: RIGHT, WEAKEST: WRONG, STRONGEST: RULE}

Report = Mapping[str, Any]
Row = dict[str, Any]


def decile_sections(report: Report) -> list[Section]:
    """Return the section of a report of `tamis.studies.deciles`."""
    blocks: list[Block] = [Text(_how(report))]
    blocks += [_picture(report, curves=(DECILE,), name="deciles")]
    blocks += [_picture(report, curves=(WEAKEST, STRONGEST), name="deciles-cumulative")]
    blocks += [_shape_table(report["shapes"]), _part_table(report["parts"])]
    lead = " ".join(_sentence(row) for row in report["shapes"])
    return [Section("Decile study", "deciles", tuple(blocks), dict(report), lead)]


def _how(report: Report) -> str:
    voters, *learners = report["models"]
    readers = (
        f"The voters read frozen features of {voters}, the reward heads those of "
        f"{' and '.join(learners)}. "
        if learners
        else f"Voters and reward heads read the same frozen features, those of {voters}; so the "
        "pairs that the vote is against teach the opposite, whatever their labels. "
    )
    tuned = {row["weights"] for row in report["parts"]} - {HEADS}
    weights = (
        "Where a curve says fine-tuned, all weights of "
        f"{voters} are, on tenths sorted by voters that read the other model, under "
        f"{min(len(row['per_seed']) for row in report['parts'])} seeds. "
        if tuned
        else "No model is fine-tuned. "
    )
    return (
        f"Tier {report['tier']}, {len(report['seeds'])} seeds. Training pairs are sorted by their "
        "cross-fitted strength; a reward head is trained on each tenth of them, and on parts that "
        f"grow by a tenth from the weakest or from the strongest end. {readers}{weights}All are "
        "tested on the same clean test pairs. Intervals are 95% bootstraps over texts or prompts."
    )


def _sentence(row: Row) -> str:
    bottom, top = as_interval(row["bottom_minus_chance"]), as_interval(row["top_minus_best"])
    where = f"{bench_title(row['bench'])}, {row['noise']}{_suffix(row)}"
    if bottom.high < 0:
        seen = "is below chance"
    elif bottom.low > 0:
        seen = "is above chance"
    else:
        seen = "is not distinguishable from chance"
    text = f"{where}: the weakest tenth {seen} ({points_interval(bottom)}); "
    if row["best_decile"] == 10:
        return f"{text}the strongest tenth is the best."
    return (
        f"{text}the best is tenth {row['best_decile']}, which the strongest differs from by "
        f"{points_interval(top)}."
    )


def _picture(report: Report, *, curves: Sequence[str], name: str) -> Picture:
    panels = []
    shown = [row for row in report["parts"] if row["curve"] in curves]
    for place in dict.fromkeys(map(_place, shown)):
        rows = [row for row in shown if _place(row) == place]
        lines = tuple(_line([row for row in rows if row["curve"] == curve]) for curve in curves)
        title = f"{bench_title(rows[0]['bench'])}: {rows[0]['noise']}{_suffix(rows[0])}"
        panels.append(LinePanel(title, lines))
    alone = curves == (DECILE,)
    seen = (
        "Accuracy of a reward model trained on one tenth of the pairs, by the tenth's strength."
        if alone
        else "Accuracy of a reward head by the share of the pairs that it is trained on, taken "
        "from the weakest or from the strongest end."
    )
    xlabel = "tenth of the pairs, weakest to strongest" if alone else "share of the pairs"
    x_axis: Literal["number", "share"] = "number" if alone else "share"
    style = LineStyle(name, seen, xlabel, x_axis=x_axis, level=(CHANCE, "chance"))
    reading = (
        "A tenth below chance teaches the opposite of the rest: because most of its labels are "
        "wrong, or because it was chosen as what the vote was against. Where all labels are right, "
        "only the second is left; the table says how many are wrong. Near ties teach little."
        if alone
        else "From the weakest end the right pairs have to outweigh the wrong ones first; from the "
        "strongest end, wrong pairs come last."
    )
    return Picture(line_panels(panels, style=style), caption=seen, reading=reading)


def _line(rows: Sequence[Row]) -> Line:
    curve = rows[0]["curve"]
    if curve == DECILE:
        x = tuple(float(number + 1) for number in range(len(rows)))
    else:
        x = tuple(row["high"] - row["low"] for row in rows)
    values = tuple(as_interval(row["accuracy"]) for row in rows)
    return Line(curve, x, values, Look(COLOURS[curve]), bars=curve == DECILE)


def _place(row: Row) -> tuple[str, ...]:
    return row["bench"], row["noise"], row["weights"]


def _suffix(row: Row) -> str:
    return ", fine-tuned" if row["weights"] == FINE_TUNED else ""


def _shape_table(shapes: Sequence[Row]) -> Table:
    rows = tuple(
        (
            bench_title(row["bench"]),
            row["noise"],
            row["weights"],
            points_interval(as_interval(row["bottom_minus_chance"])),
            str(row["nearest_to_chance"]),
            str(row["best_decile"]),
            points_interval(as_interval(row["top_minus_best"])),
        )
        for row in shapes
    )
    header = (
        "data",
        "labels",
        "weights",
        "weakest − chance",
        "nearest to chance",
        "best tenth",
        "strongest − best",
    )
    caption = "The shape of the curve; the best tenth is chosen on the test pairs it is shown on"
    return Table(caption, header, rows, num_text=3)


def _part_table(parts: Sequence[Row]) -> Table:
    rows = tuple(
        (
            bench_title(row["bench"]),
            row["noise"],
            row["weights"],
            f"{percent(row['low'], digits=0)} to {percent(row['high'], digits=0)}",
            number(row["strength"]),
            percent(row["wrong_frac"]),
            percent_interval(as_interval(row["accuracy"])),
        )
        for row in parts
        if row["curve"] == DECILE
    )
    header = ("data", "labels", "weights", "tenth", "mean strength", "labels wrong", "accuracy")
    return Table("Every tenth", header, rows, num_text=4)
