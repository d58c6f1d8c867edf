"""What all arms of the shift study are trained and measured with: judges, answers, texts, states.

What is sampled, judged and read is kept under the run directory, and found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedModel

from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import trunk_layers
from tamis.models.rows.memory import StateMemory, remember_states, unread_texts
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.studies.noise import Site
from tamis.studies.outcome import model_identity
from tamis.studies.shift.cells import Lab
from tamis.studies.shift.levels import META, Judges, fit_judges, sample_levels, shifted_levels
from tamis.studies.shift.material import Material, read_material
from tamis.studies.shift.plan import JUDGE, POLICY, TRAINED, ShiftPlan
from tamis.studies.shift.records import Level
from tamis.studies.shift.texts import Ids, Texts, training_ids
from tamis.studies.workers import Work, Workers

SAMPLES, STATES, CELLS = "samples", "states", "cells"
CELL_FORM = 2  # raised where cells of an earlier version would be wrong
FEW = 500  # texts that one process reads alone


@dataclass(frozen=True, slots=True)
class Ready:
    """What all arms are trained and measured with."""

    lab: Lab
    levels: Sequence[Level]
    judges: Judges


def read_shift(plan: ShiftPlan, *, data: Path | None) -> Material:
    """Return all pairs of the study.

    Raises:
        ConfigError: a data set is not there.
    """
    return read_material(data, sizes=plan.sizes)


def ready(
    plan: ShiftPlan, material: Material, *, site: Site, workers: Workers | None = None
) -> Ready:
    """Train the judges, sample and read all that the arms are to be trained and measured on.

    Raises:
        ConfigError: a model is not there, or a process of ``workers`` was ended.
    """
    samples = site.run / SAMPLES
    work = Work.of(plan, site)
    if workers is not None and workers.num > 1 and not (samples / META).is_file():
        site.notice("training judges and sampling answers")
        workers.each(partial(prepare, work), ("judges", "answers"))
    judges = fit_judges(material, model=site.models[JUDGE], folder=samples, data=site.data)
    levels, responses = shifted_levels(
        material, model=site.models[POLICY], judges=judges, folder=samples
    )
    texts = Texts.of(load_tokenizer(site.models[TRAINED]), sets=material.sets, levels=levels)
    lab = make_lab(plan, material, texts=texts, responses=responses, site=site, workers=workers)
    return Ready(lab, levels, judges)


def make_lab(
    plan: ShiftPlan,
    material: Material,
    *,
    texts: Texts,
    responses: Path,
    site: Site,
    workers: Workers | None = None,
    cells: str = CELLS,
) -> Lab:
    """Read what is scored and trained on, and return what trains arms and scores with them.

    Args:
        plan: of the study.
        material: what training pairs are drawn from.
        texts: what is scored.
        responses: file of the shifted policy's answers.
        site: where it works.
        workers: processes that read, where there are several.
        cells: folder of the run in which cells are kept.

    Raises:
        ConfigError: a model is not there, or a process of ``workers`` was ended.
    """
    model = site.models[TRAINED]
    pairs = [pair for seed in plan.seeds for pair in material.train(seed)]
    trained = training_ids(load_tokenizer(model), pairs, responses=responses)
    sequences = list(dict.fromkeys([*texts.sequences, *trained]))
    site.notice(f"reading {len(sequences):,} texts, those alone that were not read before")
    if workers is not None and workers.num > 1:
        _read_apart(Work.of(plan, site), sequences, workers=workers)
    return Lab(
        plan=plan,
        model=model,
        texts=texts,
        memory=remember(sequences, plan=plan, model=model, folder=site.run / STATES),
        responses=responses,
        draw=material.train,
        folder=site.run / cells,
        identity=_identity(model, material, texts=texts, responses=responses),
    )


def prepare(work: Work[ShiftPlan], what: Literal["judges", "answers"]) -> None:
    """Compute what `ready` finds then: features and heads of the judges, or all answers."""
    material, folder = read_shift(work.plan, data=work.data), work.run / SAMPLES
    if what == "judges":
        fit_judges(material, model=work.models[JUDGE], folder=folder, data=work.data)
    else:
        sample_levels(material, model=work.models[POLICY], folder=folder)


def remember(
    sequences: Sequence[Ids], *, plan: ShiftPlan, model: ModelConfig, folder: Path
) -> StateMemory:
    """Return the states of texts below the trained layers."""
    trunk, first = _trunk(plan, model)
    return remember_states(trunk, sequences, first=first, folder=folder)


def read(work: Work[ShiftPlan], sequences: Sequence[Ids]) -> None:
    """Compute the states of some texts, which `remember` finds then."""
    remember(sequences, plan=work.plan, model=work.models[TRAINED], folder=work.run / STATES)


def _read_apart(work: Work[ShiftPlan], sequences: Sequence[Ids], *, workers: Workers) -> None:
    """Let each process read a run of the texts that nobody has read, if they are many."""
    trunk, first = _trunk(work.plan, work.models[TRAINED])
    left = unread_texts(trunk, sequences, first=first, folder=work.run / STATES)
    if len(left) > FEW:
        ends = np.linspace(0, len(left), workers.num + 1).astype(int)
        runs = [left[start:end] for start, end in pairwise(ends.tolist())]
        workers.each(partial(read, work), runs)


def _trunk(plan: ShiftPlan, model: ModelConfig) -> tuple[PreTrainedModel, int]:
    """Return what reads texts, and the first of the trained layers.

    Frozen layers are read as others are: in bfloat16 where training is.
    """
    dtype = "bfloat16" if plan.train.compute.autocast == "bfloat16" else model.dtype
    reader = model.model_copy(update={"dtype": dtype})
    tokenizer = load_tokenizer(model)
    trunk = load_reward_model(reader, seed=0, pad_token_id=pad_id_of(tokenizer))
    choose_rows(trunk, max_length=int(tokenizer.model_max_length))
    return trunk, len(trunk_layers(trunk)) - (plan.train.lora.top_layers or 0)


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
