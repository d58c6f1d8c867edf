"""The noise bench: which wrong labels are found, what P(wrong) is worth, and what training gains.

Cells are kept in ``RUN/cells``, one file each, under all that they depend on: a bench that was
killed goes on where it stopped, and a larger tier uses what a smaller one has computed. Features
are kept in ``RUN/features``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tamis.metrics import cluster_bootstrap, length_delta, pair_credit
from tamis.models.config import ModelConfig
from tamis.runs import progress
from tamis.studies.cells import TUNED, Ground, run_cell
from tamis.studies.material import Bench, Name, make_bench, some_pairs
from tamis.studies.noise_figures import (
    Floats,
    Row,
    Trial,
    calibration_rows,
    contrast_rows,
    detection_rows,
    noise_row,
    pooled_chances,
    training_rows,
    with_holm,
)
from tamis.studies.noises import Noise
from tamis.studies.outcome import (
    Outcome,
    bench_identity,
    cell_path,
    load_outcome,
    model_identity,
    save_outcome,
)
from tamis.studies.plan import (
    INTERVALS_S,
    TUNED_S,
    StudyPlan,
    cell_s,
    in_words,
    limits_of,
    noises_of,
    reading_s,
    tuned_noises,
)
from tamis.studies.tuned import FINE_TUNED, TRAINS, Tuner, tuned_outcome
from tamis.studies.wanted import verdicts
from tamis.types import Pair

CELLS, FEATURES = "cells", "features"
NUM_BINS = 15


@dataclass(frozen=True, slots=True)
class Site:
    """Where a study works: its run directory, the data sets' folder, the models, who is told."""

    run: Path
    data: Path | None
    models: Mapping[str, ModelConfig]
    notice: Callable[[str], None]


def read_all(plan: StudyPlan, *, data: Path | None) -> dict[Name, list[Pair]]:
    """Return the pairs of all data sets of a plan.

    Raises:
        ConfigError: a data set is not there.
    """
    return {
        name: some_pairs(name, data=data, limits=limits_of(name, plan)) for name in plan.benches
    }


def noise_estimate(pairs: Mapping[Name, Sequence[Pair]], plan: StudyPlan) -> str:
    """Say how long the bench takes at most, on two cores."""
    reading, cells, tuned = 0.0, 0.0, 0.0
    for name, some in pairs.items():
        noises = noises_of(name, plan)
        num_train = sum(pair.split == "train" for pair in some)
        reading += reading_s(some, plan)
        cells += len(noises) * (len(plan.seeds) * cell_s(num_train, plan) + INTERVALS_S)
        num_tuned = plan.tuned_seeds * len(tuned_noises(name, plan)) * len(TUNED)
        tuned += num_tuned * TUNED_S.get(name, 0.0)
    text = (
        f"estimate on two cores: {in_words(reading + cells + tuned)} "
        f"(reading texts {in_words(reading)}, heads and intervals {in_words(cells)}"
    )
    return text + (f", fine-tuning {in_words(tuned)})" if tuned else ")")


def run_noise_bench(
    plan: StudyPlan, pairs: Mapping[Name, Sequence[Pair]], *, site: Site
) -> dict[str, Any]:
    """Run all cells and return the report, JSON-safe; see `results_table` for the bare values."""
    report: dict[str, Any] = {
        **opening("noise", plan, site=site),
        "num_trusted": plan.num_trusted,
        **{name: [] for name in ("noises", "detection", "contrasts", "calibration", "training")},
        "reliability": [],
        "baselines": [],
    }
    for bench in benches_of(pairs, site=site):
        for trial in _trials(bench, plan, site=site):
            _add(report, trial)
        report["baselines"].append(_longer(bench))
    report["training"] = with_holm(report["training"])
    report["verdicts"] = verdicts(report)
    return report


def opening(study: str, plan: StudyPlan, *, site: Site) -> dict[str, Any]:
    """Return what the report of every study begins with."""
    return {
        "study": study,
        "tier": plan.tier,
        "seeds": list(plan.seeds),
        "models": list(site.models),
    }


def benches_of(pairs: Mapping[Name, Sequence[Pair]], *, site: Site) -> Iterator[Bench]:
    """Give the data sets of a study one by one, each once its texts are read."""
    for name, some in pairs.items():
        site.notice(f"{name}: reading {len(some):,} pairs")
        yield make_bench(name, some, models=site.models, cache=site.run / FEATURES)


