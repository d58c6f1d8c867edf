"""The whole over-optimisation study on tiny models: every arm, kept cells, a run that stopped."""

import json
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from laborious import Looking

from tamis.errors import ConfigError
from tamis.merge.config import WarmConfig
from tamis.metrics.ensemble import Ensemble, Scale, ensemble_scores
from tamis.models.config import ModelConfig
from tamis.policy.sampling.sample import BATCH_RESPONSES
from tamis.studies.noise import Site
from tamis.studies.overoptimise import ready as ready_module
from tamis.studies.overoptimise import run
from tamis.studies.overoptimise.arms import (
    ALL_ARMS,
    ARMS,
    COMBINED,
    ENSEMBLE,
    LENGTH,
    MEMBER,
    ORACLE,
    PCRM,
    RAW,
    WARM,
    arm_of,
)
from tamis.studies.overoptimise.cost import over_estimate, over_seconds
from tamis.studies.overoptimise.curves import END, ORDER, PROXY, best_of_curves
from tamis.studies.overoptimise.figures import results_table
from tamis.studies.overoptimise.looks import Look
from tamis.studies.overoptimise.material import prompts_of, read_over
from tamis.studies.overoptimise.page import over_sections
from tamis.studies.overoptimise.plan import (
    GOLD,
    POLICY,
    OverPlan,
    PoolPlan,
    RLPlan,
    over_plan,
)
from tamis.studies.overoptimise.plan import PROXY as TRAINED
from tamis.studies.overoptimise.ready import CELLS, SAMPLES
from tamis.studies.overoptimise.run import RL, run_over_study
from tamis.studies.wanted import pick
from tamis.studies.workers import Workers
from tamis.train.config import TrainConfig
from tamis.vote.config import VoteConfig

STEPS = (0, 1)


def read_rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Reinforcing:
    """Trains nothing, and notes which proxies it was given."""

    def __init__(self):
        self.tasks = []

    def __call__(self, task):
        assert (task.proxy / "model.safetensors").is_file()
        self.tasks.append(task)
        return [Look(step, 0.1 * step, [0.5 * step] * 3, [float(step)] * 3) for step in STEPS]


@pytest.fixture(scope="module")
def plan():
    return OverPlan(
        tier="quick",
        seeds=(0,),
        arms=ALL_ARMS,
        pools=PoolPlan(
            num_train=12,
            num_held_out=3,
            num_best=8,
            num_meta=2,
            meta_best=2,
            num_scale=4,
            max_new_tokens=6,
        ),
        num_gold=30,
        train=TrainConfig(batch_size=12, learning_rate=1e-3),
        warm=WarmConfig(num_members=2, learning_rates=(1e-3, 2e-3)),
        vote=VoteConfig(num_voters=2, num_folds=2, epochs=2, estimators=("cross_fitted",)),
        rl=RLPlan(arms=(COMBINED, RAW), steps=1),
    )


@pytest.fixture(scope="module")
def site(llama, tiny_bert, small_data, tmp_path_factory):
    models = {POLICY: llama, GOLD: llama, TRAINED: ModelConfig(path=tiny_bert)}
    said: list[str] = []
    return Site(tmp_path_factory.mktemp("over"), small_data, models, said.append)


@pytest.fixture(scope="module")
def reinforcing():
    return Reinforcing()


@pytest.fixture(scope="module")
def report(plan, site, reinforcing):
    material = read_over(plan, data=site.data)
    return run_over_study(plan, material, site=site, reinforcing=reinforcing)


def test_every_arm_is_trained_and_judged(report):
    assert [arm["name"] for arm in report["arms"]] == list(ALL_ARMS)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["sizes"] == [1, 2, 4, 8]
    assert [row["data"] for row in report["gold"]] == ["HH-RLHF", "AlpacaEval, graded", "PandaLM"]
    num = report["num_train"]
    assert report["labels"][0]["weight_on_wrong"] == [pytest.approx(round(0.25 * num) / num)]
    per_seed = {
        row["arm"]: tuple(row["per_seed"])
        for row in report["points"]
        if (row["measure"], row["n"]) == (PROXY, 8)
    }
    assert len(set(per_seed.values())) == len(ALL_ARMS)  # all differ
    assert results_table(report).num_rows > 100
    assert over_sections(report)


def test_what_is_kept_is_not_computed_again(report, plan, site, reinforcing):
    cells = sorted((site.run / CELLS).glob("*.npy"))
    assert len(cells) == 8  # WARM, the ensemble and a member share one, length has none
    assert not list((site.run / CELLS).glob("probes*"))
    assert not list((site.run / CELLS).glob("*.work"))
    assert not list((site.run / CELLS).glob("*.again"))
    times = {path: path.stat().st_mtime_ns for path in site.run.rglob("*") if path.is_file()}
    material = read_over(plan, data=site.data)
    again = run_over_study(plan, material, site=site, reinforcing=reinforcing)
    assert again == report
    assert {p: p.stat().st_mtime_ns for p in site.run.rglob("*") if p.is_file()} == times


