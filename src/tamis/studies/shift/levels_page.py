"""The shift study's simulated policies as blocks: how far apart and in what order answers score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.report.blocks import Block, Fold, Picture, Table, Text
from tamis.report.lines import Line, LinePanel, LineStyle, Look, line_panels
from tamis.report.numbers import (
    number,
    number_interval,
    percent,
    percent_interval,
    points_interval,
)
from tamis.report.pictures import MUTED, RIGHT, WRONG
from tamis.studies.noise_figures import as_interval
from tamis.studies.shift.arms import ALL_ARMS, MEMBER, METARM_OUTER, PLAIN
from tamis.studies.shift.measures import RANKING, SPREAD
from tamis.studies.shift.wanted import SHIFTED
from tamis.studies.wanted import p_in_words, pick

STYLES = ((MUTED, "--"), (RIGHT, "-"), (WRONG, "-"))
APART = 0.1  # between two lines at one place
NOTHING = "–"

Report = Mapping[str, Any]


def level_blocks(report: Report) -> tuple[Block, ...]:
    """Return the picture of the spread, and tables of spread and order by gold reward."""
    last = shown_level(report)
    others = tuple(_level_table(report, level) for level in _levels(report) if level != last)
    blocks: list[Block] = [Text(_how(report)), _picture(report), _level_table(report, last)]
    return (*blocks, Fold("The other levels", others)) if others else tuple(blocks)


def level_cells(report: Report, arm: str, level: str) -> tuple[str, str]:
    """Return the spread and the ranking accuracy of an arm at a level, in words."""
    found = [pick(report["shift"], arm=arm, level=level, measure=m) for m in (SPREAD, RANKING)]
    spread, ranking = (as_interval(row["value"]) for row in found)
    return number_interval(spread, digits=2), percent(ranking.value)


def family(report: Report) -> str:
    """Return over how many methods p-values are corrected, and how many there are in all."""
    arms = {row["arm"] for row in report["differences"] if "p_holm" in row}
    num_all = sum(name not in (PLAIN, MEMBER) for name in ALL_ARMS)
    told = "the one method" if len(arms) == 1 else f"the {len(arms)} methods"
    return f"{told} of this run" + (f" (the study has {num_all})" if len(arms) < num_all else "")


def holm_in_words(row: Mapping[str, Any]) -> str:
    """Return the corrected p-value of a row; what is no method has none."""
    return p_in_words(row["p_holm"]) if "p_holm" in row else NOTHING


def shown_level(report: Report) -> str:
    """Return the level that stands for the shifted policy: best of 4, or the last."""
    levels = _levels(report)
    return SHIFTED if SHIFTED in levels else levels[-1]


def _levels(report: Report) -> list[str]:
    return list(dict.fromkeys(row["level"] for row in report["shift"]))


def _how(report: Report) -> str:
    rows = [row for row in report["shift"] if row["arm"] == PLAIN and row["measure"] == SPREAD]
    num_prompts = max(row["value"]["num_items"] for row in rows)
    far = [f"{row['level']} ({row['distance']:.2f})" for row in rows if row["distance"]]
    nats = f" Its distance from the policy in nats is known for {', '.join(far)}." if far else ""
    return (
        f"Responses to {num_prompts} prompts, sampled at several temperatures or taken as the best "
        f"of n by another reward model, stand for a policy that has moved.{nats} Spread is the "
        "mean absolute difference between the rewards of two responses to one prompt, over the "
        "mean absolute gap that the same model leaves between the answers of test pairs in "
        "distribution: a reward model that no longer tells responses apart has a small one. Gold "
        "order is the share of two responses to one prompt that are ranked as by a gold reward "
        "model, another model trained on data of several sets that no method learns from. It is no "
        "person: the notes tell how often it is right, and where that is next to chance on pairs "
        "like the ones trained on, gold order says next to nothing. What length alone would reach "
        "is told beside. Intervals are "
        "over prompts, those of the spread over test pairs as well, and those of differences over "
        f"seeds; Holm's correction is over {family(report)}, for each level and measure apart."
    )


def _picture(report: Report) -> Picture:
    levels = _levels(report)
    named = {arm["name"]: arm["title"] for arm in report["arms"]}
    shown = [
        arm for arm in dict.fromkeys((PLAIN, METARM_OUTER, report["recommended"])) if arm in named
    ]
    lines = []
    for place, (arm, (colour, dashes)) in enumerate(zip(shown, STYLES, strict=False)):
        shift = APART * (place - (len(shown) - 1) / 2)
        for family in dict.fromkeys(map(_family, levels)):
            points = [
                (1 + x + shift, _spread(report, arm, level))
                for x, level in enumerate(levels)
                if _family(level) == family
            ]
            x_of, values = zip(*points, strict=True)
            lines.append(Line(named[arm], x_of, values, Look(colour, dashes)))
    seen = "Spread of the rewards of responses to one prompt, by policy."
    ticks = tuple(level.replace("temperature ", "temp.\n").replace("best ", "best\n")
                  for level in levels)  # fmt: skip
    style = LineStyle("shift-spread", seen, "policy", x_axis="names", names=ticks)
    ends = "; ".join(
        f"{named[arm]} {percent_interval(_spread(report, arm, levels[-1]))}" for arm in shown
    )
    reading = (
        "100% is as far apart as the two answers of a test pair in distribution. Where a line "
        f"falls, the model tells the answers of that policy less apart. At {levels[-1]}: {ends}."
    )
    panel = LinePanel("spread over in-distribution gap", tuple(lines))
    return Picture(line_panels([panel], style=style), caption=seen, reading=reading)


def _spread(report: Report, arm: str, level: str) -> Any:
    return as_interval(pick(report["shift"], arm=arm, level=level, measure=SPREAD)["value"])


def _family(level: str) -> str:
    """Return the kind of a level, all but its number: lines do not join two kinds."""
    return level.rsplit(" ", 1)[0]


def _level_table(report: Report, level: str) -> Table:
    rows = []
    for arm in report["arms"]:
        of = {"arm": arm["name"], "level": level}
        spread = pick(report["shift"], **of, measure=SPREAD)
        ranking = pick(report["shift"], **of, measure=RANKING)
        cells = [
            number_interval(as_interval(spread["value"]), digits=2),
            number(spread["between_answers"], digits=2),
            number(spread["gap_in_distribution"], digits=2),
        ]
        if arm["name"] == PLAIN:
            cells += [NOTHING, NOTHING, percent_interval(as_interval(ranking["value"])), NOTHING,
                      NOTHING]  # fmt: skip
        else:
            cells += [
                number_interval(as_interval(spread["minus_plain"]), digits=2),
                holm_in_words(spread),
                percent_interval(as_interval(ranking["value"])),
                points_interval(as_interval(ranking["minus_plain"])),
                holm_in_words(ranking),
            ]
        rows.append((arm["title"], *cells))
    for row in report["level_baselines"]:
        if row["level"] == level:
            found = percent_interval(as_interval(row["value"]))
            rows.append((row["rule"], *[NOTHING] * 5, found, NOTHING, NOTHING))
    header = ("method", "spread", "between answers", "gap in distribution", "minus plain",
              "p (Holm)", "gold order", "minus plain", "p (Holm)")  # fmt: skip
    return Table(f"Spread and gold order, {level}", header, tuple(rows))