def results_table(report: Mapping[str, Any]) -> pa.Table:
    """Return every measured value of every seed: one row a value, with what it is of."""
    measured = {
        "detection": {"auroc_per_seed": "AUROC", "average_precision_per_seed": "average precision"},
        "calibration": {
            "error_per_seed": "expected calibration error",
            "skill_per_seed": "Brier skill",
        },
        "training": {"per_seed": "accuracy"},
    }
    rows = [
        {
            "part": part,
            "bench": row["bench"],
            "noise": row["noise"],
            "weights": row["weights"],
            "name": row.get("name") or row.get("arm") or row.get("method"),
            "measure": measure,
            "seed": seed,
            "value": value,
        }
        for part, columns in measured.items()
        for row in report[part]
        for column, measure in columns.items()
        for seed, value in zip(report["seeds"], row[column], strict=False)
    ]
    return pa.Table.from_pylist(rows)


def _trials(bench: Bench, plan: StudyPlan, *, site: Site) -> list[Trial]:
    ground = Ground.of(bench, vote=plan.vote)
    noises = noises_of(bench.name, plan)
    shared = _identity(bench, plan, site=site)
    trials = []
    clusters = (bench.train_clusters, bench.test_clusters)
    with progress(f"{bench.name}: cells", total=len(noises) * len(plan.seeds)) as advance:
        for noise in noises:
            outcomes = []
            for seed in plan.seeds:
                outcomes.append(_cell(ground, noise, plan=plan, seed=seed, site=site, own=shared))
                advance(1)
            trials.append(Trial(bench.name, noise, outcomes, *clusters))
    return trials + _tuned(bench, trials, plan=plan, site=site)


def _cell(
    ground: Ground,
    noise: Noise,
    *,
    plan: StudyPlan,
    seed: int,
    site: Site,
    own: Mapping[str, Any],
) -> Outcome:
    path = cell_path(site.run / CELLS, **own, noise=noise.title, seed=seed)
    found = load_outcome(path)
    if found is None:
        found = run_cell(ground, noise, vote=plan.vote, seed=seed, num_trusted=plan.num_trusted)
        save_outcome(path, found)
        found = load_outcome(path) or found  # the same digits, whether it was computed or kept
    return found


def _tuned(bench: Bench, trials: Sequence[Trial], *, plan: StudyPlan, site: Site) -> list[Trial]:
    wanted = [trial for trial in trials if trial.noise in tuned_noises(bench.name, plan)]
    if not wanted:
        return []
    found = []
    total = len(wanted) * plan.tuned_seeds * len(TUNED)
    with progress(f"{bench.name}: fine-tuning", total=total) as advance:
        tuner = Tuner.of(
            bench, next(iter(site.models.values())), folder=site.run / CELLS, advance=advance
        )
        train = TRAINS[bench.name]
        for trial in wanted:
            seeded = list(zip(plan.seeds, trial.outcomes, strict=True))[: plan.tuned_seeds]
            outcomes = [tuned_outcome(tuner, one, train=train, seed=seed) for seed, one in seeded]
            found.append(replace(trial, outcomes=outcomes, weights=FINE_TUNED))
    return found


def _identity(bench: Bench, plan: StudyPlan, *, site: Site) -> dict[str, Any]:
    """Return what every cell of heads depends on."""
    return {
        **bench_identity(bench),
        "models": {label: model_identity(model) for label, model in site.models.items()},
        "vote": plan.vote.identity(),
        "num_trusted": plan.num_trusted,
    }


def _add(report: dict[str, Any], trial: Trial) -> None:
    report["training"] += training_rows(trial)
    if trial.weights == FINE_TUNED:
        return
    report["noises"].append(noise_row(trial))
    report["detection"] += detection_rows(trial)
    report["contrasts"] += contrast_rows(trial)
    report["calibration"] += calibration_rows(trial)
    pooled = pooled_chances(trial)
    if trial.noise.kind == "votes" and pooled is not None:
        report["reliability"] += [trial.where | row for row in _reliability(*pooled)]


def _reliability(chance_N: Floats, wrong_N: NDArray[np.bool_]) -> list[Row]:
    order_N = np.argsort(chance_N, kind="stable")
    return [
        {
            "predicted": float(chance_N[some].mean()),
            "happened": float(wrong_N[some].mean()),
            "num_pairs": len(some),
        }
        for some in np.array_split(order_N, NUM_BINS)
    ]


def _longer(bench: Bench) -> Row:
    credit_M = pair_credit(length_delta(bench.test))
    found = cluster_bootstrap(credit_M, clusters=bench.test_clusters, seed=0)
    interval = {"value": found.value, "low": found.low, "high": found.high}
    return {"bench": bench.name, "name": "always the longer", "accuracy": interval}
