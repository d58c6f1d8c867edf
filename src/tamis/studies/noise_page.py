"""The noise bench as sections: what was wanted, what was found, and what training gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.blocks import Block, Picture, Section, Table, Text
from tamis.report.forest import ForestStyle, Panel, forest
from tamis.report.forest import Row as Dots
from tamis.report.numbers import (
    count,
    number,
    number_interval,
    percent,
    percent_interval,
    points_interval,
)
from tamis.report.pictures import MUTED, RIGHT, RULE, WRONG
from tamis.studies.arms import AUTO, CONFIDENT, ORACLE, RAW
from tamis.studies.cells import CLEANLAB, COMBINED
from tamis.studies.charts import Line, LinePanel, LineStyle, line_panels
from tamis.studies.noise_figures import HEADS, as_interval
from tamis.studies.noises import Noise
from tamis.studies.tuned import FINE_TUNED
from tamis.studies.wanted import ALPHA, VOTES
from tamis.types import Interval

BENCHES = {
    "ukp": "UKPConvArg1",
    "humour": "Humour",
    "pandalm": "PandaLM",
    "hh": "HH-RLHF",
    "alpaca": "AlpacaEval, graded",
}
SHOWN = {ORACLE: (MUTED, "--"), RAW: (WRONG, "-"), AUTO: (RIGHT, "-"), CONFIDENT: (RULE, "-")}
METHODS = {"trusted": "fitted on trusted pairs", "mixture": "mixture, no trusted pair"}

Report = Mapping[str, Any]
Row = dict[str, Any]


def noise_sections(report: Report) -> list[Section]:
    """Return the sections of a report of `tamis.studies.noise`."""
    made = [
        Section("Noise bench", "noise", _overview(report), dict(report), _lead(report)),
        Section("Finding wrong human votes", "noise-votes", _votes(report), {}),
        Section("P(label wrong)", "noise-chance", _chances(report), {}),
        Section("Training on noisy labels", "noise-training", _training(report), {}),
        Section("Finding injected flips", "noise-flips", _flips(report), {}),
    ]
    return [section for section in made if section.blocks]


def _lead(report: Report) -> str:
    met = sum(row["met"] for row in report["verdicts"])
    return f"{met} of {len(report['verdicts'])} figures fixed beforehand are met."


def _overview(report: Report) -> tuple[Block, ...]:
    rows = tuple(
        (row["figure"], row["wanted"], row["measured"], "yes" if row["met"] else "no")
        for row in report["verdicts"]
    )
    sizes = tuple(
        (
            _bench(row),
            row["noise"],
            count(row["num_train"]),
            count(row["num_test"]),
            percent(row["known_frac"]),
            percent(row["wrong_frac"]),
        )
        for row in report["noises"]
    )
    header = ("data", "noise", "training pairs", "test pairs", "truth known", "labels wrong")
    return (
        Text(_how(report)),
        Table("Wanted and measured", ("figure", "wanted", "measured", "met"), rows, num_text=4),
        Table("What was corrupted, and how much", header, sizes, num_text=2),
    )


def _how(report: Report) -> str:
    weights = (
        f"The reward models are linear heads on frozen features of {' and '.join(report['models'])}"
    )
    if any(row["weights"] == FINE_TUNED for row in report["training"]):
        weights += ", but for the table that says fine-tuned"
    return (
        f"Tier {report['tier']}, {len(report['seeds'])} seeds; a seed draws labels, folds and "
        f"orders. {weights}. The label of a pair with votes is one person's vote, the truth the "
        "majority of the others; pairs on which these are even are not judged. Votes are never "
        "evidence. Flips turn labels whose truth is the data set's own. Intervals are 95% "
        "bootstraps over texts or prompts of the mean of all seeds; a figure is met or missed by "
        "the mean unless its interval is named."
    )


def _votes(report: Report) -> tuple[Block, ...]:
    rows = [row for row in report["detection"] if row["noise"] == VOTES]
    if not rows:
        return ()
    panels = []
    for bench in dict.fromkeys(row["bench"] for row in rows):
        dots = tuple(
            Dots(row["name"], as_interval(row["auroc"]), tuple(row["auroc_per_seed"]))
            for row in rows
            if row["bench"] == bench
        )
        panels.append(Panel(BENCHES.get(bench, bench), dots, references=((0.5, "chance"),)))
    seen = " ".join(_found(row) for row in rows if row["name"] == COMBINED)
    style = ForestStyle(
        name="noise-votes",
        alt=f"How well wrong votes are found. {seen}",
        xlabel="AUROC for wrong labels",
        estimate="mean of seeds, 95% interval",
        points="single seeds",
        is_share=False,
    )
    reading = (
        "The AUROC is the chance that a wrong label looks more suspicious than a right one. "
        "Combined evidence puts together the vote, the other comparisons of the same texts and "
        "the lengths."
    )
    header = ("data", "suspicion", "AUROC", "average precision", "of chance")
    lines = tuple(
        (
            _bench(row),
            row["name"],
            number_interval(as_interval(row["auroc"])),
            number_interval(as_interval(row["average_precision"])),
            number(row["chance_average_precision"], digits=3),
        )
        for row in rows
    )
    gaps = tuple(
        (
            _bench(row),
            row["contrast"],
            row["measure"].replace("_", " ").replace("auroc", "AUROC"),
            number_interval(as_interval(row["difference"])),
        )
        for row in report["contrasts"]
    )
    return (
        Picture(forest(panels, style=style), caption=seen or "Finding wrong votes.",
                reading=reading),
        Table("Finding wrong votes", header, lines, num_text=2),
        Table("Differences, paired on the same labels", ("data", "contrast", "measure",
              "difference"), gaps, num_text=3),
    )  # fmt: skip


def _found(row: Row) -> str:
    return (
        f"{_bench(row)}: {row['name']} finds wrong votes with an AUROC of "
        f"{number_interval(as_interval(row['auroc']))}."
    )


def _chances(report: Report) -> tuple[Block, ...]:
    rows = [row for row in report["calibration"] if row["weights"] == HEADS]
    if not rows:
        return ()
    lines = tuple(
        (
            _bench(row),
            row["noise"],
            METHODS[row["method"]],
            number(row["error"], digits=3),
            number(row["skill"], digits=3),
            count(row["num_judged"]),
        )
        for row in rows
    )
    caption = (
        f"P(label wrong) from {report['num_trusted']} trusted pairs and from none: expected "
        "calibration error (15 bins of equal mass) and Brier skill over the base rate, mean of "
        "seeds, on pairs that were not fitted on"
    )
    header = ("data", "noise", "estimate", "calibration error", "Brier skill", "pairs judged")
    table = Table(caption, header, lines, num_text=3)
    panels = []
    for bench in dict.fromkeys(row["bench"] for row in report["reliability"]):
        points = [row for row in report["reliability"] if row["bench"] == bench]
        values = tuple(_bare(row["happened"]) for row in points)
        line = Line("labels wrong", tuple(row["predicted"] for row in points), values, bars=False)
        panels.append(LinePanel(BENCHES.get(bench, bench), (line,)))
    if not panels:
        return (table,)
    seen = "Predicted and actual share of wrong votes, in 15 bins of equal mass."
    style = LineStyle("noise-chance", seen, "predicted P(label wrong)", diagonal=True)
    reading = "On the dashed line a probability can be taken at its word."
    return (Picture(line_panels(panels, style=style), caption=seen, reading=reading), table)


def _training(report: Report) -> tuple[Block, ...]:
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
    longer = tuple(
        (_bench(row), percent_interval(as_interval(row["accuracy"]))) for row in report["baselines"]
    )
    caption = "Always the longer, on the same test pairs"
    return (*blocks, Table(caption, ("data", "accuracy"), longer))


def _arm_table(rows: Sequence[Row], *, bench: str, weights: str) -> Table:
    noises = list(dict.fromkeys(row["noise"] for row in rows))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    of = {(row["arm"], row["noise"]): row for row in rows}
    lines = [(arm, *(_arm_cell(of[arm, noise]) for noise in noises)) for arm in arms]
    caption = (
        f"{BENCHES.get(bench, bench)}, {weights}: accuracy with raw labels, and what every other "
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
            _bench(row),
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
                lines.append(Line(arm, shares, values, colour, dashes, bars=arm == AUTO))
        if lines:
            panels.append(LinePanel(BENCHES.get(bench, bench), tuple(lines)))
    if not panels:
        return None
    seen = "Accuracy on clean test pairs by share of uniformly flipped training labels."
    style = LineStyle("noise-training", seen, "labels flipped")
    reading = (
        "The intervals (of auto alone, for legibility) are over test texts or prompts and much "
        "wider than those of the differences between arms, which share their test pairs."
    )
    return Picture(line_panels(panels, style=style), caption=seen, reading=reading)


def _flips(report: Report) -> tuple[Block, ...]:
    rows = [row for row in report["detection"] if row["noise"] != VOTES]
    if not rows:
        return ()
    names = [name for name in dict.fromkeys(row["name"] for row in rows) if name != CLEANLAB]
    of = {(row["bench"], row["noise"], row["name"]): row["auroc"]["value"] for row in rows}
    places = list(dict.fromkeys((row["bench"], row["noise"]) for row in rows))
    lines = tuple(
        (
            BENCHES.get(bench, bench),
            noise,
            *(number(of.get((bench, noise, name)), digits=3) for name in names),
        )
        for bench, noise in places
    )
    caption = "AUROC for flipped labels, mean of seeds"
    return (Table(caption, ("data", "noise", *names), lines, num_text=2),)


def _bare(value: float) -> Interval:
    return Interval(value, value, value)


def _bench(row: Row) -> str:
    name: str = row["bench"]
    return BENCHES.get(name, name)
