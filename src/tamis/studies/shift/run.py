"""The shift study: all arms under all seeds, in distribution, out of it and under a shifted policy.

What is sampled, read, trained and scored is kept under the run directory: a study that was killed
goes on where it stopped, and a larger tier uses what a smaller one has computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import trunk_layers
from tamis.models.rows.memory import StateMemory, remember_states
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.runs import progress
from tamis.studies.noise import Site
from tamis.studies.outcome import model_identity
from tamis.studies.shift.arms import COMBINED, arm_of
from tamis.studies.shift.cells import Lab
from tamis.studies.shift.figures import build_report
from tamis.studies.shift.levels import (
    Judges,
    fit_judges,
    judge_accuracy,
    judge_likeness,
    shifted_levels,
)
from tamis.studies.shift.material import Material, read_material
from tamis.studies.shift.plan import JUDGE, POLICY, TRAINED, ShiftPlan
from tamis.studies.shift.records import Level, Scores
from tamis.studies.shift.texts import Ids, Texts, training_ids

SAMPLES, STATES, CELLS = "samples", "states", "cells"
CELL_FORM = 2  # raised where cells of an earlier version would be wrong
RECOMMENDED = COMBINED


def read_shift(plan: ShiftPlan, *, data: Path | None) -> Material:
    """Return all pairs of the study.

    Raises:
        ConfigError: a data set is not there.
    """
    return read_material(data, sizes=plan.sizes)


@dataclass(frozen=True, slots=True)
class Ready:
    """What all arms are trained and measured with."""

    lab: Lab
    levels: Sequence[Level]
    judges: Judges


def ready(plan: ShiftPlan, material: Material, *, site: Site) -> Ready:
    """Train the judges, sample and read all that the arms are to be trained and measured on."""
    samples = site.run / SAMPLES
    judges = fit_judges(material, model=site.models[JUDGE], folder=samples, data=site.data)
    levels, responses = shifted_levels(
        material, model=site.models[POLICY], judges=judges, folder=samples
    )
    model = site.models[TRAINED]
    texts = Texts.of(load_tokenizer(model), sets=material.sets, levels=levels)
    lab = Lab(
        plan=plan,
        model=model,
        texts=texts,
        memory=_memory(plan, material, texts=texts, responses=responses, site=site),
        responses=responses,
        draw=material.train,
        folder=site.run / CELLS,
        identity=_identity(model, material, texts=texts, responses=responses),
    )
    return Ready(lab, levels, judges)


def run_shift_study(plan: ShiftPlan, material: Material, *, site: Site) -> dict[str, Any]:
    """Run all cells and return the report, JSON-safe; see `results_table` for the bare values."""
    made = ready(plan, material, site=site)
    lab, levels, judges = made.lab, made.levels, made.judges
    scores: dict[str, list[Scores]] = {name: [] for name in plan.arms}
    with progress("cells", total=len(plan.arms) * len(plan.seeds)) as advance:
        for seed in plan.seeds:
            for name in plan.arms:
                scores[name].append(lab.scores(arm_of(name), seed=seed))
                advance(1)
            lab.forget(seed=seed)
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
    found["notes"].append(_of_judges(accuracy, judge_likeness(levels, judges=judges)))
    return {
        "study": "shift",
        "tier": plan.tier,
        "seeds": list(plan.seeds),
        "models": list(site.models),
        "num_train": plan.sizes.num_train,
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


def remember(
    sequences: Sequence[Ids], *, plan: ShiftPlan, model: ModelConfig, folder: Path
) -> StateMemory:
    """Return the states of texts below the trained layers; frozen layers are read as others are.

    That is in bfloat16 where training is.
    """
    dtype = "bfloat16" if plan.train.compute.autocast == "bfloat16" else model.dtype
    reader = model.model_copy(update={"dtype": dtype})
    tokenizer = load_tokenizer(model)
    trunk = load_reward_model(reader, seed=0, pad_token_id=pad_id_of(tokenizer))
    choose_rows(trunk, max_length=int(tokenizer.model_max_length))
    first = len(trunk_layers(trunk)) - (plan.train.lora.top_layers or 0)
    return remember_states(trunk, sequences, first=first, folder=folder)


def _memory(
    plan: ShiftPlan, material: Material, *, texts: Texts, responses: Path, site: Site
) -> StateMemory:
    """Return the states of all that is scored and trained on."""
    model = site.models[TRAINED]
    pairs = [pair for seed in plan.seeds for pair in material.train(seed)]
    trained = training_ids(load_tokenizer(model), pairs, responses=responses)
    sequences = list(dict.fromkeys([*texts.sequences, *trained]))
    site.notice(f"reading {len(sequences):,} texts, those alone that were not read before")
    return remember(sequences, plan=plan, model=model, folder=site.run / STATES)


def _identity(
    model: ModelConfig, material: Material, *, texts: Texts, responses: Path
) -> dict[str, Any]:
    """Return what every cell depends on beside its own settings."""
    digest = hashlib.sha256()
    for pair in material.pool:
        digest.update(f"{pair.id}\n".encode())
    for ids in texts.sequences:
        digest.update(f"{ids}\n".encode())
    return {
        "study": "shift",
        "form": CELL_FORM,
        "texts": digest.hexdigest(),
        "drawn": material.sizes.model_dump(include={"num_train", "num_pool", "num_meta"}),
        "responses": hashlib.sha256(responses.read_bytes()).hexdigest(),
        "model": model_identity(model),
    }
