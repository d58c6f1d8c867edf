"""The whole shift study on tiny models: every arm, kept cells, and a run that was stopped."""

import json
from functools import partial

import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.merge.config import WarmConfig
from tamis.metrics.ensemble import Ensemble, Scale, ensemble_scores
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_pairs
from tamis.recipes.warm import member_plans
from tamis.studies.fitted import Lesson, probed
from tamis.studies.noise import Site
from tamis.studies.shift import ready as ready_module
from tamis.studies.shift import run
from tamis.studies.shift.arms import (
    ALL_ARMS,
    ARMS,
    COMBINED,
    DEFAULT_ARMS,
    METARM,
    METARM_OUTER,
    PLAIN,
    arm_of,
)
from tamis.studies.shift.cost import shift_estimate, shift_seconds
from tamis.studies.shift.figures import results_table
from tamis.studies.shift.material import Sizes
from tamis.studies.shift.page import shift_sections
from tamis.studies.shift.plan import JUDGE, POLICY, TRAINED, ShiftPlan, shift_plan
from tamis.studies.shift.ready import CELLS, STATES, read_shift, ready
from tamis.studies.shift.run import run_shift_study
from tamis.studies.workers import Workers
from tamis.train.config import AdapterConfig, TrainConfig
from tamis.train.fit import fit
from tamis.types import Verdict


@pytest.fixture(scope="module")
def plan():
    return ShiftPlan(
        tier="quick",
        seeds=(0,),
        arms=ALL_ARMS,
        sizes=Sizes(
            num_train=20,
            num_pool=30,
            num_held_out=24,
            per_set=24,
            num_prompts=4,
            num_meta=4,
            num_proxy=10,
            num_graded=50,
        ),
        scale_pairs=5,
        train=TrainConfig(
            batch_size=10, learning_rate=1e-2, lora=AdapterConfig(rank=2, top_layers=1)
        ),
        warm=WarmConfig(num_members=2, learning_rates=(1e-2, 2e-2), rate_draws="in_turn"),
    )


@pytest.fixture(scope="module")
def site(tied_llama, tiny_bert, small_data, tmp_path_factory):
    models = {
        TRAINED: tied_llama,
        POLICY: tied_llama,
        JUDGE: ModelConfig(path=tiny_bert),
    }
    said: list[str] = []
    return Site(tmp_path_factory.mktemp("shift"), small_data, models, said.append)


@pytest.fixture(scope="module")
def report(plan, site):
    return run_shift_study(plan, read_shift(plan, data=site.data), site=site)


def test_every_arm_is_trained_and_judged(report, plan):
    assert [arm["name"] for arm in report["arms"]] == list(ALL_ARMS)
    assert {row["arm"] for row in report["differences"]} == set(ALL_ARMS) - {PLAIN}
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    per_seed = {
        row["arm"]: row["per_seed"]
        for row in report["shift"]
        if (row["level"], row["measure"]) == ("best of 4", "spread")
    }
    # all differ, but of two members the lowest is the mean less the deviation
    assert plan.warm.num_members == 2
    assert per_seed.pop("min") == pytest.approx(per_seed["lower"])
    assert len({tuple(values) for values in per_seed.values()}) == len(ALL_ARMS) - 1
    assert results_table(report).num_rows > 100
    assert shift_sections(report)


def test_what_is_kept_is_not_trained_again(report, plan, site):
    cells = sorted((site.run / CELLS).iterdir())
    # one file for the five, and no probe is left
    of_warm = {"member", "warm", "ensemble", "min", "lower"}
    assert len(cells) == len(plan.seeds) * (len(ALL_ARMS) - len(of_warm) + 1)
    times = {path: path.stat().st_mtime_ns for path in cells[1:]}
    cells[0].unlink()
    assert run_shift_study(plan, read_shift(plan, data=site.data), site=site) == report
    assert sorted((site.run / CELLS).iterdir()) == cells
    assert {path: path.stat().st_mtime_ns for path in cells[1:]} == times


