"""The shift study as sections: what was wanted, what each method does, and what did not help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.blocks import Block, Bullets, Fold, Picture, Section, Table, Text
from tamis.report.forest import ForestStyle, Panel, forest
from tamis.report.forest import Row as Dots
from tamis.report.numbers import percent_interval, points_interval
from tamis.report.pictures import MUTED, RIGHT, WRONG
from tamis.studies.noise_figures import as_interval
from tamis.studies.shift.arms import PLAIN
from tamis.studies.shift.levels_page import (
    NOTHING,
    family,
    holm_in_words,
    level_blocks,
    level_cells,
    shown_level,
)
from tamis.studies.shift.measures import DATA_SET, IN, OUT, SCORE, TEST_SET
from tamis.studies.shift.wanted import is_better
from tamis.studies.wanted import ALPHA, p_in_words, pick
from tamis.types import Interval

Report = Mapping[str, Any]
Row = dict[str, Any]


def shift_sections(report: Report) -> list[Section]:
    """Return the sections of a report of `tamis.studies.shift`."""
    return [
        Section("Shift study", "shift", _overview(report), dict(report), _lead(report)),
        Section("Under a shifted policy", "shift-policy", level_blocks(report), {}),
        Section("What did not help", "shift-not", _not_helped(report), {}),
        Section("Every test set", "shift-sets", _every_set(report), {}),
    ]


def _lead(report: Report) -> str:
    rows = _out_of_distribution(report)
    better = sum(is_better(row) for row in rows)
    worse = sum(_is_worse(row) for row in rows)
    met = sum(row["met"] for row in report["verdicts"])
    recommended = pick(rows, arm=report["recommended"])
    told = ""
    if recommended:
        title = _title(report, report["recommended"])
        told = f"; the recommended recipe, {title}, differs from it by {_points(recommended)}"
    return (
        f"{met} of {len(report['verdicts'])} goals fixed beforehand are met. On data unlike the "
        f"training data, {better} of {len(rows)} methods are better than plain training and "
        f"{worse} worse, with p below {ALPHA} after Holm's correction{told}."
    )


def _overview(report: Report) -> tuple[Block, ...]:
    goals = tuple(
        (row["figure"], row["wanted"], row["measured"], "yes" if row["met"] else "no")
        for row in report["verdicts"]
    )
    arms = tuple((arm["title"], arm["what"]) for arm in report["arms"])
    blocks: list[Block] = [
        Text(_how(report)),
        Table("Wanted and measured", ("goal", "wanted", "measured", "met"), goals, num_text=4),
        _arm_table(report),
        _forest(report),
        Fold("What each method changes of plain training", (_what_table(arms),)),
    ]
    if report["averaging"]:
        blocks.insert(4, _averaging_table(report))
    if report["notes"]:
        blocks.append(Bullets(tuple(report["notes"]), "Notes"))
    return tuple(blocks)


def _how(report: Report) -> str:
    plain = [row for row in report["accuracy"] if row["arm"] == PLAIN and row["part"] == DATA_SET]
    outside = [row["name"] for row in plain if row["is_out"]]
    inside = [row["name"] for row in plain if not row["is_out"]]
    seeds = len(report["seeds"])
    cost = ""
    if report["averaging"]:
        cost = (
            " Several models together cost as many trainings; no method trains one model as long, "
            "so what they gain over plain training may be had more cheaply."
        )
    return (
        f"Tier {report['tier']}, {seeds} {'seed' if seeds == 1 else 'seeds'}; models: "
        f"{', '.join(report['models'])}. All methods are trained on {' and '.join(inside)}, "
        f"{_pairs_in_words(report)}. The score out of distribution was fixed beforehand: the mean "
        f"of the accuracies on {len(outside)} data sets ({', '.join(outside)}), each of which "
        "counts once, as the mean of its test sets. Intervals are 95% bootstraps over prompts of "
        "the mean of all seeds; test sets of one data set share their prompts and are resampled "
        "together. Differences to plain training are paired on the same seeds and test pairs; "
        "their intervals and p-values count both prompts and seeds as drawn (a t distribution, as "
        f"seeds are few), and Holm's correction is over {family(report)}, for each score apart. "
        "The tables also say under how many seeds a method is above plain training. A loss in "
        "distribution counts if its own p is below "
        f"{ALPHA}, without correction; that none is seen does not prove that there is none.{cost}"
    )


def _pairs_in_words(report: Report) -> str:
    if report["num_train"] < report["num_pool"]:
        return "under one seed on the same pairs"
    return (
        f"under all seeds on the same {report['num_train']:,} pairs, so that seeds differ in heads "
        "and orders alone, and intervals hold for these pairs"
    )


def _averaging_table(report: Report) -> Table:
    """Tell what several models gain over one of them."""
    rows = [
        (
            _title(report, row["arm"]),
            row["name"],
            *_compared(row, num_seeds=len(report["seeds"])),
        )
        for row in report["averaging"]
    ]
    header = ("method", "score", "minus one of three", "p (Holm)", "seeds above it")
    caption = "Several models together, less the first of them, which is trained as they are"
    return Table(caption, header, tuple(rows), num_text=2)


def _what_table(arms: tuple[tuple[str, str], ...]) -> Table:
    return Table("Methods", ("method", "what it changes of plain training"), arms, num_text=2)


def _arm_table(report: Report) -> Table:
    level = shown_level(report)
    rows = []
    for arm in report["arms"]:
        of_arm = {"arm": arm["name"], "part": SCORE}
        reached = [
            _accuracy(pick(report["accuracy"], **of_arm, name=name)["accuracy"])
            for name in (IN, OUT)
        ]
        change = pick(report["differences"], **of_arm, name=OUT)
        compared = _compared(change, num_seeds=len(report["seeds"]))
        rows.append((arm["title"], *reached, *compared, *level_cells(report, arm["name"], level)))
    for rule in dict.fromkeys(row["rule"] for row in report["baselines"]):
        reached = [
            _accuracy(pick(report["baselines"], rule=rule, part=SCORE, name=name)["accuracy"])
            for name in (IN, OUT)
        ]
        rows.append((rule, *reached, *[NOTHING] * (len(rows[0]) - 3)))
    header = (
        "method", IN, OUT, "minus plain, out", "p (Holm)", "seeds above plain",
        f"spread, {level}", f"gold order, {level}",
    )  # fmt: skip
    caption = (
        "Accuracy of each method, its difference to plain training out of distribution, and how "
        f"it scores the answers of a shifted policy ({level})"
    )
    return Table(caption, header, tuple(rows))


def _compared(row: Row, *, num_seeds: int) -> tuple[str, str, str]:
    if not row:
        return NOTHING, NOTHING, NOTHING
    return _points(row), holm_in_words(row), f"{row['num_above']} of {num_seeds}"


def _forest(report: Report) -> Picture:
    rows = sorted(_out_of_distribution(report), key=lambda row: -row["difference"]["value"])
    dots = tuple(
        Dots(
            _title(report, row["arm"]),
            _in_points(as_interval(row["difference"])),
            tuple(100 * value for value in row["per_seed"]),
            colour=RIGHT if is_better(row) else WRONG if _is_worse(row) else MUTED,
        )
        for row in rows
    )
    seen = (
        "Accuracy out of distribution: each method minus plain training, in points. The highest is "
        f"{_title(report, rows[0]['arm'])} with {_points(rows[0])}, the lowest "
        f"{_title(report, rows[-1]['arm'])} with {_points(rows[-1])}."
    )
    style = ForestStyle(
        name="shift-out",
        alt=seen,
        xlabel="accuracy out of distribution, minus plain (points)",
        estimate="mean of seeds, 95% interval",
        points="single seeds",
        is_share=False,
        digits=1,
    )
    reading = (
        f"Blue is better and orange is worse than plain training with p below {ALPHA} after Holm's "
        f"correction over {family(report)}; grey is neither. Intervals are over seeds and prompts, "
        "and are not corrected."
    )
    panel = Panel("", dots, references=((0.0, "plain training"),))
    return Picture(forest([panel], style=style), caption=seen, reading=reading)


def _not_helped(report: Report) -> tuple[Block, ...]:
    rows = _out_of_distribution(report)
    below = [row for row in rows if row["difference"]["value"] <= 0]
    unsure = [row for row in rows if row["difference"]["value"] > 0 and not is_better(row)]
    blocks: list[Block] = []
    if below:
        blocks.append(Bullets(_sentences(report, below), "Not above plain training"))
    if unsure:
        blocks.append(Bullets(_sentences(report, unsure), "Above plain training, but not surely"))
    if not blocks:
        blocks.append(Text("Every method is surely better than plain training."))
    return tuple(blocks)


def _sentences(report: Report, rows: Sequence[Row]) -> tuple[str, ...]:
    found = []
    for row in rows:
        inside = pick(report["differences"], arm=row["arm"], part=SCORE, name=IN)
        found.append(
            f"{_title(report, row['arm'])}: {_points(row)} out of distribution (p after Holm "
            f"{p_in_words(row['p_holm'])}; above plain training under {row['num_above']} of "
            f"{len(report['seeds'])} seeds), {_points(inside)} in distribution."
        )
    return tuple(found)


def _every_set(report: Report) -> tuple[Block, ...]:
    return tuple(
        Fold(f"Accuracy by {part}", (_scope_table(report, part),)) for part in (DATA_SET, TEST_SET)
    )


def _scope_table(report: Report, part: str) -> Table:
    names = dict.fromkeys(row["name"] for row in report["accuracy"] if row["part"] == part)
    lines = []
    for name in names:
        of = {"part": part, "name": name}
        for arm in report["arms"]:
            reached = pick(report["accuracy"], arm=arm["name"], **of)["accuracy"]
            change = pick(report["differences"], arm=arm["name"], **of)
            compared = _compared(change, num_seeds=len(report["seeds"]))
            lines.append((name, arm["title"], _accuracy(reached), *compared))
        lines += [
            (name, row["rule"], _accuracy(row["accuracy"]), NOTHING, NOTHING, NOTHING)
            for row in report["baselines"]
            if (row["part"], row["name"]) == (part, name)
        ]
    header = (part, "method", "accuracy", "minus plain", "p (Holm)", "seeds above plain")
    caption = f"Accuracy by {part}; Holm's correction is over the methods on one {part}"
    return Table(caption, header, tuple(lines), num_text=2)


def _out_of_distribution(report: Report) -> list[Row]:
    """Return the rows of all methods; what is only there to be held against is none."""
    return [
        row
        for row in report["differences"]
        if (row["part"], row["name"]) == (SCORE, OUT) and "p_holm" in row
    ]


def _is_worse(row: Row) -> bool:
    return bool(row["difference"]["value"] < 0 and row["p_holm"] < ALPHA)


def _title(report: Report, name: str) -> str:
    return str(next((arm["title"] for arm in report["arms"] if arm["name"] == name), name))


def _accuracy(content: Mapping[str, Any]) -> str:
    return percent_interval(as_interval(content))


def _points(row: Row) -> str:
    return points_interval(as_interval(row["difference"]))


def _in_points(value: Interval) -> Interval:
    return Interval(100 * value.value, 100 * value.low, 100 * value.high, value.num_items)