@pytest.mark.slow
def test_several_processes_compute_the_same(plan, site, tmp_path, monkeypatch):
    monkeypatch.setattr(ready_module, "FEW", 2)
    pools = plan.pools.model_copy(update={"num_best": BATCH_RESPONSES})
    arms = (RAW, "metarm", WARM, ENSEMBLE)
    rl = RLPlan(arms=(RAW,), steps=1)
    some = plan.model_copy(update={"arms": arms, "pools": pools, "rl": rl})
    monkeypatch.setattr(run, "_reinforcer", lambda *_, **__: Looking())
    material = read_over(some, data=site.data)
    found = {}
    for num in (1, 2):
        own = Site(tmp_path / f"{num}", site.data, site.models, site.notice)
        monkeypatch.setattr(run, "Workers", partial(Workers, num))
        found[num] = run_over_study(some, material, site=own)
    alone, apart = (sorted((tmp_path / name).rglob("*")) for name in "12")
    names = [[path.name for path in paths if path.suffix != ".npy"] for paths in (alone, apart)]
    assert names[0] == names[1]  # the same samples
    cells, others = (sorted((tmp_path / name / CELLS).glob("*.npy")) for name in "12")
    assert [path.name for path in cells] == [path.name for path in others]
    assert len(cells) == 3
    for path, other in zip(cells, others, strict=True):
        np.testing.assert_allclose(np.load(path), np.load(other), atol=1e-5)
    assert found[1]["sizes"] == found[2]["sizes"]
    looked = [int(path.read_text()) for path in (tmp_path / "1").rglob("looks.json")]
    looked += [int(path.read_text()) for path in (tmp_path / "2").rglob("looks.json")]
    assert looked[0] == os.getpid() != looked[1]
    assert len(looked) == 2


def test_prompts_are_shared_out_where_each_is_sampled_alone(plan, site):
    material = read_over(plan, data=site.data)
    together = ready_module.parts_of(plan, material)
    assert [part for part in together if part[0] == "held out"] == [("held out", 0, 3)]
    pools = plan.pools.model_copy(update={"num_best": 2 * BATCH_RESPONSES})
    wide = plan.model_copy(update={"pools": pools})
    many = ready_module.parts_of(wide, replace(material, held_out=list(material.held_out) * 3))
    assert [part[1:] for part in many if part[0] == "held out"] == [(0, 4), (4, 8), (8, 9)]


def test_a_study_that_lost_some_of_its_files_comes_to_the_same_report(
    report, plan, site, reinforcing
):
    kept = sorted(p for p in site.run.rglob("*") if p.suffix in (".npy", ".jsonl"))
    for path in kept[::4]:
        path.unlink()
    material = read_over(plan, data=site.data)
    assert run_over_study(plan, material, site=site, reinforcing=reinforcing) == report


def test_an_ensemble_is_of_the_members_of_the_average(report, plan, site):
    kept = [np.load(path) for path in (site.run / CELLS).glob("*.npy")]
    several = [rewards for rewards in kept if len(rewards) == plan.warm.num_members + 1]
    (rewards,) = several  # of denoised labels the average alone is asked
    held_out, others = rewards[:, : 3 * 8], rewards[:, 3 * 8 :]
    assert others.shape[1] == 4 * plan.pools.per_prompt
    mean = ensemble_scores(held_out[:-1], ensemble=Ensemble("mean"))
    assert np.corrcoef(mean, held_out[-1])[0, 1] > 0.98
    scale = Scale(others[:-1].mean(axis=1), others[:-1].std(axis=1))
    lower = ensemble_scores(held_out[:-1], ensemble=Ensemble("lower"), scale=scale)
    for arm, several in ((ENSEMBLE, [lower]), (MEMBER, held_out[:-1]), (WARM, held_out[-1:])):
        scores_RPK = np.reshape(several, (-1, 3, 8)).astype(np.float64)
        ends = [best_of_curves(own[None], own).proxy_SPJ[..., -1].mean() for own in scores_RPK]
        last = pick(report["points"], arm=arm, measure=PROXY, n=8)
        assert last["value"]["value"] == pytest.approx(np.mean(ends), rel=1e-5)


def test_metarm_reads_the_best_answers_by_raw_to_other_prompts(report, plan, site):
    material = read_over(plan, data=site.data)
    (path,) = (site.run / CELLS).glob("meta-*.jsonl")
    rows = read_rows(path)
    asked = [one[0].content for one in prompts_of(material.meta)]
    assert [row["prompt"][0]["content"] for row in rows] == asked
    (raw,) = (
        rewards[0, 3 * 8 :]  # behind those of the held-out answers
        for rewards in map(np.load, (site.run / CELLS).glob("*.npy"))
        if rewards.shape == (1, 3 * 8 + 2 * 4)
    )
    (sampled,) = (
        found
        for found in map(read_rows, (site.run / SAMPLES).glob("*.jsonl"))
        if [row["prompt"][0]["content"] for row in found] in (asked, asked[::-1])
    )
    answers = {row["prompt"][0]["content"]: row["responses"] for row in sampled}
    for row, rewards_K in zip(rows, raw.reshape(2, 4), strict=True):
        of_prompt = answers[row["prompt"][0]["content"]]
        places = [int(rewards_K[:2].argmax()), 2 + int(rewards_K[2:].argmax())]
        assert row["responses"] == [of_prompt[place] for place in places]


