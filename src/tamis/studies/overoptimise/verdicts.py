"""Which remedy delays over-optimisation and which does not, by rules fixed before the study ran.

A proxy is over-optimised where its late gain is surely below 0: where gold falls from the best of
the middle n to the best of all. A remedy *delays* this where its late gain is above that of raw
labels with p below 0.05 after Holm's correction over the remedies, and *hastens* it where it is
below. A proxy that knows nothing of gold loses nothing late either, so two things more are asked
for: raw labels are over-optimised, or there is nothing to delay; and the remedy's own gold at the
end is surely above that of one answer, which is 0. What a remedy is worth at the end beside raw
labels is the other question: gold of the best of all answers, by the same rule. Peaks and losses
are told, but decide nothing (see `tamis.studies.overoptimise.curves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tamis.studies.overoptimise.arms import RAW
from tamis.studies.overoptimise.curves import END, LATE
from tamis.studies.wanted import ALPHA, pick

REMEDY = "remedy"
State = Literal["over-optimised", "still gaining", "neither"]
Effect = Literal["higher", "lower", "not told apart"]
FALLS: State = "over-optimised"

Row = dict[str, Any]


def verdicts(report: Mapping[str, Any]) -> list[Row]:
    """Return one row for raw labels and one for each remedy.

    ``state`` is that of the arm's own curve; ``late`` and ``end`` say how a remedy differs from raw
    labels in its late gain and in its gold at the end, ``is_worth`` whether its own gold there is
    surely above that of one answer, and ``delays`` follows from these and the state of raw labels.
    """
    rows = []
    falls = state_of(pick(report["figures"], arm=RAW, figure=LATE)) == FALLS
    for arm in dict.fromkeys(row["arm"] for row in report["figures"]):
        late = pick(report["figures"], arm=arm, figure=LATE)
        end = pick(report["figures"], arm=arm, figure=END)
        row: Row = {"arm": arm, "state": state_of(late)}
        if late["kind"] == REMEDY:
            row |= {"late": effect_of(late), "end": effect_of(end)}
            row["is_worth"] = end["value"]["low"] > 0
            row["delays"] = falls and row["late"] == "higher" and row["is_worth"]
        if arm == RAW or late["kind"] == REMEDY:
            rows.append(row)
    return rows


def state_of(late: Row) -> State:
    """Tell from the interval of the late gain, over prompts and seeds, where a curve goes."""
    if late["value"]["high"] < 0:
        return FALLS
    return "still gaining" if late["value"]["low"] > 0 else "neither"


def effect_of(row: Row) -> Effect:
    """Tell whether an arm surely differs from raw labels in a figure."""
    if row["p_holm"] >= ALPHA:
        return "not told apart"
    return "higher" if row["minus_raw"]["value"] > 0 else "lower"


def with_effect(rows: Sequence[Row], *, which: str, effect: Effect) -> list[str]:
    """Return the remedies whose verdict says so."""
    return [row["arm"] for row in rows if row.get(which) == effect]
