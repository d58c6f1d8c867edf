"""The over-optimisation study: sample once, judge, train proxies, and pick by them.

What is sampled, read, trained and scored is kept under the run directory: a study that was killed
goes on where it stopped.

Shape legend: S seeds, P prompts, K answers to each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.metrics import length_delta, pair_credit
from tamis.policy.sampling.responses import texts_of
from tamis.runs import progress
from tamis.studies.judges import Judge, fit_judge
from tamis.studies.noise import Site
from tamis.studies.outcome import model_identity
from tamis.studies.overoptimise.arms import RAW, arm_of
from tamis.studies.overoptimise.cells import Lab
from tamis.studies.overoptimise.curves import Floats, ordered_share
from tamis.studies.overoptimise.figures import best_of_report
from tamis.studies.overoptimise.labels import Labeller
from tamis.studies.overoptimise.looks import Reinforce, RLTask, rl_rows
from tamis.studies.overoptimise.material import Material, prompts_of
from tamis.studies.overoptimise.plan import GOLD, POLICY, PROXY, OverPlan, RLPlan
from tamis.studies.overoptimise.pools import Pools, preferences, sample_pools
from tamis.types import Pair

SAMPLES, FEATURES, CELLS, RL = "samples", "features", "cells", "rl"
CELL_FORM = 2  # raised where cells of an earlier version would be wrong
SEED = 0


def run_over_study(
    plan: OverPlan, material: Material, *, site: Site, reinforcing: Reinforce | None = None
) -> dict[str, Any]:
    """Run all cells and return the report, JSON-safe; see `results_table` for the bare values.

    ``reinforcing`` runs one RL run in place of `Reinforcer`.
    """
    site.notice("gold judge")
    cache = site.run / FEATURES
    gold = fit_judge(material.gold_train, model=site.models[GOLD], cache=cache, seed=SEED)
    accuracy = [_gold_row(name, pairs, gold) for name, pairs in material.gold_test.items()]
    site.notice("answers of the policy")
    pools = sample_pools(
        material,
        policy=site.models[POLICY],
        gold=gold,
        plan=plan.pools,
        folder=site.run / SAMPLES,
    )
    truth = preferences(pools.train, pools.train_gold_PK)
    model = site.models[PROXY]
    lab = Lab(
        plan=plan,
        model=model,
        labeller=Labeller.of(truth, model=model, plan=plan, cache=cache),
        pools=pools,
        folder=site.run / CELLS,
        identity=_identity(site, truth, pools=pools),
    )
    scores = _scores(lab, plan)
    arms = [arm_of(name) for name in plan.arms]
    if plan.rl is not None and reinforcing is None:
        reinforcing = _reinforcer(plan.rl, material, gold=gold, pools=pools, site=site)
    return {
        "study": "overoptimise",
        "tier": plan.tier,
        "seeds": list(plan.seeds),
        "models": list(site.models),
        "num_train": len(truth),
        "num_prompts": len(pools.held_out),
        "num_answers": plan.pools.num_best,
        "noise": plan.noise,
        "wrong_frac": plan.wrong_frac,
        "arms": [{"name": a.name, "title": a.title, "what": a.what, "kind": a.kind} for a in arms],
        "gold": accuracy,
        "labels": _label_rows(lab, plan),
        **best_of_report(arms, scores, gold_PK=pools.gold_PK),
        "rl": [] if reinforcing is None else _rl(lab, plan, site=site, reinforcing=reinforcing),
        "notes": _notes(plan, pools=pools, truth=truth),
    }


def _scores(lab: Lab, plan: OverPlan) -> dict[str, Floats]:
    scores: dict[str, list[Floats]] = {name: [] for name in plan.arms}
    with progress("cells", total=len(plan.arms) * len(plan.seeds)) as advance:
        for seed in plan.seeds:
            for name in plan.arms:
                scores[name].append(lab.scores(arm_of(name), seed=seed))
                advance(1)
            lab.forget(seed=seed)
    return {name: np.stack(of_seeds) for name, of_seeds in scores.items()}


def _gold_row(name: str, pairs: Sequence[Pair], gold: Judge) -> dict[str, Any]:
    """Tell how often the gold judge is right on pairs it has not seen, and how often the longer."""
    longer = float(pair_credit(length_delta(pairs)).mean())
    return {
        "data": name,
        "num_pairs": len(pairs),
        "accuracy": gold.accuracy(pairs),
        "longer": longer,
    }


def _label_rows(lab: Lab, plan: OverPlan) -> list[dict[str, Any]]:
    """Tell which share of the weight in training lies on wrong labels, before and after."""
    rows = []
    for kind in ("given", "denoised"):
        on_wrong = [
            lab.labeller.labels(kind, seed=seed).weight_on(lab.labeller.drawn(seed).wrong_N)
            for seed in plan.seeds
        ]
        rows.append({"labels": kind, "weight_on_wrong": on_wrong})
    return rows


def _reinforcer(
    rl: RLPlan, material: Material, *, gold: Judge, pools: Pools, site: Site
) -> Reinforce:
    """Return what runs one RL run, on prompts that no proxy was trained on."""
    from tamis.studies.overoptimise.rl import Reinforcer  # needs TRL, which best of n does not

    return Reinforcer(
        policy=site.models[POLICY].model_copy(update={"dtype": "float32"}),
        prompts=prompts_of([*material.held_out, *material.meta]),
        gold=gold,
        gold_std=pools.gold_std,
        plan=rl,
    )


def _rl(lab: Lab, plan: OverPlan, *, site: Site, reinforcing: Reinforce) -> list[dict[str, Any]]:
    if plan.rl is None:
        return []
    names = sorted(plan.rl.arms, key=lambda name: name != RAW)  # what others are held against
    looks: dict[str, list[Any]] = {name: [] for name in names}
    settings = hashlib.sha256(plan.rl.model_dump_json().encode()).hexdigest()[:12]
    with progress("reinforcement learning", total=len(names) * len(plan.seeds)) as advance:
        for seed in plan.seeds:
            for name in names:
                proxy = lab.checkpoint(arm_of(name), seed=seed)
                folder = site.run / RL / f"{proxy.stem}-{settings}"
                looks[name].append(reinforcing(RLTask(proxy, seed, folder)))
                advance(1)
            lab.forget(seed=seed)
    return rl_rows(looks)


def _notes(plan: OverPlan, *, pools: Pools, truth: Sequence[Pair]) -> list[str]:
    notes = []
    if len(plan.seeds) == 1:
        notes.append("With one seed, no interval and no p-value knows how much seeds differ.")
    num_even = len(pools.train) * plan.pools.per_prompt // 2 - len(truth)
    if num_even:
        notes.append(
            f"{num_even:,} pairs of answers for training were equal, or of equal gold, and are "
            "left out."
        )
    texts = texts_of(pools.held_out)
    length_PK = np.array([len(text) for text in texts], np.float64).reshape(pools.gold_PK.shape)
    longer = float(ordered_share(length_PK, pools.gold_PK).mean())
    notes.append(f"Of two answers to a held-out prompt, gold likes the longer in {longer:.1%}.")
    cut = [not ended for one in pools.held_out for ended in one.finished or ()]
    if cut:
        notes.append(f"{np.mean(cut):.1%} of the answers of the pool were cut at the most tokens.")
    of_prompt = np.array(texts, dtype=object).reshape(len(pools.held_out), -1)
    num_equal = sum(len(row) - len(set(row)) for row in of_prompt.tolist())
    if num_equal:
        notes.append(
            f"{num_equal:,} of {len(texts):,} answers of the pool repeat one to the same prompt; "
            "the KL told is that of answers without equals, which it is at most."
        )
    return notes


def _identity(site: Site, truth: Sequence[Pair], *, pools: Pools) -> Mapping[str, Any]:
    """Return what every cell depends on beside its own settings."""
    digest = hashlib.sha256()
    for text in (*(pair.id for pair in truth), *texts_of([*pools.held_out, *pools.meta])):
        digest.update(f"{text}\n".encode())
    model = site.models[PROXY]
    return {
        "study": "overoptimise",
        "form": CELL_FORM,
        "texts": digest.hexdigest(),
        "model": model_identity(model),
    }
