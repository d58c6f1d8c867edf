"""The shift study: all arms under all seeds, in distribution, out of it and under a shifted policy.

What is sampled, read, trained and scored is kept under the run directory: a study that was killed
goes on where it stopped, and a larger tier uses what a smaller one has computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tamis.data.responses import read_responses
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.responses import encode_responses
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import trunk_layers
from tamis.models.rows.memory import StateMemory, remember_states
from tamis.models.score import pair_sequences
from tamis.models.source import locate
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.runs import fingerprint, progress
from tamis.studies.noise import Site
from tamis.studies.plan import in_words
from tamis.studies.shift.arms import COMBINED, arm_of
from tamis.studies.shift.cells import Lab
from tamis.studies.shift.figures import build_report
from tamis.studies.shift.levels import Shifts, fit_judges, judge_accuracy, shifted_levels
from tamis.studies.shift.material import Material, read_material
from tamis.studies.shift.plan import JUDGE, POLICY, TRAINED, ShiftPlan
from tamis.studies.shift.records import Scores
from tamis.studies.shift.texts import Ids, Texts

SAMPLES, STATES, CELLS = "samples", "states", "cells"
CELL_FORM = 1  # raised where cells of an earlier version would be wrong
# seconds on two cores: a token sampled, a text read by the judge, a token by the frozen layers, a
# training pair, and a token that is scored
SAMPLE_S, JUDGE_S, READ_S, TRAIN_S, SCORE_S = 4e-3, 0.012, 2.5e-4, 0.04, 6e-5
TOKENS = 130  # of a text that a trained model reads, beside what it shares with others
RECOMMENDED = COMBINED


def read_shift(plan: ShiftPlan, *, data: Path | None) -> Material:
    """Return all pairs of the study.

    Raises:
        ConfigError: a data set is not there.
    """
    return read_material(
        data,
        num_train=plan.num_train,
        per_set=plan.per_set,
        num_prompts=plan.num_prompts,
        num_meta=plan.num_meta,
    )


def shift_estimate(material: Material, plan: ShiftPlan) -> str:
    """Say how long the study takes at most, on two cores."""
    shifts = Shifts()
    most = max(shifts.best)
    sampled = plan.num_prompts * shifts.num * (most + len(shifts.temperatures))
    sampled += plan.num_meta * shifts.num * shifts.meta_best
    texts = 2 * sum(len(one.pairs) for one in material.sets) + sampled
    trained = 2 * plan.num_train * len(plan.seeds)
    hows = [arm_of(name).how for name in plan.arms]
    of_seed = hows.count("one") + any(how != "one" for how in hows) * (plan.warm.num_members + 1)
    cells = len(plan.seeds) * of_seed
    samples = sampled * shifts.max_new_tokens * SAMPLE_S
    judge = 2 * (min(len(material.pool), plan.num_hh) + plan.num_graded) * JUDGE_S
    reading = (texts + trained) * TOKENS * READ_S
    training = cells * (plan.num_train * plan.train.epochs * TRAIN_S + texts * TOKENS * SCORE_S)
    return (
        f"estimate on two cores: {in_words(samples + judge + reading + training)} (sampling "
        f"{in_words(samples)}, judges {in_words(judge)}, reading texts {in_words(reading)}, "
        f"training and scoring {in_words(training)})"
    )


def run_shift_study(plan: ShiftPlan, material: Material, *, site: Site) -> dict[str, Any]:
    """Run all cells and return the report, JSON-safe; see `results_table` for the bare values."""
    samples, shifts = site.run / SAMPLES, _shifts(plan)
    judges = fit_judges(site.data, model=site.models[JUDGE], folder=samples, shifts=shifts)
    levels, responses = shifted_levels(
        material,
        model=site.models[POLICY],
        judges=judges,
        folder=samples,
        shifts=shifts,
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
    scores: dict[str, list[Scores]] = {name: [] for name in plan.arms}
    with progress("cells", total=len(plan.arms) * len(plan.seeds)) as advance:
        for seed in plan.seeds:
            for name in plan.arms:
                scores[name].append(lab.scores(arm_of(name), seed=seed))
                advance(1)
    arms = [arm_of(name) for name in plan.arms]
    found = build_report(
        material.sets,
        {one.name: material.clusters(one) for one in material.sets},
        levels=levels,
        scores=scores,
        seeds=plan.seeds,
        recommended=RECOMMENDED,
    )
    found["notes"].append(_of_judges(judge_accuracy(material, judges=judges, data=site.data)))
    return {
        "study": "shift",
        "tier": plan.tier,
        "seeds": list(plan.seeds),
        "models": list(site.models),
        "num_train": plan.num_train,
        "arms": [{"name": arm.name, "title": arm.title, "what": arm.what} for arm in arms],
        "recommended": RECOMMENDED,
        **found,
    }


def _shifts(plan: ShiftPlan) -> Shifts:
    return Shifts(num_hh=plan.num_hh, num_graded=plan.num_graded)


def _of_judges(accuracy: Mapping[str, Mapping[str, float]]) -> str:
    reached = [
        f"{name} " + ", ".join(f"{100 * value:.1f}% ({title})" for title, value in of.items())
        for name, of in accuracy.items()
    ]
    return f"Accuracy of the judges on held-out pairs: {'; '.join(reached)}."


def _memory(
    plan: ShiftPlan, material: Material, *, texts: Texts, responses: Path, site: Site
) -> StateMemory:
    """Return the states below the trained layers of all that is scored and trained on."""
    config = site.models[TRAINED]
    tokenizer = load_tokenizer(config)
    max_length = int(tokenizer.model_max_length)
    sequences: dict[Ids, None] = dict.fromkeys(texts.sequences)
    for seed in plan.seeds:
        rows, _ = pair_sequences(tokenizer, material.train(seed), max_length=max_length)
        sequences.update(dict.fromkeys(tuple(ids) for ids in rows))
    sampled = [(item.prompt, list(item.responses)) for item in read_responses(str(responses))]
    for encoded in encode_responses(tokenizer, sampled, max_length=max_length):
        sequences.update(dict.fromkeys(tuple(ids) for ids in encoded.sequences))
    site.notice(f"reading {len(sequences):,} texts")
    model = load_reward_model(config, seed=0, pad_token_id=pad_id_of(tokenizer))
    choose_rows(model, max_length=max_length)
    first = len(trunk_layers(model)) - (plan.train.lora.top_layers or 0)
    return remember_states(model, list(sequences), first=first, folder=site.run / STATES)


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
        "num_train": material.num_train,
        "responses": hashlib.sha256(responses.read_bytes()).hexdigest(),
        "model": {
            **model.model_dump(exclude={"path"}),
            "weights": fingerprint(Path(locate(model.path))),
        },
    }
