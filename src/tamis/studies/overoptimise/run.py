"""The over-optimisation study: sample once, judge, train proxies, and pick by them.

What is sampled, read, trained and scored is kept under the run directory: a study that was killed
goes on where it stopped. What takes long is spread over processes (`tamis.studies.workers`).

Shape legend: S seeds, P prompts, K answers to each.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tamis.data.build import prompt_hash
from tamis.errors import ConfigError
from tamis.metrics import cluster_bootstrap, cluster_ids, length_delta, pair_credit
from tamis.policy.sampling.responses import texts_of
from tamis.runs import progress
from tamis.studies.judges import Judge
from tamis.studies.noise import Site
from tamis.studies.outcome import model_identity
from tamis.studies.overoptimise.arms import RAW, TRUSTED, Labels, arm_of
from tamis.studies.overoptimise.cells import Lab, distinct_arms
from tamis.studies.overoptimise.curves import ordered_share
from tamis.studies.overoptimise.figures import best_of_report
from tamis.studies.overoptimise.looks import Reinforce, RLTask, rl_report
from tamis.studies.overoptimise.material import Material, prompts_of, read_over
from tamis.studies.overoptimise.plan import POLICY, OverPlan
from tamis.studies.overoptimise.pools import Pools
from tamis.studies.overoptimise.ready import ready
from tamis.studies.workers import Work, Workers
from tamis.types import Pair

RL = "rl"
RL_FORM = 2  # raised where looks of an earlier version would be wrong


def run_over_study(
    plan: OverPlan, material: Material, *, site: Site, reinforcing: Reinforce | None = None
) -> dict[str, Any]:
    """Run all cells and return the report, JSON-safe; see `results_table` for the bare values.

    ``reinforcing`` runs one RL run in place of `Reinforcer`.

    Raises:
        ConfigError: a model cannot be loaded, a training diverged, or TRL is missing where a policy
            is to be trained.
    """
    if plan.rl is not None and reinforcing is None and find_spec("trl") is None:
        raise ConfigError("the run of reinforcement learning needs trl: pip install 'tamis[trl]'")
    with Workers() as workers:
        made = ready(plan, material, site=site, workers=workers)
        lab, gold, pools, truth = made.lab, made.gold, made.pools, made.truth
        work = Work.of(plan, site)
        _compute(lab, work, workers=workers)
        if plan.rl is not None and reinforcing is None:
            reinforcing = _reinforcer(plan, material, gold=gold, site=site)
            if workers.num > 1:
                _reinforce_apart(work, reinforcing, pools, workers=workers)
    accuracy = [_gold_row(name, pairs, gold) for name, pairs in material.gold_test.items()]
    scores = {
        name: np.stack([lab.scores(arm_of(name), seed=seed) for seed in plan.seeds], axis=-3)
        for name in plan.arms
    }
    arms = [arm_of(name) for name in plan.arms]
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
        **_rl(lab, work, pools, reinforcing=reinforcing),
        "notes": _notes(plan, pools=pools, truth=truth),
    }


def _compute(lab: Lab, work: Work[OverPlan], *, workers: Workers) -> None:
    """Train and score all cells that are not there, in an order in which each finds what it needs.

    Probes come first, since two processes must not train the same one; then the raw proxies, whose
    best answers MetaRM reads.
    """
    plan, lab_of = work.plan, partial(_lab, work) if workers.num > 1 else lambda: lab
    cells = {(seed, arm.name): arm for seed in plan.seeds for arm in distinct_arms(plan)}
    left = {cell: arm for cell, arm in cells.items() if not lab.is_kept(arm, seed=cell[0])}
    starts = {(cell[0], arm.labels): cell for cell, arm in left.items()}
    is_raw = {cell: arm.name == RAW for cell, arm in left.items()}
    others = sorted((c for c in left if not is_raw[c]), key=lambda c: left[c].how == "one")
    with progress("cells", total=len(left)) as advance:
        workers.each(partial(_probe, lab_of), list(starts.values()))
        workers.each(partial(_cell, lab_of), [c for c in left if is_raw[c]], advance=advance)
        workers.each(partial(_cell, lab_of), others, advance=advance)
    for seed in plan.seeds:
        lab.forget(seed=seed)


_labs: dict[Path, Lab] = {}  # of a process of `Workers`, by run directory


def _lab(work: Work[OverPlan]) -> Lab:
    if work.run not in _labs:
        material = read_over(work.plan, data=work.data)
        _labs[work.run] = ready(work.plan, material, site=work.site()).lab
    return _labs[work.run]


def _probe(lab_of: Callable[[], Lab], cell: tuple[int, str]) -> None:
    seed, name = cell
    lab_of().probe(arm_of(name), seed=seed)


def _cell(lab_of: Callable[[], Lab], cell: tuple[int, str]) -> None:
    seed, name = cell
    lab_of().scores(arm_of(name), seed=seed)


def _gold_row(name: str, pairs: Sequence[Pair], gold: Judge) -> dict[str, Any]:
    """Tell how often the gold judge is right on pairs it has not seen, and how often the longer."""
    longer = float(pair_credit(length_delta(pairs)).mean())
    clusters = cluster_ids([pair.group for pair in pairs])
    right = cluster_bootstrap(gold.credit(pairs), clusters=clusters, seed=0)
    return {"data": name, "num_pairs": len(pairs), "accuracy": asdict(right), "longer": longer}


def _label_rows(lab: Lab, plan: OverPlan) -> list[dict[str, Any]]:
    """Tell what denoising did: the weight on wrong labels, and how far it moved what was given."""
    rows = []
    kinds: dict[Labels, None] = {"given": None, "denoised": None}
    kinds |= {arm_of(name).labels: None for name in plan.arms if name == TRUSTED}
    for kind in kinds:
        told = [lab.labeller.labels(kind, seed=seed) for seed in plan.seeds]
        wrong = [lab.labeller.drawn(seed).wrong_N for seed in plan.seeds]
        row = {
            "labels": kind,
            "weight_on_wrong": [one.weight_on(of) for one, of in zip(told, wrong, strict=True)],
            "noise_rate": [one.noise_rate for one in told],
            "largest_change": [one.largest_change() for one in told],
        }
        rows.append(row)
    return rows


def _reinforcer(plan: OverPlan, material: Material, *, gold: Judge, site: Site) -> Reinforce:
    """Return what runs one RL run: on the prompts of training and of MetaRM, never on others."""
    from tamis.studies.overoptimise.rl import Reinforcer  # needs TRL, which best of n does not

    assert plan.rl is not None
    return Reinforcer(
        policy=site.models[POLICY].model_copy(update={"dtype": "float32"}),
        prompts=prompts_of([*material.train, *material.meta]),
        held_out=prompts_of(material.held_out),
        gold=gold,
        max_new_tokens=plan.pools.max_new_tokens,
        plan=plan.rl,
    )


def _rl(
    lab: Lab, work: Work[OverPlan], pools: Pools, *, reinforcing: Reinforce | None
) -> dict[str, list[dict[str, Any]]]:
    plan = work.plan
    if plan.rl is None or reinforcing is None:
        return {"rl": [], "rl_figures": []}
    names = sorted(plan.rl.arms, key=lambda name: name != RAW)  # what others are held against
    looks: dict[str, list[Any]] = {name: [] for name in names}
    identity = _rl_identity(work, pools)
    with progress("reinforcement learning", total=len(names) * len(plan.seeds)) as advance:
        for seed in plan.seeds:
            for name in names:
                task = _rl_task(lab, (seed, name), folder=work.run / RL, identity=identity)
                looks[name].append(reinforcing(task))
                advance(1)
            lab.forget(seed=seed)
    return dict(rl_report(looks, gold_std=pools.gold_std))


def _rl_identity(work: Work[OverPlan], pools: Pools) -> str:
    """Return a hash of what all runs depend on beside proxy and seed."""
    answered = [*pools.train, *pools.meta, *pools.held_out]
    told = {
        "form": RL_FORM,
        "plan": None if work.plan.rl is None else work.plan.rl.model_dump(mode="json"),
        "max_new_tokens": work.plan.pools.max_new_tokens,
        "policy": model_identity(work.models[POLICY]),
        "prompts": [prompt_hash(one.prompt) for one in answered],
        "gold": [np.round(gold_PK, 3).tolist() for gold_PK in (pools.train_gold_PK, pools.gold_PK)],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _rl_task(lab: Lab, cell: tuple[int, str], *, folder: Path, identity: str) -> RLTask:
    """Return what one run is given; its proxy is trained for it."""
    seed, name = cell
    proxy = lab.checkpoint(arm_of(name), seed=seed)
    return RLTask(proxy, seed, folder / f"{proxy.stem}-{identity}")


def _reinforce_apart(
    work: Work[OverPlan], reinforcing: Reinforce, pools: Pools, *, workers: Workers
) -> None:
    """Let processes do the runs, whose looks are kept."""
    arms = () if work.plan.rl is None else work.plan.rl.arms
    cells = [(seed, name) for seed in work.plan.seeds for name in arms]
    one = partial(_reinforce, work, reinforcing, _rl_identity(work, pools))
    with progress("reinforcement learning", total=len(cells)) as advance:
        workers.each(one, cells, advance=advance)


def _reinforce(
    work: Work[OverPlan], reinforcing: Reinforce, identity: str, cell: tuple[int, str]
) -> None:
    reinforcing(_rl_task(_lab(work), cell, folder=work.run / RL, identity=identity))


def _notes(plan: OverPlan, *, pools: Pools, truth: Sequence[Pair]) -> list[str]:
    notes = []
    if len(plan.seeds) == 1:
        notes.append("With one seed, no interval and no p-value knows how much seeds differ.")
    num_even = len(pools.train) * math.comb(plan.pools.per_prompt, 2) - len(truth)
    if num_even:
        notes.append(
            f"{num_even:,} pairs of answers for training were equal, of equal gold, or there "
            "before, and are left out."
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
