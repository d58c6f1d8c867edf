"""The figures of the noise bench: detection, calibration and training, with intervals.

Shape legend: S seeds, N training pairs, M test pairs, A arms, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from tamis.errors import DataError
from tamis.metrics import (
    bootstrap_statistic,
    detection,
    detection_difference,
    holm,
    interval_of,
    p_value,
    resampled_means,
)
from tamis.studies.arms import ORACLE, RAW
from tamis.studies.cells import CLEANLAB, COMBINED, IDENTITIES, VOTE
from tamis.studies.noises import Noise
from tamis.studies.outcome import Outcome
from tamis.types import Interval

CONTRASTS = (
    (COMBINED, IDENTITIES, "auroc"),
    (COMBINED, VOTE, "auroc"),
    (VOTE, CLEANLAB, "average_precision"),
    (COMBINED, CLEANLAB, "average_precision"),
)
HEADS = "heads on frozen features"

Floats = NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """All seeds of one noise on one data set, and what to resample for intervals."""

    bench: str
    noise: Noise
    outcomes: Sequence[Outcome]
    train_clusters: NDArray[np.int64]
    test_clusters: NDArray[np.int64]
    weights: str = HEADS

    @property
    def where(self) -> Row:
        """The columns that say which rows these are."""
        return {"bench": self.bench, "noise": self.noise.title, "weights": self.weights}

    def stacked(self, name: str) -> Floats:
        """Return one suspicion of all seeds [S, N]."""
        return np.stack([outcome.suspicion[name] for outcome in self.outcomes])

    def credits(self, arm: str) -> Floats:
        """Return the credit of one arm of all seeds [S, M]."""
        return np.stack([outcome.credit[arm] for outcome in self.outcomes])

    @property
    def truth(self) -> dict[str, Any]:
        """Which labels are wrong [S, N], and of which that is known [S, N]."""
        return {
            "is_wrong": np.stack([outcome.wrong_N for outcome in self.outcomes]),
            "known": np.stack([outcome.known_N for outcome in self.outcomes]),
        }


@dataclass(frozen=True, slots=True)
class Reached:
    """The credit of every arm, seeds averaged [M], and its mean on resamples of the pairs [R]."""

    credit: Mapping[str, Floats]
    resampled: Mapping[str, Floats]

    def accuracy(self, arm: str) -> Interval:
        """Return the accuracy of an arm."""
        credit_M = self.credit[arm]
        return interval_of(float(credit_M.mean()), self.resampled[arm], num_items=credit_M.size)

    def above_raw(self, arm: str) -> Interval:
        """Return how much higher it is than that of raw labels, paired."""
        credit_M = self.credit[arm] - self.credit[RAW]
        resampled_R = self.resampled[arm] - self.resampled[RAW]
        return interval_of(float(credit_M.mean()), resampled_R, num_items=credit_M.size)


def detection_rows(trial: Trial) -> list[Row]:
    """Tell how well each suspicion finds the wrong labels; with intervals on votes of people."""
    if not _has_both(trial):
        return []
    truth = trial.truth
    rows = []
    for name in trial.outcomes[0].suspicion:
        row = trial.where | {"name": name}
        if trial.noise.kind == "votes":
            found = detection(
                trial.stacked(name),
                truth["is_wrong"],
                known=truth["known"],
                clusters=trial.train_clusters,
                seed=0,
            )
            row |= {
                "auroc": asdict(found.auroc),
                "average_precision": asdict(found.average_precision),
                "chance_average_precision": found.chance_average_precision,
                "auroc_per_seed": list(found.auroc_per_seed),
                "average_precision_per_seed": list(found.average_precision_per_seed),
            }
        else:
            row |= _plain_detection(trial, name)
        rows.append(row)
    return rows


def _plain_detection(trial: Trial, name: str) -> Row:
    by_seed = [(outcome.wrong_N, outcome.suspicion[name]) for outcome in trial.outcomes]
    aurocs = [float(roc_auc_score(w_N, s_N)) for w_N, s_N in by_seed]
    precisions = [float(average_precision_score(w_N, s_N)) for w_N, s_N in by_seed]
    return {
        "auroc": _value(aurocs),
        "average_precision": _value(precisions),
        "chance_average_precision": float(np.mean([w_N.mean() for w_N, _ in by_seed])),
        "auroc_per_seed": aurocs,
        "average_precision_per_seed": precisions,
    }


def _value(per_seed: Sequence[float]) -> Row:
    return {"value": float(np.mean(per_seed)), "low": None, "high": None}


def contrast_rows(trial: Trial) -> list[Row]:
    """Compare suspicions with each other by paired intervals, on votes of people."""
    if trial.noise.kind != "votes" or not _has_both(trial):
        return []
    rows = []
    for first, second, measure in CONTRASTS:
        if {first, second} <= trial.outcomes[0].suspicion.keys():
            difference = detection_difference(
                trial.stacked(first),
                trial.stacked(second),
                measure=measure,  # type: ignore[arg-type]
                clusters=trial.train_clusters,
                seed=0,
                **trial.truth,
            )
            contrast = f"{first} − {second}"
            row = {"contrast": contrast, "measure": measure, "difference": asdict(difference)}
            rows.append(trial.where | row)
    return rows


def training_rows(trial: Trial) -> list[Row]:
    """Tell what each arm reaches on the test pairs, and how it compares with raw labels.

    All arms are resampled together: the draws are those that each of them would have had alone.
    """
    arms = list(trial.outcomes[0].credit)
    mean_AM = np.stack([trial.credits(arm).mean(axis=0) for arm in arms])
    reached = Reached(
        dict(zip(arms, mean_AM, strict=True)),
        dict(
            zip(arms, resampled_means(mean_AM, clusters=trial.test_clusters, seed=0).T, strict=True)
        ),
    )
    rows = []
    for arm in arms:
        row = trial.where | {
            "arm": arm,
            "accuracy": asdict(reached.accuracy(arm)),
            "per_seed": trial.credits(arm).mean(axis=1).tolist(),
        }
        row["wrong_frac"] = _mean_figure(trial, f"wrong labels, {arm}")
        row["mean_gap"] = _mean_figure(trial, f"mean gap, {arm}")
        if arm != RAW:
            difference = reached.above_raw(arm)
            row |= {"minus_raw": asdict(difference), "p": p_value(difference)}
            if arm != ORACLE:
                row["recovered"] = _recovered(reached, arm, clusters=trial.test_clusters)
        rows.append(row)
    return rows


def _mean_figure(trial: Trial, name: str) -> float | None:
    """Return the mean over seeds of a figure; None where there is none, as of tuned models."""
    values = [outcome.figures[name] for outcome in trial.outcomes if name in outcome.figures]
    return float(np.mean(values)) if values and trial.weights == HEADS else None


def _recovered(reached: Reached, arm: str, *, clusters: NDArray[np.int64]) -> Row | None:
    """Return the share of the lost accuracy that an arm wins back, where some was surely lost."""
    if reached.above_raw(ORACLE).low <= 0:
        return None
    won_M, lost_M = (reached.credit[name] - reached.credit[RAW] for name in (arm, ORACLE))
    won_R, lost_R = (reached.resampled[name] - reached.resampled[RAW] for name in (arm, ORACLE))
    if (lost_R > 0).all():
        value = float(won_M.mean() / lost_M.mean())
        return asdict(interval_of(value, won_R / lost_R, num_items=won_M.size))

    def share(weights_M: Floats) -> float:
        lost = float(weights_M @ lost_M)
        return float(weights_M @ won_M) / lost if lost > 0 else float("nan")

    try:
        return asdict(bootstrap_statistic(share, clusters=clusters, seed=0))
    except DataError:  # little was lost, so that most resamples have nothing to recover
        return None


def with_holm(rows: Sequence[Row]) -> list[Row]:
    """Add Holm's p-values, over all comparisons of an arm with raw labels in all noises.

    What true labels reach is no arm that one could choose, and is not counted.
    """
    counted = [row for row in rows if "p" in row and row["arm"] != ORACLE]
    adjusted = iter(holm([row["p"] for row in counted]))
    return [
        row | {"p_holm": next(adjusted)} if "p" in row and row["arm"] != ORACLE else row
        for row in rows
    ]


def calibration_rows(trial: Trial) -> list[Row]:
    """Tell how far P(label wrong) can be taken at its word: fitted on few pairs, and on none.

    A seed whose trusted pairs had too few wrong labels to be fitted on is not in the means.
    """
    rows = []
    for method in ("trusted", "mixture"):
        prefix = f"{method}: "
        found = [
            {
                name.removeprefix(prefix): value
                for name, value in outcome.figures.items()
                if name.startswith(prefix)
            }
            for outcome in trial.outcomes
        ]
        found = [figures for figures in found if figures]
        if found:
            errors = [figures["expected calibration error"] for figures in found]
            skills = [figures["Brier skill"] for figures in found]
            row = {
                "method": method,
                "error": float(np.mean(errors)),
                "error_per_seed": errors,
                "skill": float(np.mean(skills)),
                "skill_per_seed": skills,
                "num_seeds": len(found),
                "num_judged": int(min(figures["pairs judged"] for figures in found)),
            }
            rows.append(trial.where | row)
    return rows


def noise_row(trial: Trial) -> Row:
    """Tell how many labels are wrong, and of how many pairs that is known."""
    known_SN, wrong_SN = trial.truth["known"], trial.truth["is_wrong"]
    return trial.where | {
        "num_train": int(known_SN.shape[1]),
        "num_test": len(next(iter(trial.outcomes[0].credit.values()))),
        "known_frac": float(known_SN.mean()),
        "wrong_frac": float(wrong_SN[known_SN].mean()),
    }


def pooled_chances(trial: Trial) -> tuple[Floats, NDArray[np.bool_]] | None:
    """Return P(label wrong) on all judged pairs of all seeds, and whether they were wrong."""
    chances, wrong = [], []
    for outcome in trial.outcomes:
        if outcome.chance_N is not None:
            judged_N = np.isfinite(outcome.chance_N)
            chances.append(outcome.chance_N[judged_N])
            wrong.append(outcome.wrong_N[judged_N])
    if not chances or not sum(map(len, chances)):
        return None
    return np.concatenate(chances), np.concatenate(wrong)


def as_interval(content: Mapping[str, Any]) -> Interval:
    """Read an interval back from a report; without ends, they are the value."""
    found = Interval(content["value"], content["low"], content["high"])
    return replace(found, low=found.value, high=found.value) if found.low is None else found


def _has_both(trial: Trial) -> bool:
    truth = trial.truth
    num_known, num_wrong = truth["known"].sum(1), (truth["is_wrong"] & truth["known"]).sum(1)
    return bool(((num_wrong > 0) & (num_wrong < num_known)).all())
