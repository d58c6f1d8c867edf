"""Sections on RL by divergence and by score: is the reward model being exploited?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.report.blocks import Picture, Section
from tamis.report.lines import SERIES, Line, LinePanel, LineStyle, line_panels
from tamis.report.numbers import number, number_interval
from tamis.report.policy_pictures import Histogram, HistogramStyle, histograms
from tamis.report.policy_steps import HELD_OUT, KIND, STEP, TRAINED, Rows
from tamis.types import Interval

TENTH = 10  # the first and the last tenth of the steps are compared
MEASURES = (
    ("score", "raw score, held-out prompts"),
    ("gold", "gold reward, held-out prompts"),
)


def rl_kl_section(rows_of: Mapping[str, Rows]) -> Section | None:
    """Return rewards of held-out prompts against the KL from the start; ``None`` without any."""
    panels: list[LinePanel] = []
    data: dict[str, Any] = {}
    looks = dict(zip(rows_of, SERIES, strict=False))
    for key, title in MEASURES:
        lines = []
        for name, rows in rows_of.items():
            known = _over_kl(rows, key)
            if len(known) > 1:
                kls, values = zip(*known, strict=True)
                lines.append(Line(name, kls, values, look=looks.get(name)))
                data.setdefault(name, {})[key] = [[kl, value.value] for kl, value in known]
        if lines:
            panels.append(LinePanel(title, tuple(lines), is_share=False))
    if not panels:
        return None
    caption = _told(rows_of)
    reading = (
        "Points are looks at held-out prompts while the policy is trained; bars are 95% intervals "
        "over prompts. Where the reward model's score rises with the divergence and gold falls, "
        "the reward model is being exploited. Each score has its own unit."
    )
    style = LineStyle("rl-kl", caption, "KL from the start, nats a response", x_axis="value")
    picture = Picture(line_panels(panels, style=style), caption, reading)
    return Section("RL: reward against KL", "rl-kl", (picture,), data, caption)


def rl_scores_section(rows_of: Mapping[str, Rows]) -> Section | None:
    """Return the scores of the first and of the last tenth of the steps; ``None`` without any."""
    panels = []
    for name, rows in rows_of.items():
        scores = [
            row["score"]
            for row in rows
            if row.get(KIND, TRAINED) == TRAINED and (row.get("score") or {}).get("counts")
        ]
        part = -(-len(scores) // TENTH)
        if len(scores) > 1:
            first, last = _summed(scores[:part]), _summed(scores[-part:])
            panels.append(Histogram(name, scores[0]["edges"], last, first))
    caption = "Raw scores of sampled responses in the first and the last tenth of the steps of RL."
    style = HistogramStyle(
        "rl-scores", "last tenth of the steps", "first tenth", "raw score by the reward model"
    )
    svg = histograms(panels, style=style, alt=caption)
    if svg is None:
        return None
    reading = (
        "The bins are fixed by the first step; scores beyond them are in the outermost. Bars far "
        "beyond the outline are scores that the reward model had no data for; one narrow peak is "
        "one kind of answer."
    )
    data = {
        panel.title: {
            "edges": list(panel.edges),
            "first": list(panel.outline_counts),
            "last": list(panel.counts),
        }
        for panel in panels
    }
    return Section("RL: scores", "rl-scores", (Picture(svg, caption, reading),), data)


def _over_kl(rows: Rows, key: str) -> list[tuple[float, Interval]]:
    found = []
    for row in rows:
        kl, value = row.get("kl"), row.get(key)
        if row.get(KIND) == HELD_OUT and isinstance(kl, int | float) and isinstance(value, dict):
            found.append((float(kl), Interval(value["value"], value["low"], value["high"])))
    return found


def _summed(scores: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(total) for total in np.sum([score["counts"] for score in scores], axis=0)]


def _told(rows_of: Mapping[str, Rows]) -> str:
    name, rows = list(rows_of.items())[-1]
    last = next((row for row in reversed(rows) if row.get(KIND) == HELD_OUT), {})
    parts = [
        f"{title.split(',')[0]} is {number_interval(known[-1][1], digits=2)}"
        for key, title in MEASURES
        if (known := _over_kl(rows, key))
    ]
    if not parts:
        return "Rewards of held-out prompts against the KL from the start."
    kl = number(last["kl"])
    return f"At step {last[STEP]} of {name}, {kl} nats from the start, {' and '.join(parts)}."
