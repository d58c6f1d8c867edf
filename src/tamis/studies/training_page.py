"""The noise bench's training part as blocks of a page: what each arm gains, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.blocks import Block, Picture, Table
from tamis.report.lines import Line, LinePanel, LineStyle, Look, line_panels
from tamis.report.numbers import number, number_interval, percent, percent_interval, points_interval
from tamis.report.pictures import MUTED, RIGHT, RULE, WRONG
from tamis.studies.arms import AUTO, CONFIDENT, ORACLE, RAW
from tamis.studies.material import bench_title
from tamis.studies.noise_figures import HEADS, as_interval
from tamis.studies.noises import Noise
from tamis.studies.tuned import FINE_TUNED
from tamis.studies.wanted import ALPHA

SHOWN = {ORACLE: (MUTED, "--"), RAW: (WRONG, "-"), AUTO: (RIGHT, "-"), CONFIDENT: (RULE, "-")}

Report = Mapping[str, Any]
Row = dict[str, Any]


def training_blocks(report: Report) -> tuple[Block, ...]:
    """Return pictures and tables of what each arm reaches on the test pairs."""
    blocks: list[Block] = []
    picture = _growth(report)
    if picture is not None:
        blocks.append(picture)
    for bench in dict.fromkeys(row["bench"] for row in report["training"]):
        for weights in dict.fromkeys(row["weights"] for row in report["training"]):
            rows = [
                row
                for row in report["training"]
                if row["bench"] == bench and row["weights"] == weights
            ]
            if rows:
                blocks.append(_arm_table(rows, bench=bench, weights=weights))
    blocks.append(_recovered_table(report["training"]))
    blocks += _tuned_tables(report["training"])
    blocks += _left_tables(report["training"])
    longer = tuple(
        (bench_title(row["bench"]), percent_interval(as_interval(row["accuracy"])))
        for row in report["baselines"]
    )
    caption = "Always the longer, on the same test pairs"
    return (*blocks, Table(caption, ("data", "accuracy"), longer))


def _arm_table(rows: Sequence[Row], *, bench: str, weights: str) -> Table:
    noises = list(dict.fromkeys(row["noise"] for row in rows))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    of = {(row["arm"], row["noise"]): row for row in rows}
    lines = [(arm, *(_arm_cell(of[arm, noise]) for noise in noises)) for arm in arms]
    caption = (
        f"{bench_title(bench)}, {weights}: accuracy with raw labels, and what every other "
        "arm adds, in points (* after Holm's correction over all arms and noises, p below "
        f"{ALPHA})"
    )
    return Table(caption, ("labels", *noises), tuple(lines))


def _arm_cell(row: Row) -> str:
    if row["arm"] == RAW:
        return percent(row["accuracy"]["value"])
    sure = "*" if row.get("p_holm", 1.0) < ALPHA else ""
    return f"{100 * row['minus_raw']['value']:+.1f}{sure}".replace("-", "−")


def _recovered_table(rows: Sequence[Row]) -> Table:
    lines = tuple(
        (
            bench_title(row["bench"]),
            row["noise"],
            row["weights"],
            row["arm"],
            points_interval(as_interval(row["minus_raw"])),
            number_interval(as_interval(row["recovered"]), digits=2),
        )
        for row in rows
        if row["arm"] in (AUTO, CONFIDENT) and row.get("recovered")
    )
    header = ("data", "noise", "weights", "labels", "minus raw", "share recovered")
    caption = "Share of the accuracy lost to noise that is won back, where some was surely lost"
    return Table(caption, header, lines, num_text=4)


def _tuned_tables(rows: Sequence[Row]) -> list[Table]:
    """Tell what arms add where all weights are fine-tuned, and under how many seeds."""
    lines = tuple(
        (
            bench_title(row["bench"]),
            row["noise"],
            row["arm"],
            str(len(row["per_seed"])),
            points_interval(as_interval(row["minus_raw"])),
        )
        for row in rows
        if row["weights"] == FINE_TUNED and "minus_raw" in row
    )
    header = ("data", "noise", "labels", "seeds", "minus raw")
    caption = (
        "All weights fine-tuned: what labels add to raw ones. Where true labels add nothing beyond "
        "chance, noise has cost nothing, and there is nothing to win back"
    )
    return [Table(caption, header, lines, num_text=3)] if lines else []


def _left_tables(rows: Sequence[Row]) -> list[Table]:
    """Tell what each arm leaves of the wrong labels, and how far apart its models score."""
    wanted = (Noise("uniform").title, Noise("uniform", 0.3).title)
    found = {
        (row["bench"], row["arm"], row["noise"]): row
        for row in rows
        if row["weights"] == HEADS and row["noise"] in wanted
    }
    tables = []
    for bench in dict.fromkeys(bench for bench, _, _ in found):
        arms = dict.fromkeys(arm for of, arm, _ in found if of == bench)
        lines = tuple(
            (
                arm,
                percent(found[bench, arm, wanted[1]]["wrong_frac"]),
                *(number(found[bench, arm, noise]["mean_gap"]) for noise in wanted),
            )
            for arm in arms
            if all((bench, arm, noise) in found for noise in wanted)
        )
        header = (
            "labels",
            f"labels wrong, {wanted[1]}",
            *(f"mean gap, {noise}" for noise in wanted),
        )
        caption = (
            f"{bench_title(bench)}, heads: wrong labels among the pairs that an arm leaves in, and "
            "the mean gap between the scores of a test pair's answers (PCRM draws it towards half "
            "of its bound, 2.5 for answers that are nearly alike, and does little where it is less)"
        )
        tables.append(Table(caption, header, lines))
    return tables


def _growth(report: Report) -> Picture | None:
    panels = []
    rows = [row for row in report["training"] if row["weights"] == HEADS]
    uniform = {Noise("uniform", step / 100).title: step / 100 for step in range(0, 51)}
    for bench in dict.fromkeys(row["bench"] for row in rows):
        lines = []
        for arm, (colour, dashes) in SHOWN.items():
            points = [
                (uniform[row["noise"]], as_interval(row["accuracy"]))
                for row in rows
                if (row["bench"], row["arm"]) == (bench, arm) and row["noise"] in uniform
            ]
            if len(points) > 1:
                shares, values = zip(*points, strict=True)
                lines.append(Line(arm, shares, values, Look(colour, dashes), bars=arm == AUTO))
        if lines:
            panels.append(LinePanel(bench_title(bench), tuple(lines)))
    if not panels:
        return None
    seen = "Accuracy on clean test pairs by share of uniformly flipped training labels."
    style = LineStyle("noise-training", seen, "labels flipped")
    reading = (
        "The intervals (of auto alone, for legibility) are over test texts or prompts and much "
        "wider than those of the differences between arms, which share their test pairs."
    )
    return Picture(line_panels(panels, style=style), caption=seen, reading=reading)
