"""Which methods the shift study combines, chosen on training pairs of data sets that it has not.

Run with `make bench-methods`. Each method is trained as in the study, under seeds of its own, and
judged on training pairs of HH-RLHF that no seed draws and on training pairs of five data sets that
are no test set of the study. What has the highest mean accuracy over these five is then combined
with each other method, and the best of these combinations is the one to recommend. Printed are
accuracies and differences to plain training, with the standard error over seeds; last the figures
as JSON. What was trained is kept in the folder ``--run``; samples and states there are the study's,
and MetaRM reads the answers of the default tier, whichever tier wrote its own there last.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tamis.errors import ConfigError
from tamis.models.tokenise import load_tokenizer
from tamis.runs.memory import keep_freed_memory
from tamis.studies.commands import MODELS
from tamis.studies.shift.arms import PLAIN, Arm, arm_of
from tamis.studies.shift.cells import Lab
from tamis.studies.shift.choose import METHODS, best, together, validated, validation_sets
from tamis.studies.shift.levels import META, fit_judges, shifted_levels
from tamis.studies.shift.material import Material
from tamis.studies.shift.measures import IN, OUT
from tamis.studies.shift.plan import JUDGE, POLICY, TRAINED, ShiftPlan, shift_models, shift_plan
from tamis.studies.shift.ready import SAMPLES, make_lab, read_shift
from tamis.studies.shift.records import TestSet
from tamis.studies.shift.run import compute
from tamis.studies.shift.texts import Texts
from tamis.studies.workers import Work, Workers

KEPT, FIRST_SEED = "methods", 10
NUM_LIKE, NUM_UNLIKE = 400, 100

Found = dict[str, float]


def main() -> None:
    """Train each method alone, then the best with each other one, and print the accuracies."""
    options = _options()
    keep_freed_memory()
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + options.seeds))
    plan = shift_plan("default").model_copy(update={"seeds": seeds})
    models = shift_models(plan, folder=options.run / MODELS)
    work = Work(plan, options.run, options.data, models)
    material = read_shift(plan, data=options.data)
    write_answers(work, material)
    lab, sets = _made(work, material)
    print(", ".join(f"{one.name} {len(one.pairs)} pairs" for one in sets), flush=True)
    figures: dict[str, list[Found]] = {}

    def measure(arms: Sequence[Arm]) -> dict[str, list[Found]]:
        cells = [(seed, arm) for arm in arms for seed in seeds]
        with Workers() as workers:
            compute(lab, cells, lab_of=partial(_lab, work), workers=workers)
        found = {
            arm.name: [validated(lab.scores(arm, seed=seed), sets) for seed in seeds]
            for arm in arms
        }
        figures.update(found)
        for name in found:
            print(_line(name, figures), flush=True)
        return found

    measure([arm_of(PLAIN)])
    alone = best(measure([arm_of(name) for name in METHODS]))
    pairs = [_both(alone, name) for name in METHODS if name != alone]
    chosen = best(measure([arm for arm in pairs if arm is not None]))
    print(f"best alone: {alone}; to recommend: {chosen}")
    for seed in seeds:
        lab.forget(seed=seed)
    print(json.dumps(figures))


def write_answers(work: Work[ShiftPlan], material: Material) -> None:
    """Write what MetaRM reads, whatever is there: each tier of the study has prompts of its own.

    What was sampled once is not sampled again.
    """
    samples = work.run / SAMPLES
    judges = fit_judges(material, model=work.models[JUDGE], folder=samples, data=work.data)
    shifted_levels(material, model=work.models[POLICY], judges=judges, folder=samples)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the preference files")
    parser.add_argument("--run", type=Path, default=Path("runs/shift"), help="folder of the study")
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


def _both(first: str, second: str) -> Arm | None:
    try:
        return together(arm_of(first), arm_of(second))
    except ConfigError:  # two forms of one method
        return None


def _made(work: Work[ShiftPlan], material: Material) -> tuple[Lab, list[TestSet]]:
    sets = validation_sets(material, work.data, num_like=NUM_LIKE, num_unlike=NUM_UNLIKE)
    texts = Texts.of(load_tokenizer(work.models[TRAINED]), sets=sets, levels=[])
    responses, site = work.run / SAMPLES / META, work.site()
    lab = make_lab(work.plan, material, texts=texts, responses=responses, site=site, cells=KEPT)
    return lab, sets


_labs: dict[Path, Lab] = {}  # of a process of `Workers`


def _lab(work: Work[ShiftPlan]) -> Lab:
    if work.run not in _labs:
        _labs[work.run], _ = _made(work, read_shift(work.plan, data=work.data))
    return _labs[work.run]


def _line(name: str, figures: dict[str, list[Found]]) -> str:
    """Return a row: each mean, and its difference to plain training."""
    parts = [f"{name:<28}"]
    for key in (IN, OUT):
        value_S = np.array([one[key] for one in figures[name]])
        gap_S = value_S - [one[key] for one in figures[PLAIN]]
        error = np.std(gap_S, ddof=1) / np.sqrt(len(gap_S)) if len(gap_S) > 1 else float("nan")
        told = "" if name == PLAIN else f" ({100 * gap_S.mean():+.1f}, error {100 * error:.1f})"
        parts.append(f"{key} {100 * value_S.mean():.1f}%{told}")
    return "  ".join(parts)


if __name__ == "__main__":
    main()
