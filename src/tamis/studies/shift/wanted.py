"""What the shift study is held against: goals fixed before it was run, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.numbers import number, number_interval, points_interval
from tamis.studies.noise_figures import as_interval
from tamis.studies.shift.arms import METARM, METARM_OUTER, PLAIN
from tamis.studies.shift.measures import IN, OUT, RANKING, SCORE, SPREAD
from tamis.studies.wanted import ALPHA, goal_row, p_in_words, pick

SHIFTED = "best of 4"  # the level at which the goal for the spread is read
GOAL = "better than plain out of distribution, without a loss in distribution"
SURELY = f"p (Holm) below {ALPHA}, no significant loss"

Row = dict[str, Any]


def verdicts(report: Mapping[str, Any], *, recommended: str) -> list[Row]:
    """Return one row a goal: what was wanted, what was measured, and whether it was met.

    Better out of distribution is a difference to plain training above 0 with a p below 0.05 after
    Holm's correction over the arms of the run; where the recommended recipe is the only one, it has
    one goal and not two, of which one would be that of any method. A loss in distribution is one
    below 0 with a p below 0.05; this p is not corrected, as the correction would make it easier to
    have lost nothing. What a method may have lost at worst is the lower end of its interval, which
    is told. The spread of MetaRM, in the metric of the outer step, is one comparison that was named
    beforehand, so its interval alone decides; and as scores that differ by chance are far apart,
    too, they have to be at least as often in gold's order as those of plain training. What MetaRM
    as published does is told beside.
    A goal whose arm or level is not part of the study is left out.
    """
    differences = report["differences"]
    arms = list(dict.fromkeys(row["arm"] for row in differences if "p_holm" in row))
    rows = [_any_method(differences, arms)] if arms and arms != [recommended] else []
    if recommended in arms:
        measured, met = _gain_in_words(differences, recommended), _gains(differences, recommended)
        what = f"recommended recipe, {recommended}: {GOAL}"
        rows.append(goal_row(what, SURELY, measured, met=met))
    return rows + _meta(report)


def is_better(row: Row) -> bool:
    """Tell whether an arm is surely better than plain training by this row of differences."""
    return bool(row["difference"]["value"] > 0 and row["p_holm"] < ALPHA)


def has_lost(row: Row) -> bool:
    """Tell whether an arm is worse than plain training by this row, uncorrected."""
    return bool(row["difference"]["value"] < 0 and row["p"] < ALPHA)


def _any_method(differences: Sequence[Row], arms: Sequence[str]) -> Row:
    good = [arm for arm in arms if _gains(differences, arm)]
    best = max(
        good or arms,
        key=lambda arm: pick(differences, arm=arm, part=SCORE, name=OUT)["difference"]["value"],
    )
    return goal_row(
        f"methods {GOAL}",
        f"at least one, {SURELY}",
        f"{len(good)} of {len(arms)}; {'best' if good else 'highest'}: "
        f"{best}, {_gain_in_words(differences, best)}",
        met=bool(good),
    )


def _gains(differences: Sequence[Row], arm: str) -> bool:
    outside = pick(differences, arm=arm, part=SCORE, name=OUT)
    inside = pick(differences, arm=arm, part=SCORE, name=IN)
    return is_better(outside) and not has_lost(inside)


def _gain_in_words(differences: Sequence[Row], arm: str) -> str:
    outside = pick(differences, arm=arm, part=SCORE, name=OUT)
    inside = pick(differences, arm=arm, part=SCORE, name=IN)
    return (
        f"{_points(outside)}, p (Holm) {p_in_words(outside['p_holm'])}; in distribution "
        f"{_inside_in_words(inside)}"
    )


def _inside_in_words(inside: Row) -> str:
    worst = number(100 * as_interval(inside["difference"]).low, digits=1)
    return f"{_points(inside)}, p {p_in_words(inside['p'])}, at worst {worst}"


def _meta(report: Mapping[str, Any]) -> list[Row]:
    inside = pick(report["differences"], arm=METARM_OUTER, part=SCORE, name=IN)
    at = {"level": SHIFTED, "measure": SPREAD}
    spread = pick(report["shift"], arm=METARM_OUTER, **at)
    rows = []
    if spread:
        order = pick(report["shift"], arm=METARM_OUTER, level=SHIFTED, measure=RANKING)
        gap, of_order = as_interval(spread["minus_plain"]), as_interval(order["minus_plain"])
        plain = pick(report["shift"], arm=PLAIN, **at)
        what = f"{METARM_OUTER}: spread of rewards at {SHIFTED}, minus plain"
        measured = (
            f"{number_interval(gap)}, p {p_in_words(spread['p'])} ({_parts(spread)}; plain "
            f"{_parts(plain)}); gold order {points_interval(of_order)}"
        )
        published = pick(report["shift"], arm=METARM, **at)
        if published:
            measured += f"; as published {number_interval(as_interval(published['minus_plain']))}"
        wanted = "above 0, whole interval, and gold order not below plain"
        met = gap.low > 0 and of_order.value >= 0
        rows.append(goal_row(what, wanted, measured, met=met))
    if inside:
        what = f"{METARM_OUTER}: accuracy in distribution, minus plain"
        measured = _inside_in_words(inside)
        published = pick(report["differences"], arm=METARM, part=SCORE, name=IN)
        if published:
            measured += f"; as published {_points(published)}"
        rows.append(goal_row(what, "no significant loss", measured, met=not has_lost(inside)))
    return rows


def _parts(row: Row) -> str:
    """Return what a spread is the ratio of."""
    above, below = row["between_answers"], row["gap_in_distribution"]
    return f"{number(above, digits=2)} over {number(below, digits=2)}"


def _points(row: Row) -> str:
    return points_interval(as_interval(row["difference"]))