@pytest.mark.slow
def test_several_processes_compute_the_same(report, plan, site, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "Workers", partial(Workers, 2))
    monkeypatch.setattr(ready_module, "FEW", 10)
    apart = Site(tmp_path, site.data, site.models, site.notice)
    some = plan.model_copy(update={"arms": (PLAIN, METARM_OUTER, "member", "warm", COMBINED)})
    run_shift_study(some, read_shift(some, data=site.data), site=apart)
    cells = list((tmp_path / CELLS).iterdir())
    assert len(cells) == 4  # one for both of several models, and no probe is left
    for path in cells:
        np.testing.assert_allclose(np.load(path), np.load(site.run / CELLS / path.name), atol=1e-5)
    assert len(list((tmp_path / STATES).glob("*.ids.npy"))) == 2  # a file of each process


def test_an_ensemble_is_of_the_members_of_the_average(report, plan, site):
    kept = [np.load(path) for path in (site.run / CELLS).iterdir()]
    several = [rewards for rewards in kept if len(rewards) == plan.warm.num_members + 1]
    alone = [rewards for rewards in kept if len(rewards) == 1]
    assert len(several) == len(plan.seeds)
    num_texts = alone[0].shape[1]
    for rewards in several:
        assert rewards.shape[1] == num_texts + 2 * plan.scale_pairs
        members, average = rewards[:-1], rewards[-1]
        assert not np.allclose(*members)
        mean = ensemble_scores(members, ensemble=Ensemble("mean"))
        assert np.corrcoef(mean, average)[0, 1] > 0.97  # small steps: weights average as scores do


@pytest.mark.parametrize(("arm", "how"), [("ensemble", "mean"), ("min", "min"), ("lower", "lower")])
def test_members_of_ensembles_are_standardised_as_in_the_product(report, plan, site, arm, how):
    lab = ready(plan, read_shift(plan, data=site.data), site=site).lab
    extra = 2 * plan.scale_pairs
    standardised, bare = [], []
    for path in (site.run / CELLS).iterdir():
        members = np.load(path).astype(float)[:-1]
        if len(members):
            of_training = members[:, -extra:]
            scale = Scale(of_training.mean(axis=1), of_training.std(axis=1))
            for found, own in ((standardised, scale), (bare, None)):
                together = ensemble_scores(members[:, :-extra], ensemble=Ensemble(how), scale=own)
                found.append(lab.texts.scores(together))
    wanted, other = (bare, standardised) if how == "mean" else (standardised, bare)
    for seed in plan.seeds:
        seen = lab.scores(arm_of(arm), seed=seed)
        assert any(same(seen, one) for one in wanted)
        assert not any(same(seen, one) for one in other)


def same(scores, others):
    return all(np.allclose(scores.gap[name], others.gap[name]) for name in scores.gap)


def test_the_trained_models_are_those_of_plain_training(plan, site, report, tmp_path):
    """Remembered states change nothing: a model trained and scored as users do is as good.

    Plain training starts from the probe, as all arms do.
    """
    material = read_shift(plan, data=site.data)
    pairs = material.train(0)
    lesson = Lesson(pairs, [Verdict(pair.id) for pair in pairs], site.models[TRAINED], 0)
    start = probed(lesson, train=plan.train, warm=plan.warm, work=tmp_path / "probe")
    fit(
        pairs,
        lesson.verdicts,
        model=start.model,
        train=plan.train,
        seed=0,
        work=tmp_path / "work",
        out=tmp_path / "out",
    )
    scorer = load_scorer(str(tmp_path / "out"))
    for one in material.sets:
        found = score_pairs(scorer.model, scorer.tokenizer, one.pairs, max_length=scorer.max_length)
        right = float((found.chosen_N > found.rejected_N).mean())
        row = next(
            row
            for row in report["accuracy"]
            if (row["arm"], row["part"], row["name"]) == (PLAIN, "test set", one.name)
        )
        assert row["per_seed"][0] == pytest.approx(right, abs=1e-9)