def test_the_rl_run_gets_the_proxies_that_were_fixed(report, plan, site, reinforcing):
    tasks = reinforcing.tasks[:2]
    assert [task.seed for task in tasks] == [0, 0]
    assert {task.proxy.suffix for task in tasks} == {".model"}
    assert len({task.proxy for task in tasks}) == len({task.folder for task in tasks}) == 2
    assert all(task.folder.parent == site.run / RL for task in tasks)
    assert [row["arm"] for row in report["rl"]] == [RAW, RAW, COMBINED, COMBINED]
    assert pick(report["rl"], arm=RAW, step=1)["proxy_per_seed"] == [1.0]
    (per_seed,) = pick(report["rl"], arm=RAW, step=1)["gold_per_seed"]
    assert per_seed > 0
    assert {row["kl"] for row in report["rl_figures"]} == {0.1}


def test_seeds_are_added_to_what_is_kept(report, plan, site, small_data):
    two = plan.model_copy(update={"seeds": (0, 1), "arms": (RAW, LENGTH), "rl": None})
    found = run_over_study(two, read_over(two, data=small_data), site=site)
    assert found["rl"] == []
    assert len(over_sections(found)) == 3
    assert "With one seed" in report["notes"][0]
    assert any("gold likes the longer in" in note for note in report["notes"])
    assert any("were cut at the most tokens" in note for note in report["notes"])
    assert not any("With one seed" in note for note in found["notes"])
    differ = []
    for name in (END, ORDER):
        first, second = pick(found["figures"], arm=RAW, figure=name)["per_seed"]
        assert [first] == pick(report["figures"], arm=RAW, figure=name)["per_seed"]
        differ.append(first != second)
    assert any(differ)  # of few answers, two proxies may pick the same


def test_an_arm_changes_what_it_says_and_nothing_else(plan):
    for name, arm in ARMS.items():
        train = arm.train(plan.train, meta={"path": "x.jsonl", "eta": 0.5})
        changed = {k for k, v in train.model_dump().items() if v != plan.train.model_dump()[k]}
        assert changed == ({"objective"} if arm.meta or arm.terms else set()), name
        assert (train.objective.meta is not None) == arm.meta
    with pytest.raises(ConfigError, match="no arm 'rpo'"):
        arm_of("rpo")


def test_tiers_keep_their_promise(small_data, plan):
    material = read_over(plan, data=small_data)
    text = over_estimate(material, over_plan("quick"))
    assert text.startswith("estimate on two cores: about ")
    assert "sampling" in text
    seconds = {
        tier: sum(over_seconds(material, over_plan(tier)).values())
        for tier in ("quick", "default", "full")
    }
    assert seconds["quick"] < 8 * 60
    assert seconds["quick"] < seconds["default"] < 60 * 60 < seconds["full"]
    assert over_plan("quick", num_seeds=1).seeds == (0,)
    assert over_plan("default").seeds == (0, 1, 2)
    assert over_plan("full").rl is not None
    assert set(over_plan("full").rl.arms) == {RAW, COMBINED}


def test_a_plan_needs_raw_and_known_arms():
    with pytest.raises(ValueError, match="expected raw, and known others"):
        OverPlan(arms=("oracle",))
    with pytest.raises(ValueError, match=r"rl\.arms are warm"):
        OverPlan(arms=(RAW,), rl=RLPlan(arms=("warm",)))
    with pytest.raises(ValueError, match="ensemble, which is no single model"):
        OverPlan(rl=RLPlan(arms=(RAW, ENSEMBLE)))


def test_arms_with_the_same_labels_start_from_one_probe(report, plan, site, small_data):
    """With steps of nothing after it, they are what it is."""
    still = plan.model_copy(
        update={
            "arms": (RAW, PCRM, MEMBER, ORACLE),
            "train": plan.train.model_copy(update={"learning_rate": 1e-12}),
            "warm": plan.warm.model_copy(update={"learning_rates": (1e-12,)}),
            "rl": None,
        }
    )
    found = run_over_study(still, read_over(still, data=small_data), site=site)
    points = [pick(found["points"], arm=arm, measure=PROXY, n=8) for arm in still.arms]
    raw, *same, oracle = [point["value"]["value"] for point in points]
    assert same == pytest.approx([raw, raw], rel=1e-3)
    assert abs(oracle - raw) > 1e-3 * abs(raw)  # true labels have a probe of their own
