"""The RL run of the over-optimisation study as a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.report.blocks import Block, Picture, Section, Table, Text
from tamis.report.lines import Line, LinePanel, LineStyle, line_panels
from tamis.report.numbers import number, number_interval
from tamis.studies.noise_figures import as_interval
from tamis.studies.overoptimise.curves import END, GOLD, LATE, PROXY
from tamis.studies.overoptimise.verdicts import FALLS, state_of
from tamis.studies.overoptimise.words import title_of
from tamis.studies.wanted import ALPHA, p_in_words, pick

NOTHING = "–"

Report = Mapping[str, Any]
Row = dict[str, Any]


def rl_section(report: Report) -> Section:
    """Return the section of a report that has an RL run."""
    blocks: tuple[Block, ...] = (
        Text(_how(report)),
        _compared(report),
        _picture(report),
        _table(report),
    )
    return Section("Reinforcement learning", "overoptimise-rl", blocks, {}, _lead(report))


def _lead(report: Report) -> str:
    """Return what the policies have at equal KL, whichever way it points."""
    found = []
    reached = report["rl_figures"][0]["kl"]
    for arm in _arms(report):
        end, late = (pick(report["rl_figures"], arm=arm, figure=name) for name in (END, LATE))
        said = f"{title_of(report, arm)}: gold has changed by {_value(end)}, {_late(late)}"
        if "minus_raw" in end:
            word = "" if end["p"] < ALPHA else ", not told apart"
            said += f"; minus raw {_minus(end)}, p {p_in_words(end['p'])}{word}"
        found.append(said)
    return f"After {number(reached)} nats of reinforcement learning, {'; '.join(found)}."


def _late(row: Row) -> str:
    words = {
        FALLS: "and over the second half of the way it falls (over-optimised): {}",
        "still gaining": "and over the second half of the way it still rises: {}",
        "neither": "of which the second half of the way is not told from none: {}",
    }
    return words[state_of(row)].format(_value(row))


def _how(report: Report) -> str:
    seeds = len(report["seeds"])
    return (
        f"GRPO with LoRA rewarded by a proxy alone, {seeds} {'seed' if seeds == 1 else 'seeds'}, "
        "without a penalty on the divergence; what is told of it is TRL's estimate for a token "
        "times the tokens of an answer. It trains on the prompts whose answers proxies and MetaRM "
        f"read, and is looked at on the {report['num_prompts']} on which the best of n is picked, "
        "one answer each; gold is the change since before the first step, in the unit of the pool. "
        "Proxies move a policy at different rates, so they are compared at the KL that all runs "
        "reach, and over-optimised is what surely has less gold there than at half of it; this "
        "was fixed before these runs. Intervals are over prompts and seeds; comparisons are not "
        "corrected."
    )


def _compared(report: Report) -> Table:
    rows = []
    for arm in _arms(report):
        end, late = (pick(report["rl_figures"], arm=arm, figure=name) for name in (END, LATE))
        rows.append((title_of(report, arm), *_both(end), *_both(late)))
    reached = number(report["rl_figures"][0]["kl"])
    header = ("proxy", "change in gold", "minus raw", "p", "late gain", "minus raw", "p")
    caption = f"Gold at {reached} nats, and what of it was gained over the second half of the way"
    return Table(caption, header, tuple(rows))


def _both(row: Row) -> tuple[str, str, str]:
    if "minus_raw" not in row:
        return _value(row), NOTHING, NOTHING
    return _value(row), _minus(row), p_in_words(row["p"])


def _picture(report: Report) -> Picture:
    lines = []
    for arm in _arms(report):
        rows = [row for row in report["rl"] if row["arm"] == arm]
        x = tuple(row["kl"]["value"] for row in rows)
        lines.append(Line(title_of(report, arm), x, tuple(as_interval(row[GOLD]) for row in rows)))
    seen = "Gold reward against the estimated KL while a policy is trained towards a proxy."
    style = LineStyle("overoptimise-rl", seen, "KL from the start (nats)", x_axis="value")
    reading = "Each point is a look; its KL is the mean of the seeds."
    panel = LinePanel("change in gold", tuple(lines), is_share=False)
    return Picture(line_panels([panel], style=style), caption=seen, reading=reading)


def _table(report: Report) -> Table:
    rows = tuple(
        (
            title_of(report, row["arm"]),
            str(row["step"]),
            number_interval(as_interval(row["kl"]), digits=2),
            number_interval(as_interval(row[GOLD]), digits=2),
            number_interval(as_interval(row[PROXY]), digits=2),
        )
        for row in report["rl"]
    )
    header = ("proxy", "step", "KL", "change in gold", "change in the proxy's score")
    return Table("Looks at the held-out prompts", header, rows)


def _arms(report: Report) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in report["rl"]))


def _value(row: Row) -> str:
    return number_interval(as_interval(row["value"]), digits=2)


def _minus(row: Row) -> str:
    return number_interval(as_interval(row["minus_raw"]), digits=2)
