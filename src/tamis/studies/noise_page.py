"""The noise bench as sections: what was wanted, what was found, and what training gained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.report.blocks import Block, Picture, Section, Table, Text
from tamis.report.forest import ForestStyle, Panel, forest
from tamis.report.forest import Row as Dots
from tamis.report.lines import Line, LinePanel, LineStyle, line_panels
from tamis.report.numbers import (
    count,
    number,
    number_interval,
    percent,
)
from tamis.studies.cells import CLEANLAB, COMBINED
from tamis.studies.material import bench_title
from tamis.studies.noise_figures import HEADS, as_interval
from tamis.studies.training_page import training_blocks
from tamis.studies.tuned import FINE_TUNED
from tamis.studies.wanted import VOTES
from tamis.types import Interval

METHODS = {"trusted": "fitted on trusted pairs", "mixture": "mixture, no trusted pair"}

Report = Mapping[str, Any]
Row = dict[str, Any]


def noise_sections(report: Report) -> list[Section]:
    """Return the sections of a report of `tamis.studies.noise`."""
    made = [
        Section("Noise bench", "noise", _overview(report), dict(report), _lead(report)),
        Section("Finding wrong human votes", "noise-votes", _votes(report), {}),
        Section("P(label wrong)", "noise-chance", _chances(report), {}),
        Section("Training on noisy labels", "noise-training", training_blocks(report), {}),
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
            bench_title(row["bench"]),
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
    tuned = [row for row in report["training"] if row["weights"] == FINE_TUNED]
    if tuned:
        num_seeds = len(tuned[0]["per_seed"])
        weights += f", but for the tables that say fine-tuned ({num_seeds} of the seeds)"
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
        panels.append(Panel(bench_title(bench), dots, references=((0.5, "chance"),)))
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
            bench_title(row["bench"]),
            row["name"],
            number_interval(as_interval(row["auroc"])),
            number_interval(as_interval(row["average_precision"])),
            number(row["chance_average_precision"], digits=3),
        )
        for row in rows
    )
    gaps = tuple(
        (
            bench_title(row["bench"]),
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
        f"{bench_title(row['bench'])}: {row['name']} finds wrong votes with an AUROC of "
        f"{number_interval(as_interval(row['auroc']))}."
    )


def _chances(report: Report) -> tuple[Block, ...]:
    rows = [row for row in report["calibration"] if row["weights"] == HEADS]
    if not rows:
        return ()
    lines = tuple(
        (
            bench_title(row["bench"]),
            row["noise"],
            METHODS[row["method"]],
            number(row["error"], digits=3),
            number(row["skill"], digits=3),
            str(row["num_seeds"]),
            count(row["num_judged"]),
        )
        for row in rows
    )
    caption = (
        f"P(label wrong) from {report['num_trusted']} trusted pairs and from none: expected "
        "calibration error (15 bins of equal mass) and Brier skill over the base rate, mean of "
        "seeds whose trusted pairs had enough wrong ones, on pairs that were not fitted on"
    )
    header = (
        "data",
        "noise",
        "estimate",
        "calibration error",
        "Brier skill",
        "seeds",
        "pairs judged",
    )
    table = Table(caption, header, lines, num_text=3)
    panels = []
    for bench in dict.fromkeys(row["bench"] for row in report["reliability"]):
        points = [row for row in report["reliability"] if row["bench"] == bench]
        values = tuple(_bare(row["happened"]) for row in points)
        line = Line("labels wrong", tuple(row["predicted"] for row in points), values, bars=False)
        panels.append(LinePanel(bench_title(bench), (line,)))
    if not panels:
        return (table,)
    seen = "Predicted and actual share of wrong votes, in 15 bins of equal mass."
    style = LineStyle("noise-chance", seen, "predicted P(label wrong)", diagonal="as predicted")
    reading = "On the dashed line a probability can be taken at its word."
    return (Picture(line_panels(panels, style=style), caption=seen, reading=reading), table)


def _flips(report: Report) -> tuple[Block, ...]:
    rows = [row for row in report["detection"] if row["noise"] != VOTES]
    if not rows:
        return ()
    names = [name for name in dict.fromkeys(row["name"] for row in rows) if name != CLEANLAB]
    of = {(row["bench"], row["noise"], row["name"]): row["auroc"]["value"] for row in rows}
    places = list(dict.fromkeys((row["bench"], row["noise"]) for row in rows))
    lines = tuple(
        (
            bench_title(bench),
            noise,
            *(number(of.get((bench, noise, name)), digits=3) for name in names),
        )
        for bench, noise in places
    )
    caption = "AUROC for flipped labels, mean of seeds"
    return (Table(caption, ("data", "noise", *names), lines, num_text=2),)


def _bare(value: float) -> Interval:
    return Interval(value, value, value)
