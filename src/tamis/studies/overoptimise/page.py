"""The over-optimisation study as sections: gold against KL, and which remedy delays its fall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.report.blocks import Block, Bullets, Fold, Picture, Section, Table, Text
from tamis.report.lines import Line, LinePanel, LineStyle, Look, line_panels
from tamis.report.numbers import number, number_interval, percent, percent_interval
from tamis.report.pictures import INK, MUTED, RIGHT, RULE, WRONG
from tamis.studies.noise_figures import as_interval
from tamis.studies.overoptimise.arms import (
    COMBINED,
    DENOISED,
    ENSEMBLE,
    LENGTH,
    MEMBER,
    METARM,
    ORACLE,
    PCRM,
    RAW,
    TRUSTED,
    WARM,
)
from tamis.studies.overoptimise.curves import (
    ALPHA,
    AREA,
    BETA,
    END,
    GOLD,
    HIGHEST,
    LATE,
    LOST,
    ORDER,
    PROXY,
    early_place,
)
from tamis.studies.overoptimise.rl_page import rl_section
from tamis.studies.overoptimise.verdicts import REMEDY
from tamis.studies.overoptimise.words import how_in_words, lead, sentences, title_of
from tamis.studies.wanted import p_in_words, pick

NOTHING = "–"
LOOKS = {
    RAW: Look(WRONG, "-", "s"),
    COMBINED: Look(RIGHT, "-", "o"),
    DENOISED: Look(RIGHT, "--", "D"),
    TRUSTED: Look(RIGHT, ":", "P"),
    METARM: Look(RULE, "-", "^"),
    PCRM: Look(RULE, "--", "v"),
    MEMBER: Look(INK, ":", "^"),
    WARM: Look(INK, "-", "o"),
    ENSEMBLE: Look(INK, "--", "s"),
    ORACLE: Look(MUTED, "--", "^"),
    LENGTH: Look(MUTED, ":", "v"),
}
DIGITS = 2

Report = Mapping[str, Any]
Row = dict[str, Any]


def over_sections(report: Report) -> list[Section]:
    """Return the sections of a report of `tamis.studies.overoptimise`."""
    sections = [
        Section("Over-optimisation", "overoptimise", _overview(report), dict(report), lead(report)),
        Section("Gold against KL", "overoptimise-curves", _curves(report), {}),
        Section("Every number", "overoptimise-numbers", _numbers(report), {}),
    ]
    return [*sections, rl_section(report)] if report["rl"] else sections


def _overview(report: Report) -> tuple[Block, ...]:
    arms = tuple((arm["title"], arm["what"]) for arm in report["arms"])
    what = Table("Proxies", ("proxy", "what it changes of raw labels"), arms, num_text=2)
    blocks: list[Block] = [
        Text(how_in_words(report)),
        Bullets(tuple(sentences(report)), "What delays over-optimisation, and what does not"),
        _arm_table(report),
        _shape_table(report),
        _gold_table(report),
        Fold("What each proxy is", (what,)),
    ]
    if report["notes"]:
        blocks.append(Bullets(tuple(report["notes"]), "Notes"))
    return tuple(blocks)


def _arm_table(report: Report) -> Table:
    """Tell of each arm what is compared."""
    rows = []
    for arm in report["arms"]:
        end, late = (
            pick(report["figures"], arm=arm["name"], figure=figure) for figure in (END, LATE)
        )
        rows.append((arm["title"], _value(end), *_compared(end), _value(late), *_compared(late)))
    last, early = report["sizes"][-1], report["sizes"][early_place(report["sizes"])]
    header = (
        "proxy",
        f"gold, best of {last}",
        "minus raw",
        "p (Holm)",
        f"gain from {early} to {last}",
        "minus raw",
        "p (Holm)",
    )
    caption = (
        "Gold reward of the best answer by each proxy, in standard deviations of one answer's, and "
        "the late gain"
    )
    return Table(caption, header, tuple(rows))


def _shape_table(report: Report) -> Table:
    """Tell of each arm where its curve is highest, and how it orders answers."""
    rows = []
    for arm in report["arms"]:
        of = {"arm": arm["name"]}
        highest, lost, order = (
            pick(report["figures"], **of, figure=figure) for figure in (HIGHEST, LOST, ORDER)
        )
        rows.append(
            (
                arm["title"],
                str(pick(report["peaks"], **of)["peak"]),
                _value(highest),
                _value(lost),
                percent_interval(as_interval(order["value"])),
            )
        )
    header = ("proxy", "n of the peak", "gold there", "lost after it", "order of two answers")
    caption = (
        "Where gold is highest and what is lost after that (intervals over prompts alone), and the "
        "share of two answers to a prompt that the proxy ranks as gold does"
    )
    return Table(caption, header, tuple(rows))


def _gold_table(report: Report) -> Table:
    rows = tuple(
        (
            row["data"],
            f"{row['num_pairs']:,}",
            percent_interval(as_interval(row["accuracy"])),
            percent(row["longer"]),
        )
        for row in report["gold"]
    )
    header = ("data", "pairs", "gold judge", "always the longer")
    caption = (
        "Accuracy of the gold judge on held-out pairs of other prompts, of which the longer answer "
        "is the better in half"
    )
    return Table(caption, header, rows)


def _curves(report: Report) -> tuple[Block, ...]:
    return (_gold_picture(report), _proxy_picture(report))


def _gold_picture(report: Report) -> Picture:
    lines = tuple(_line(report, arm["name"], GOLD) for arm in report["arms"])
    seen = "Gold reward of the best of n answers by each proxy, against its KL from the policy."
    style = LineStyle("overoptimise-gold", seen, "KL from the policy (nats)", x_axis="value")
    top = report["ceiling"]["gold"][-1]
    nums = ", ".join(map(str, report["sizes"]))
    reading = (
        f"Points are n = {nums}. Where a line falls, answers that the proxy likes more are worse. "
        f"The best of {report['sizes'][-1]} by gold itself has {number(top)}. Intervals (of raw "
        "labels and of what was combined alone, for legibility) are over prompts and seeds, and "
        "wider than those of differences between proxies, which pick from the same answers."
    )
    return Picture(
        line_panels([LinePanel("gold", lines, is_share=False)], style=style),
        caption=seen,
        reading=reading,
    )


def _proxy_picture(report: Report) -> Picture:
    shown = [arm for arm in report["arms"] if arm["name"] in (RAW, COMBINED, ORACLE)]
    panels = [LinePanel(arm["title"], _both(report, arm["name"]), is_share=False) for arm in shown]
    seen = "What the best of n gains by the proxy that picks, and by gold."
    style = LineStyle("overoptimise-proxy", seen, "KL from the policy (nats)", x_axis="value")
    reading = (
        "Each reward is in its own standard deviation of one answer's: where the upper line is "
        "flat, the proxy sees no better answers, whether there are any or not. How far it lies "
        "above the other says nothing, as the two are distributed differently."
    )
    return Picture(line_panels(panels, style=style), caption=seen, reading=reading)


def _both(report: Report, arm: str) -> tuple[Line, ...]:
    looks = ((PROXY, Look(INK, "--", "^")), (GOLD, Look(RIGHT, "-", "o")))
    return tuple(
        Line(f"{measure} reward", *_points(report, arm, measure), look) for measure, look in looks
    )


def _line(report: Report, arm: str, measure: str) -> Line:
    x, values = _points(report, arm, measure)
    return Line(title_of(report, arm), x, values, LOOKS[arm], bars=arm in (RAW, COMBINED))


def _points(report: Report, arm: str, measure: str) -> tuple[tuple[float, ...], tuple[Any, ...]]:
    rows = [r for r in report["points"] if (r["arm"], r["measure"]) == (arm, measure)]
    return tuple(row["kl"] for row in rows), tuple(as_interval(row["value"]) for row in rows)


def _numbers(report: Report) -> tuple[Block, ...]:
    tables = [_size_table(report, measure) for measure in (GOLD, PROXY)]
    return (
        Fold("Gold and proxy reward at every n", tuple(tables)),
        Fold("What is read from the curves", (_figure_table(report),)),
        Fold("Labels", (_label_table(report),)),
    )


def _size_table(report: Report, measure: str) -> Table:
    header = ("proxy", *(f"n = {num}" for num in report["sizes"]))
    rows = tuple(
        (
            arm["title"],
            *(number_interval(v, digits=2) for v in _points(report, arm["name"], measure)[1]),
        )
        for arm in report["arms"]
    )
    words = {GOLD: "Gold reward", PROXY: "Reward by the proxy itself"}
    return Table(f"{words[measure]} of the best of n", header, rows)


def _figure_table(report: Report) -> Table:
    rows = []
    for figure in (END, LATE, AREA, ALPHA, BETA, HIGHEST, LOST, ORDER):
        for arm in report["arms"]:
            row = pick(report["figures"], arm=arm["name"], figure=figure)
            seeds = NOTHING if "num_above" not in row else f"{row['num_above']}"
            rows.append((figure, arm["title"], _value(row), *_compared(row), seeds))
    header = ("figure", "proxy", "value", "minus raw", "p (Holm)", "seeds above raw")
    caption = (
        "alpha and beta are of gold(d) = d (alpha − beta d) with d the root of the KL, fitted to "
        "n above 1; Holm's correction is over the remedies, for each figure apart"
    )
    return Table(caption, header, tuple(rows), num_text=2)


def _label_table(report: Report) -> Table:
    rows = tuple(
        (
            row["labels"],
            ", ".join(f"{value:.2%}" for value in row["weight_on_wrong"]),
            ", ".join(NOTHING if rate is None else percent(rate) for rate in row["noise_rate"]),
            ", ".join(percent(value) for value in row["largest_change"]),
        )
        for row in report["labels"]
    )
    header = ("labels", "weight on wrong labels", "believed wrong", "largest change")
    caption = (
        "Labels, by seed: the share of the weight in training that lies on wrong ones, the share "
        "that the vote believes wrong, and the largest change of a weight or target"
    )
    return Table(caption, header, rows)


def _value(row: Row) -> str:
    return number_interval(as_interval(row["value"]), digits=DIGITS)


def _compared(row: Row) -> tuple[str, str]:
    if "minus_raw" not in row:
        return NOTHING, NOTHING
    gap = number_interval(as_interval(row["minus_raw"]), digits=DIGITS)
    return gap, p_in_words(row["p_holm"]) if row["kind"] == REMEDY else NOTHING
