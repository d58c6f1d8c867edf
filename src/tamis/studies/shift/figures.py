"""The figures of the shift study as rows: accuracy, differences to plain training, spread, order.

Intervals of an arm's own figures are over items, of the mean of its seeds; those of differences to
plain training are over items and seeds, as are their p-values (see
`tamis.studies.intervals`). P-values of the same figure are corrected over the arms of a run by
Holm, but for the arm ``member``: it is plain training with other settings, and only what others are
held against.

Shape legend: M pairs of a test set, P prompts, K responses to each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.errors import DataError
from tamis.metrics import length_delta, pair_credit
from tamis.studies.contrasts import contrast, per_seed, with_holm
from tamis.studies.intervals import Figure, IntArray
from tamis.studies.shift.arms import MEMBER, PLAIN, TOGETHER
from tamis.studies.shift.measures import (
    DATA_SET,
    RANKING,
    SCORE,
    SPREAD,
    TEST_SET,
    Ground,
    Scope,
    accuracies,
    gold_order,
    level_figures,
    spread_parts,
)
from tamis.studies.shift.records import LONGER, SHORTER, Level, Scores, TestSet, answer_lengths
from tamis.studies.shift.wanted import verdicts

LEVEL = "level"

Row = dict[str, Any]
Runs = Mapping[str, Sequence[Scores]]
Figures = Mapping[str, Mapping[Scope, Figure]]


def build_report(
    sets: Sequence[TestSet],
    clusters: Mapping[str, IntArray],
    *,
    levels: Sequence[Level],
    scores: Runs,
    seeds: Sequence[int],
    recommended: str,
) -> dict[str, Any]:
    """Return all figures of the study, JSON-safe; the runner says what was run.

    Args:
        sets: in and out of distribution.
        clusters: by test set, what is resampled together: groups [M] or texts [M, 2].
        levels: of the shifted policy.
        scores: by arm, one for each seed; the arm ``plain`` is what the others are held against.
        seeds: in the order of the scores.
        recommended: the arm that the recommended recipe trains, chosen before the study was run;
            it need not be among those of this run.

    Raises:
        DataError: scores that do not belong to these sets, levels and seeds, or no arm ``plain``,
            or no other.
    """
    _check(sets, levels, scores=scores, seeds=seeds)
    if PLAIN not in scores or len(scores) < 2:
        raise DataError(f"arms {', '.join(scores)}: expected {PLAIN}, and others beside it")
    ground = Ground.of(sets, clusters)
    reached = {arm: accuracies(ground, runs) for arm, runs in scores.items()}
    on_levels = {arm: level_figures(ground, runs, levels) for arm, runs in scores.items()}
    parts = {arm: spread_parts(ground, runs, levels) for arm, runs in scores.items()}
    report: dict[str, Any] = {
        "accuracy": accuracy_rows(reached, sets=sets),
        "differences": difference_rows(reached),
        "averaging": averaging_rows(reached),
        "shift": shift_rows(on_levels, levels=levels, parts=parts),
        "baselines": baseline_rows(ground),
        "level_baselines": level_baseline_rows(ground, levels),
    }
    report["verdicts"] = verdicts(report, recommended=recommended)
    report["notes"] = _notes(levels, num_seeds=len(seeds))
    return report


def accuracy_rows(reached: Figures, *, sets: Sequence[TestSet]) -> list[Row]:
    """Tell what each arm reaches on test sets, on data sets, and in and out of distribution."""
    is_out = {(TEST_SET, one.name): one.is_out for one in sets}
    is_out |= {(DATA_SET, one.dataset): one.is_out for one in sets}
    return [
        {"arm": arm, "part": part, "name": name, "is_out": is_out.get((part, name))}
        | {"accuracy": asdict(figure.over_items())}
        | per_seed(figure)
        for arm, figures in reached.items()
        for (part, name), figure in figures.items()
    ]


def difference_rows(reached: Figures) -> list[Row]:
    """Tell how the accuracy of each arm differs from that of plain training."""
    rows = [
        {"arm": arm, "part": part, "name": name} | contrast(figure, reached[PLAIN][part, name])
        for arm, figures in reached.items()
        if arm != PLAIN
        for (part, name), figure in figures.items()
    ]
    return _with_holm_of_methods(rows, family=("part", "name"))


def averaging_rows(reached: Figures) -> list[Row]:
    """Tell how several models together differ from one of them, in and out of distribution.

    They and their member have rates and head dropouts that plain training has not.
    """
    if MEMBER not in reached:
        return []
    rows = [
        {"arm": arm, "part": part, "name": name}
        | contrast(reached[arm][part, name], reached[MEMBER][part, name])
        for arm in TOGETHER
        if arm in reached
        for part, name in reached[arm]
        if part == SCORE
    ]
    return with_holm(rows, family=("part", "name"))


def shift_rows(
    on_levels: Figures,
    *,
    levels: Sequence[Level],
    parts: Mapping[str, Mapping[str, tuple[float, float]]],
) -> list[Row]:
    """Tell how far apart each arm scores a shifted policy's answers, and whether in gold's order.

    The rows of other arms than plain training hold how they differ from it, those of the spread
    what it is the ratio of.
    """
    distance = {level.name: level.distance for level in levels}
    rows = []
    for arm, figures in on_levels.items():
        for (level, measure), figure in figures.items():
            row: Row = {"arm": arm, "level": level, "distance": distance[level], "measure": measure}
            row |= {"value": asdict(figure.over_items()), **per_seed(figure)}
            if measure == SPREAD:
                row["between_answers"], row["gap_in_distribution"] = parts[arm][level]
            if arm != PLAIN:
                change = contrast(figure, on_levels[PLAIN][level, measure])
                row |= {
                    "minus_plain": change["difference"],
                    "minus_plain_per_seed": change["per_seed"],
                    "num_above": change["num_above"],
                    "p": change["p"],
                }
            rows.append(row)
    return _with_holm_of_methods(rows, family=("level", "measure"))


def _with_holm_of_methods(rows: Sequence[Row], *, family: Sequence[str]) -> list[Row]:
    """Add Holm's p-values over the methods of a run, of which ``member`` is none."""
    methods = iter(with_holm([row for row in rows if row["arm"] != MEMBER], family=family))
    return [row if row["arm"] == MEMBER else next(methods) for row in rows]


