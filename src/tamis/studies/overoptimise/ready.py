"""What all proxies of the over-optimisation study are trained on and pick from.

What is sampled and judged is kept under the run directory, and found again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tamis.policy.sampling.responses import texts_of
from tamis.policy.sampling.sample import BATCH_RESPONSES
from tamis.studies.judges import Judge, fit_judge, length_neutral
from tamis.studies.noise import Site
from tamis.studies.outcome import model_identity
from tamis.studies.overoptimise.cells import Lab
from tamis.studies.overoptimise.labels import Labeller
from tamis.studies.overoptimise.material import Material, read_over
from tamis.studies.overoptimise.plan import GOLD, POLICY, PROXY, OverPlan
from tamis.studies.overoptimise.pools import Pools, preferences, sample_answers, sample_pools
from tamis.studies.workers import Work, Workers
from tamis.types import Pair

SAMPLES, FEATURES, CELLS = "samples", "features", "cells"
CELL_FORM = 2  # raised where cells of an earlier version would be wrong
SEED = 0
FEW = 4  # held-out prompts that a process answers before it asks for more

Part = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Ready:
    """What all proxies are trained and judged with.

    Attributes:
        lab: computes cells.
        gold: the judge.
        pools: the answers.
        truth: training pairs in true orientation.
    """

    lab: Lab
    gold: Judge
    pools: Pools
    truth: Sequence[Pair]


def ready(
    plan: OverPlan, material: Material, *, site: Site, workers: Workers | None = None
) -> Ready:
    """Train the gold judge, and sample and judge all answers.

    Raises:
        ConfigError: a model cannot be loaded, or a process of ``workers`` was ended.
        DataError: gold finds all answers to each held-out prompt alike.
    """
    cache, samples = site.run / FEATURES, site.run / SAMPLES
    if workers is not None and workers.num > 1:
        site.notice("gold judge, and answers of the policy")
        workers.each(partial(prepare, Work.of(plan, site)), parts_of(plan, material))
    site.notice("gold judge")
    gold = fit_judge(material.gold_train, model=site.models[GOLD], cache=cache, seed=SEED)
    site.notice("answers of the policy")
    policy, num = site.models[POLICY], plan.pools.per_prompt
    train = sample_answers(material.train, num, policy=policy, plan=plan.pools, folder=samples)
    gold = length_neutral(gold, train)
    pools = sample_pools(material, policy=policy, gold=gold, plan=plan.pools, folder=samples)
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
    return Ready(lab, gold, pools, truth)


def parts_of(plan: OverPlan, material: Material) -> list[Part]:
    """Return what processes prepare: held-out prompts a few at a time, where each is sampled alone.

    Else prompts of similar length are sampled together, and which those are depends on all of them.
    """
    num = len(material.held_out)
    few = FEW if plan.pools.num_best % BATCH_RESPONSES == 0 else num
    held_out = [("held out", start, min(start + few, num)) for start in range(0, num, few)]
    all_train, all_meta = (0, len(material.train)), (0, len(material.meta))
    return [("gold", 0, 0), ("train", *all_train), ("meta", *all_meta), *held_out]


def prepare(work: Work[OverPlan], part: Part) -> None:
    """Compute what `ready` finds then: the gold judge's features, or answers to some prompts."""
    what, start, end = part
    material, pools = read_over(work.plan, data=work.data), work.plan.pools
    if what == "gold":
        model, cache = work.models[GOLD], work.run / FEATURES
        fit_judge(material.gold_train, model=model, cache=cache, seed=SEED)
        return
    pairs, num = {
        "train": (material.train, pools.per_prompt),
        "meta": (material.meta, 2 * pools.meta_best),
        "held out": (material.held_out, pools.num_best),
    }[what]
    folder = work.run / SAMPLES
    sample_answers(pairs[start:end], num, policy=work.models[POLICY], plan=pools, folder=folder)


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