def test_an_arm_changes_what_it_says_and_nothing_else(plan, tmp_path):
    responses = tmp_path / "responses.jsonl"
    for name, arm in ARMS.items():
        train = arm.train(plan.train, responses=responses, ratio=0.3)
        changed = {
            key
            for key, value in train.model_dump().items()
            if value != plan.train.model_dump()[key]
        }
        assert changed <= {"objective", "sampler"}, name
        assert (train.objective.meta is not None) == (arm.meta != "none")
    published, outer = (
        ARMS[name].train(plan.train, responses=responses, ratio=0.3).objective.meta
        for name in (METARM, METARM_OUTER)
    )
    assert (published.eta, published.unit) == (plan.train.learning_rate, "gradient")
    assert (outer.eta, outer.unit) == (0.3, "steps")
    assert arm_of(PLAIN).train(plan.train, responses=tmp_path, ratio=1.0) == plan.train
    with pytest.raises(ConfigError, match="no arm 'rpo'"):
        arm_of("rpo")


def test_members_draw_each_rate_once():
    plan = shift_plan("default")
    for seed in plan.seeds:
        rates = [one.train.learning_rate for one in member_plans(plan.train, plan.warm, seed=seed)]
        assert sorted(rates) == sorted(plan.warm.learning_rates)
        assert plan.train.learning_rate in rates


def test_a_larger_study_reads_what_is_new_alone(report, plan, site):
    """Other seeds have pairs of their own; what was read for the others is in files already."""
    states = {path: path.stat().st_mtime_ns for path in (site.run / STATES).iterdir()}
    larger = plan.model_copy(update={"seeds": (0, 1, 2), "arms": (PLAIN, "combined")})
    ready(larger, read_shift(larger, data=site.data), site=site)
    found = {path: path.stat().st_mtime_ns for path in (site.run / STATES).iterdir()}
    assert states.items() < found.items()
    assert len(found) == len(states) + 2


def test_estimates_know_what_costs_time(small_data, plan):
    material = read_shift(plan, data=small_data)

    def seconds(*arms, **changed):
        return shift_seconds(material, plan.model_copy(update={"arms": arms, **changed}))

    plain = seconds(PLAIN)
    for name in (METARM, METARM_OUTER, "grm-sft", "warm"):
        assert seconds(name)["training"] > plain["training"], name
    assert seconds("grm-dpo")["training"] > seconds("grm-sft")["training"]
    assert seconds("grm-reference")["training"] > seconds("grm-dpo")["training"]
    assert seconds("warm", "member", "lower") == seconds("warm")
    assert seconds("warm")["scoring"] == pytest.approx(3 * plain["scoring"])
    assert seconds(PLAIN, seeds=(0, 1))["training"] == pytest.approx(2 * plain["training"])
    assert shift_estimate(material, plan).startswith("estimate on two cores: about ")


def test_the_default_arms_leave_out_what_is_dear_or_weak():
    left = set(ALL_ARMS) - set(DEFAULT_ARMS)
    assert left == {"simcse", "swav", METARM, "grm-dpo", "grm-reference"}
    assert set(shift_plan("full").arms) == set(ALL_ARMS)
    assert set(shift_plan("quick", num_seeds=1).arms) < set(DEFAULT_ARMS)
    assert shift_plan("quick", num_seeds=1).seeds == (0,)


@pytest.mark.parametrize(("tier", "minutes"), [("quick", 8), ("default", 60)])
def test_no_tier_takes_longer_than_it_says(data_dir, tier, minutes):
    plan = shift_plan(tier)
    total = sum(shift_seconds(read_shift(plan, data=data_dir), plan).values())
    assert 0.6 * minutes < total / 60 < minutes
