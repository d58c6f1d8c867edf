"""The shift study: all arms under all seeds, in distribution, out of it and under a shifted policy.

What is sampled, read, trained and scored is kept under the run directory: a study that was killed
goes on where it stopped, and a larger tier uses what a smaller one has computed. What takes long is
spread over processes (`tamis.studies.workers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tamis.runs import progress
from tamis.studies.noise import Site
from tamis.studies.shift.arms import COMBINED, Arm, arm_of
from tamis.studies.shift.cells import Lab
from tamis.studies.shift.figures import build_report
from tamis.studies.shift.levels import judge_accuracy, judge_likeness
from tamis.studies.shift.material import Material
from tamis.studies.shift.plan import ShiftPlan
from tamis.studies.shift.ready import read_shift, ready
from tamis.studies.workers import Work, Workers

RECOMMENDED = COMBINED


def run_shift_study(plan: ShiftPlan, material: Material, *, site: Site) -> dict[str, Any]:
    """Run all cells and return the report, JSON-safe; see `results_table` for the bare values.

    Raises:
        ConfigError: a model is not there, a training diverged, or a process was ended.
    """
    with Workers() as workers:
        made = ready(plan, material, site=site, workers=workers)
        lab, levels, judges = made.lab, made.levels, made.judges
        cells = [(seed, arm_of(name)) for seed in plan.seeds for name in plan.arms]
        compute(lab, cells, lab_of=partial(_lab, Work.of(plan, site)), workers=workers)
    for seed in plan.seeds:
        lab.forget(seed=seed)
    scores = {
        name: [lab.scores(arm_of(name), seed=seed) for seed in plan.seeds] for name in plan.arms
    }
    arms = [arm_of(name) for name in plan.arms]
    found = build_report(
        material.sets,
        {one.name: material.clusters(one) for one in material.sets},
        levels=levels,
        scores=scores,
        seeds=plan.seeds,
        recommended=RECOMMENDED,
    )
    accuracy = judge_accuracy(material, judges=judges, data=site.data)
    sizes = ", ".join(f"{one.name} {len(one.pairs):,}" for one in material.sets)
    found["notes"].append(f"Pairs of each test set: {sizes}.")
    found["notes"].append(_of_judges(accuracy, judge_likeness(levels, judges=judges)))
    return {
        "study": "shift",
        "tier": plan.tier,
        "seeds": list(plan.seeds),
        "models": list(site.models),
        "num_train": plan.sizes.num_train,
        "num_pool": plan.sizes.num_pool,
        "meta_ratio": plan.meta_ratio,
        "arms": [{"name": arm.name, "title": arm.title, "what": arm.what} for arm in arms],
        "recommended": RECOMMENDED,
        **found,
    }


def _of_judges(accuracy: Mapping[str, Mapping[str, float]], likeness: Mapping[str, float]) -> str:
    reached = [
        f"{name} " + ", ".join(f"{100 * value:.1f}% ({title})" for title, value in of.items())
        for name, of in accuracy.items()
    ]
    alike = " and ".join(f"{value:.2f} with {name}" for name, value in likeness.items())
    return (
        f"Accuracy of the judges on held-out pairs: {'; '.join(reached)}. Gold rewards of the "
        f"answers to one prompt at temperature 1 correlate by {alike}."
    )


def compute(
    lab: Lab,
    cells: Iterable[tuple[int, Arm]],
    *,
    lab_of: Callable[[], Lab],
    workers: Workers,
) -> None:
    """Train and score the cells that are not there; those of several models begin first.

    Args:
        lab: of this process.
        cells: seeds and arms.
        lab_of: gives a process its own; a function of a module, or a `functools.partial` of one.
        workers: who computes.

    Raises:
        ConfigError: a training diverged, or a process was ended.
    """
    paths = {lab.path(arm, seed=seed): (seed, arm) for seed, arm in cells}
    left = [cell for path, cell in paths.items() if not path.is_file()]
    left.sort(key=lambda cell: cell[1].how == "one")
    own = lab_of if workers.num > 1 else lambda: lab
    with progress("cells", total=len(left)) as advance:
        # two processes must not train the same probe
        workers.each(partial(_probe, own), sorted({seed for seed, _ in left}))
        workers.each(partial(_cell, own), left, advance=advance)


_labs: dict[Path, Lab] = {}  # of a process of `Workers`, by run directory


def _lab(work: Work[ShiftPlan]) -> Lab:
    if work.run not in _labs:
        material = read_shift(work.plan, data=work.data)
        _labs[work.run] = ready(work.plan, material, site=work.site()).lab
    return _labs[work.run]


def _probe(lab_of: Callable[[], Lab], seed: int) -> None:
    lab_of().probe(seed=seed)


def _cell(lab_of: Callable[[], Lab], cell: tuple[int, Arm]) -> None:
    seed, arm = cell
    lab_of().scores(arm, seed=seed)
