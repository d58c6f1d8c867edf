"""The figures of the over-optimisation study as rows of a report.

Intervals are over prompts and seeds, those of differences to raw labels paired on both, as are
their p-values (see `tamis.studies.intervals`). Holm's correction is over the remedies, for each
figure apart; the references are not remedies, and are not corrected.

Shape legend: S seeds, P prompts, K answers to each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.errors import DataError
from tamis.studies.contrasts import contrast, per_seed, with_holm
from tamis.studies.intervals import Figure
from tamis.studies.overoptimise.arms import MEMBER, RAW, TOGETHER, Arm
from tamis.studies.overoptimise.curves import (
    END,
    GOLD,
    LATE,
    PEAKS,
    PROXY,
    Curves,
    Floats,
    best_of_curves,
    figures_of,
    mean_curves,
    peak_sizes,
    points_of,
)
from tamis.studies.overoptimise.verdicts import REMEDY, verdicts

CEILING = "gold itself"

Row = dict[str, Any]


def best_of_report(
    arms: Sequence[Arm], scores: Mapping[str, Floats], *, gold_PK: Floats
) -> dict[str, Any]:
    """Return all figures of the best of n, JSON-safe.

    Args:
        arms: in the order of tables; the arm ``raw`` is what the others are held against.
        scores: of the answers of the pool by arm, under each seed [S, P, K], or by each of several
            models [R, S, P, K], whose curves are averaged.
        gold_PK: their standardised gold rewards.

    Raises:
        DataError: scores of another shape, or no arm ``raw``.
    """
    _check(arms, scores, gold_PK=gold_PK)
    curves = {arm.name: _curves(scores[arm.name], gold_PK=gold_PK) for arm in arms}
    figures = {name: figures_of(curve) for name, curve in curves.items()}
    report: dict[str, Any] = {
        "sizes": list(curves[RAW].sizes),
        "kl": curves[RAW].kl.tolist(),
        "points": [row for name, curve in curves.items() for row in point_rows(name, curve)],
        "figures": figure_rows(arms, figures),
        "peaks": [{"arm": name, **peak_sizes(curve)} for name, curve in curves.items()],
        "beside_member": member_rows(figures),
        "ceiling": ceiling(gold_PK),
    }
    report["verdicts"] = verdicts(report)
    return report


def _curves(scores: Floats, *, gold_PK: Floats) -> Curves:
    if scores.ndim == gold_PK.ndim + 1:
        return best_of_curves(scores, gold_PK)
    return mean_curves([best_of_curves(scores_SPK, gold_PK) for scores_SPK in scores])


def point_rows(arm: str, curve: Curves) -> list[Row]:
    """Tell gold and proxy reward of the best of each n."""
    return [
        {"arm": arm, "measure": measure, "n": num, "kl": float(kl)}
        | {"value": asdict(figure.over_items_and_seeds()[0])}
        | per_seed(figure)
        for measure, values_SPJ in ((GOLD, curve.gold_SPJ), (PROXY, curve.proxy_SPJ))
        for num, kl, figure in zip(curve.sizes, curve.kl, points_of(values_SPJ), strict=True)
    ]


def figure_rows(arms: Sequence[Arm], figures: Mapping[str, Mapping[str, Figure]]) -> list[Row]:
    """Tell what is read from each curve, and how it differs from that of raw labels.

    ``kind`` says whether an arm is a remedy. What is read from the highest point of a curve has an
    interval over prompts alone, and is not compared: it is no mean, and cannot be below 0.
    """
    rows = []
    for arm in arms:
        for name, figure in figures[arm.name].items():
            row: Row = {"arm": arm.name, "kind": arm.kind, "figure": name}
            row |= per_seed(figure)
            if name in PEAKS:
                rows.append(row | {"value": asdict(figure.over_items())})
                continue
            row["value"] = asdict(figure.over_items_and_seeds()[0])
            if arm.name != RAW:
                change = contrast(figure, figures[RAW][name])
                row |= {"minus_raw": change["difference"], "num_above": change["num_above"]}
                row["minus_raw_per_seed"] = change["per_seed"]
                row["p" if arm.kind == REMEDY else "p_alone"] = change["p"]
            rows.append(row)
    return with_holm(rows, family=("figure",))


def member_rows(figures: Mapping[str, Mapping[str, Figure]]) -> list[Row]:
    """Tell how several models together differ from one of them; p-values are not corrected."""
    if MEMBER not in figures:
        return []
    return [
        {"arm": arm, "figure": name, **contrast(figures[arm][name], figures[MEMBER][name])}
        for arm in TOGETHER
        if arm in figures
        for name in (END, LATE)
    ]


def ceiling(gold_PK: Floats) -> Row:
    """Return the expected gold of the best of n by gold itself: nothing can be above it."""
    curve = best_of_curves(gold_PK[None], gold_PK)
    return {"name": CEILING, "gold": curve.gold_SPJ.mean(axis=(0, 1)).tolist()}


def results_table(report: Mapping[str, Any]) -> pa.Table:
    """Return every measured value of every seed: one row a value, with what it is of.

    Looks of the RL run have the step in place of n.
    """
    rows = [
        ("best of n", row["arm"], row["measure"], row["n"], row["per_seed"])
        for row in report["points"]
    ]
    rows += [
        ("curve", row["arm"], row["figure"], None, row["per_seed"]) for row in report["figures"]
    ]
    rows += [
        ("rl", row["arm"], measure, row["step"], row[f"{measure}_per_seed"])
        for row in report["rl"]
        for measure in ("kl", GOLD, PROXY)
    ]
    rows += [
        ("rl at equal KL", row["arm"], row["figure"], None, row["per_seed"])
        for row in report.get("rl_figures", ())
    ]
    names = ("part", "arm", "measure", "n", "seed", "value")
    return pa.Table.from_pylist(
        [
            dict(zip(names, (*of, seed, value), strict=True))
            for *of, values in rows
            for seed, value in zip(report["seeds"], values, strict=True)
        ]
    )


def _check(arms: Sequence[Arm], scores: Mapping[str, Floats], *, gold_PK: Floats) -> None:
    if RAW not in [arm.name for arm in arms]:
        raise DataError(f"arms {', '.join(arm.name for arm in arms)}: expected {RAW} among them")
    num_seeds = np.shape(scores[RAW])[0]
    for arm in arms:
        seen = np.shape(scores[arm.name])[-3:]
        if seen != (num_seeds, *gold_PK.shape):
            raise DataError(
                f"arm {arm.name}: scores of shape {seen}, expected "
                f"{(num_seeds, *gold_PK.shape)}: seeds, prompts, answers"
            )
