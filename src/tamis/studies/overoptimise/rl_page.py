"""The RL run of the over-optimisation study as a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.report.blocks import Block, Picture, Section, Table, Text
from tamis.report.lines import Line, LinePanel, LineStyle, line_panels
from tamis.report.numbers import number, number_interval
from tamis.studies.noise_figures import as_interval
from tamis.studies.overoptimise.curves import GOLD
from tamis.studies.overoptimise.words import title_of
from tamis.studies.wanted import ALPHA, p_in_words

NOTHING = "–"

Report = Mapping[str, Any]
Row = dict[str, Any]


def rl_section(report: Report) -> Section:
    """Return the section of a report that has an RL run."""
    blocks: tuple[Block, ...] = (Text(_how(report)), _picture(report), _table(report))
    return Section("Reinforcement learning", "overoptimise-rl", blocks, {}, _lead(report))


def _lead(report: Report) -> str:
    found = []
    for arm in dict.fromkeys(row["arm"] for row in report["rl"]):
        rows = [row for row in report["rl"] if row["arm"] == arm]
        best, last = max(rows, key=lambda row: row[GOLD]["value"]), rows[-1]
        said = (
            f"{title_of(report, arm)}: after {last['step']} steps and {_nats(last)} nats, gold has "
            f"changed by {_gold(last)}"
        )
        if best["step"] not in (0, last["step"]):
            said += f", after its highest, {_gold(best)}, at step {best['step']}"
        if "minus_raw" in last:
            gap = number_interval(as_interval(last["minus_raw"]), digits=2)
            word = "" if last["p"] < ALPHA else ", not told apart"
            said += f"; minus raw {gap}, p {p_in_words(last['p'])}{word}"
        found.append(said)
    return "; ".join(found) + "."


def _how(report: Report) -> str:
    return (
        f"GRPO with LoRA rewarded by a proxy alone, {len(report['seeds'])} seeds, without a "
        "penalty on the divergence; what is told of it is TRL's estimate for a token times the "
        "tokens of an answer. Held-out prompts are answered once a look; gold is the change since "
        "before the first step, in the unit of the pool. Intervals are t intervals over seeds, "
        "each of which holds out prompts of its own; comparisons are not corrected."
    )


def _picture(report: Report) -> Picture:
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in report["rl"]):
        rows = [row for row in report["rl"] if row["arm"] == arm]
        x = tuple(row["kl"]["value"] for row in rows)
        lines.append(Line(title_of(report, arm), x, tuple(as_interval(row[GOLD]) for row in rows)))
    seen = "Gold reward against the estimated KL while a policy is trained towards a proxy."
    style = LineStyle("overoptimise-rl", seen, "KL from the start (nats)", x_axis="value")
    reading = "Each point is a look; a line that turns down is over-optimised."
    panel = LinePanel("change in gold", tuple(lines), is_share=False)
    return Picture(line_panels([panel], style=style), caption=seen, reading=reading)


def _table(report: Report) -> Table:
    rows = tuple(
        (
            title_of(report, row["arm"]),
            str(row["step"]),
            _nats(row),
            _gold(row),
            number_interval(as_interval(row["minus_raw"]), digits=2)
            if "minus_raw" in row
            else NOTHING,
            number(row["proxy"]["value"]),
        )
        for row in report["rl"]
    )
    header = ("proxy", "step", "KL", "change in gold", "minus raw", "change in the proxy's score")
    return Table("Looks at the held-out prompts", header, rows)


def _nats(row: Row) -> str:
    return number(row["kl"]["value"])


def _gold(row: Row) -> str:
    return number_interval(as_interval(row[GOLD]), digits=2)