def baseline_rows(ground: Ground) -> list[Row]:
    """Tell what rules reach that read nothing but lengths."""
    longer = {one.name: length_delta(one.pairs)[None] for one in ground.sets}
    rows = []
    for rule, sign in ((LONGER, 1.0), (SHORTER, -1.0)):
        found = ground.means({name: pair_credit(sign * gap) for name, gap in longer.items()})
        rows += [
            {"rule": rule, "part": part, "name": name, "accuracy": asdict(figure.over_items())}
            for (part, name), figure in found.items()
        ]
    return rows


def level_baseline_rows(ground: Ground, levels: Sequence[Level]) -> list[Row]:
    """Tell how often the longer, and the shorter, of two answers has the higher gold reward."""
    rows = []
    for rule, sign in ((LONGER, 1.0), (SHORTER, -1.0)):
        lengths = Scores(
            gap={one.name: sign * length_delta(one.pairs) for one in ground.sets},
            level={level.name: sign * answer_lengths(level.answers) for level in levels},
        )
        for (level, measure), figure in level_figures(ground, [lengths], levels).items():
            if measure == RANKING:
                row = {"rule": rule, "level": level, "measure": measure}
                rows.append(row | {"value": asdict(figure.over_items())})
    return rows


def results_table(report: Mapping[str, Any]) -> pa.Table:
    """Return every measured value of every seed: one row a value, with what it is of."""
    rows = [
        (row["arm"], row["part"], row["name"], "accuracy", row["per_seed"])
        for row in report["accuracy"]
    ]
    rows += [
        (row["arm"], LEVEL, row["level"], row["measure"], row["per_seed"])
        for row in report["shift"]
    ]
    names = ("arm", "part", "name", "measure", "seed", "value")
    return pa.Table.from_pylist(
        [
            dict(zip(names, (*of, seed, value), strict=True))
            for *of, values in rows
            for seed, value in zip(report["seeds"], values, strict=True)
        ]
    )


def _notes(levels: Sequence[Level], *, num_seeds: int) -> list[str]:
    notes = []
    if num_seeds == 1:
        notes.append("With one seed, no interval and no p-value knows how much seeds differ.")
    for level in levels:
        order_PN = gold_order(level)
        num_even = int((order_PN == 0).sum())
        if num_even:
            notes.append(
                f"{level.name}: {num_even:,} of {order_PN.size:,} pairs of responses have equal "
                "gold rewards and do not count in ranking accuracy."
            )
    return notes


def _check(
    sets: Sequence[TestSet], levels: Sequence[Level], *, scores: Runs, seeds: Sequence[int]
) -> None:
    wanted: dict[str, tuple[int, ...]] = {one.name: (len(one.pairs),) for one in sets}
    for level in levels:
        num_prompts, num_responses = np.shape(level.gold_PK)
        if num_responses < 2 or num_prompts != len(level.answers):
            raise DataError(
                f"{level.name}: gold rewards of shape {level.gold_PK.shape} for "
                f"{len(level.answers)} prompts, expected two or more for each"
            )
    wanted |= {level.name: level.gold_PK.shape for level in levels}
    for arm, runs in scores.items():
        if len(runs) != len(seeds):
            raise DataError(f"arm {arm}: {len(runs)} scores for {len(seeds)} seeds")
        for seed, run in zip(seeds, runs, strict=True):
            found = {**run.gap, **run.level}
            for name, shape in wanted.items():
                seen = np.shape(found.get(name, 0))
                if seen != shape:
                    raise DataError(
                        f"arm {arm}, seed {seed}, {name}: scores of shape {seen}, expected {shape}"
                    )
