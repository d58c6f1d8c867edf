"""The stage `rl`: rewards are those of every other way to score, and files are complete."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rollouts import config_of
from serving import write_checkpoint

import tamis
from tamis.calibrate import GapCurve, Temperature
from tamis.calibrate.record import Calibrator, Origin, write_calibrator
from tamis.errors import ConfigError
from tamis.evaluate.scorers import scorer_from
from tamis.metrics.ensemble import Ensemble
from tamis.policy.rl.config import RewardConfig
from tamis.policy.rl.rewards import Asked
from tamis.policy.rl.watch import read_lines
from tamis.principles.principle import load_principles
from tamis.principles.scoring import score_under
from tamis.recipes.reinforcing import (
    CALIBRATOR,
    check_reward,
    gold_score,
    guide_of,
    reward_identity,
    reward_inputs,
    reward_score,
    rl_stage,
)
from tamis.runs import read_json
from tamis.types import Message, Pair

ANSWERS = ["A fox.", "The quick brown fox jumps over the lazy dog, again and again.", "No", ""]
TOLERANCE = 1e-6
ORIGIN = Origin(data="x", model=None, num_texts=9, num_pairs=9, versions={})


def asked(*principles):
    prompt = (Message("system", "Be kind."), Message("user", "Say something."))
    return [Asked(prompt, (Message("assistant", text),), principles) for text in ANSWERS]


def as_trl(given):
    plain = [[{"role": t.role, "content": t.content} for t in one.prompt] for one in given]
    return plain, [[{"role": "assistant", "content": one.answer[0].content}] for one in given]


def as_pairs(given):
    return [Pair(str(n), one.prompt, one.answer, one.answer) for n, one in enumerate(given)]


@pytest.fixture(scope="module")
def rms(llama, tmp_path_factory) -> list[str]:
    """Reward models; the first one knows nothing of its scores."""
    folder: Path = tmp_path_factory.mktemp("rms")
    first = write_checkpoint(llama.path, folder / "one", seed=1)
    second = write_checkpoint(llama.path, folder / "two", seed=2, mean=0.5)
    third = write_checkpoint(llama.path, folder / "three", seed=3, mean=-4.0, std=0.5)
    return [first, second, third]


@pytest.fixture
def prompts(tmp_path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"Say something, number {n}."} for n in range(6)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def with_calibrator(rm, folder, step) -> str:
    path = shutil.copytree(rm, folder)
    write_calibrator(path / CALIBRATOR, Calibrator("made", (step,), ORIGIN))
    return str(path)


@pytest.mark.parametrize("which", ["raw", "standardised", "calibrated", "probability"])
def test_rewards_are_those_of_the_function_for_other_trainers(rms, tmp_path, which):
    rm = with_calibrator(rms[2], tmp_path / "calibrated", Temperature(2.0))
    found = reward_score(RewardConfig(scorers=(rm,), which=which))(asked())
    wanted = tamis.reward_func(rm, which=which)(*as_trl(asked()))
    assert found.score_N == pytest.approx(wanted, abs=TOLERANCE)
    if which == "calibrated":
        raw_N = scores_of(rm)
        assert found.score_N == pytest.approx(raw_N / 2, abs=TOLERANCE)
    assert found.spread_N is None
    assert np.ptp(found.score_N) > 1e-4


def test_rewards_are_those_of_bench(rms):
    found = reward_score(RewardConfig(scorers=(f"mine={rms[0]}",)))(asked()[:3])
    wanted = scorer_from(rms[0]).score(as_pairs(asked()[:3])).chosen_N
    assert found.score_N == pytest.approx(wanted, abs=TOLERANCE)


def scores_of(given, **reward):
    return reward_score(RewardConfig(scorers=(given,), **reward))(asked()).score_N


@pytest.mark.parametrize("how", ["min", "lower"])
def test_members_are_standardised_by_what_they_record(rms, how):
    single = [scores_of(rm) for rm in rms[1:]]
    standard = np.stack([single[0] - 0.5, (single[1] + 4.0) / 0.5])
    spread_N = standard.std(axis=0)
    expected = standard.min(axis=0) if how == "min" else standard.mean(axis=0) - spread_N
    found = reward_score(RewardConfig(scorers=tuple(rms[1:]), ensemble=how))(asked())
    assert found.score_N == pytest.approx(expected, abs=TOLERANCE)
    assert found.spread_N == pytest.approx(spread_N, abs=TOLERANCE)
    function = tamis.reward_func(rms[1:], ensemble=Ensemble(how))
    assert found.score_N == pytest.approx(function(*as_trl(asked())), abs=TOLERANCE)
    mean = reward_score(RewardConfig(scorers=tuple(rms[1:])))(asked())
    assert mean.score_N == pytest.approx(np.mean(single, axis=0), abs=TOLERANCE)
    assert mean.spread_N == pytest.approx(spread_N, abs=TOLERANCE)
    with pytest.raises(ConfigError, match=f"are recorded in one; .* or choose mean, or raw_{how}"):
        reward_score(RewardConfig(scorers=tuple(rms), ensemble=how))


def test_a_raw_ensemble_is_penalised_by_its_spread(rms):
    rms = rms[:2]
    single = [scores_of(rm) for rm in rms]
    both = RewardConfig(scorers=tuple(rms), ensemble="raw_lower", penalty=0.5)
    found = reward_score(both)(asked())
    spread_N = np.std(single, axis=0)
    assert found.spread_N == pytest.approx(spread_N, abs=TOLERANCE)
    assert found.score_N == pytest.approx(np.mean(single, axis=0) - 0.5 * spread_N, abs=TOLERANCE)
    function = tamis.reward_func(rms, ensemble=Ensemble("raw_lower", penalty=0.5))
    assert found.score_N == pytest.approx(function(*as_trl(asked())), abs=TOLERANCE)


@pytest.mark.parametrize("layout", ["prompt_first", "answer_first"])
def test_principles_are_read_as_in_training_and_bench(rms, layout):
    score = reward_score(RewardConfig(scorers=(rms[0],), layout=layout))
    texts = ("Be brief.", "Answer in verse.")
    wanted = score_under(
        scorer_from(rms[0]).model(), as_pairs(asked()), texts=texts, layout=layout
    ).chosen_N
    assert score(asked(*texts)).score_N == pytest.approx(wanted, abs=TOLERANCE)
    assert np.abs(score(asked(*texts)).score_N - score(asked()).score_N).max() > 0.01
    with pytest.raises(ConfigError, match="of the 256 that the reward model reads"):
        score(asked("Be brief and then some more of it. " * 20))


def test_other_scorers_reward_as_well(rms):
    found = reward_score(RewardConfig(scorers=("longest", rms[0]), ensemble="raw_min"))(asked()[:3])
    single = reward_score(RewardConfig(scorers=(rms[0],)))(asked()[:3]).score_N
    lengths = [len(text) for text in ANSWERS[:3]]
    assert found.score_N == pytest.approx(np.minimum(lengths, single), abs=1e-5)
    assert gold_score(RewardConfig(scorers=("a",))) is None
    gold = gold_score(RewardConfig(scorers=("a",), gold=("longest",), held_out=1))
    assert gold(asked()[:3]).score_N.tolist() == lengths


def test_types_of_prompts_choose_principles_and_are_part_of_the_reward(rms, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Add 2 and 2.", "prompt_type": "reasoning"}\n', encoding="utf-8")
    reward = RewardConfig(scorers=(rms[0],), draw=1)
    guide = guide_of(reward, seed=1, prompts=path)
    known = {text for p in load_principles() if "reasoning" in p.prompt_types for text in p.wanted}
    prompt = (Message("user", "Add 2 and 2."),)
    drawn = [guide.texts(step, 0, prompt)[0] in known for step in range(50)]
    others = [guide.texts(step, 0)[0] in known for step in range(50)]
    assert sum(drawn) > 40 > sum(others)
    assert guide_of(reward, seed=1).texts(3, 0, prompt) == guide.texts(3, 0)
    before = reward_inputs(reward, prompts=path)
    path.write_text('{"prompt": "Add 2 and 2.", "prompt_type": "red_teaming"}\n', encoding="utf-8")
    assert reward_inputs(reward, prompts=path) != before
    assert reward_inputs(RewardConfig(scorers=(rms[0],)), prompts=path) == {}


def test_what_a_type_adds_to_a_weight_is_part_of_the_reward(rms, tmp_path):
    path = tmp_path / "principles.yaml"
    text = "- {name: a, wanted: Be a., negated: Be no a., prompt_types: {reasoning: 1}}\n"
    path.write_text(text, encoding="utf-8")
    drawn = RewardConfig(scorers=(rms[0],), draw=1, principle_file=str(path))
    before = reward_identity(drawn, seed=1)
    path.write_text(text.replace("1}", "128}"), encoding="utf-8")
    assert reward_identity(drawn, seed=1) != before


def test_rewards_that_cannot_be_had_are_refused(rms, tmp_path):
    of_gaps = with_calibrator(rms[2], tmp_path / "of_gaps", GapCurve((0.0, 1.0), (0.0, 1.0)))
    with pytest.raises(ConfigError, match="only checkpoints have such rewards, found longest"):
        reward_score(RewardConfig(scorers=("longest",), which="probability"))
    with pytest.raises(ConfigError, match=r"which is standardised, .* are recorded in one"):
        reward_score(RewardConfig(scorers=(rms[0],), which="standardised"))
    with pytest.raises(ConfigError, match=r"standardises its members, .* recorded in longest"):
        reward_score(RewardConfig(scorers=("longest", rms[1]), ensemble="min"))
    with pytest.raises(ConfigError, match="ensemble is min and there is one scorer"):
        reward_score(RewardConfig(scorers=(rms[0],), ensemble="min"))
    with pytest.raises(ConfigError, match=r"no calibrator\.json there, so there are no calibrated"):
        reward_score(RewardConfig(scorers=(rms[2],), which="calibrated"))
    with pytest.raises(ConfigError, match="calibrates gaps between two answers, not single"):
        reward_score(RewardConfig(scorers=(of_gaps,), which="calibrated"))
    of_round = RewardConfig(scorers=(rms[2],), which="calibrated")
    with pytest.raises(ConfigError, match="models that a run trains itself have no calibrator"):
        check_reward(of_round.model_copy(update={"scorers": ()}), trained=1)
    with pytest.raises(ConfigError, match="a judge compares two answers"):
        reward_score(RewardConfig(scorers=("judge:http://127.0.0.1:9/v1#m",)))


def test_fixed_principles_stand_behind_drawn_ones():
    guide = guide_of(
        RewardConfig(scorers=("a",), principles=("not:concise", "In verse, please."), draw=3),
        seed=2,
    )
    texts = guide.texts(0, 1)
    assert len(texts) in (4, 5)  # a drawn principle that is fixed as well stands there once
    assert texts[-1] == "In verse, please."
    assert guide_of(RewardConfig(scorers=("a",)), seed=2).texts(0, 1) == ()
    with pytest.raises(ConfigError, match="unknown principle 'concize'"):
        guide_of(RewardConfig(scorers=("a",), principles=("concize",)), seed=0)


def test_the_stage_is_done_once_and_again_when_the_reward_changes(llama, rms, prompts, tmp_path):
    said = []

    def stage(**reward):
        return rl_stage(
            tmp_path,
            prompts=prompts,
            policy=llama,
            reward=RewardConfig(scorers=(rms[0],), **reward),
            config=config_of(
                fit={"max_steps": 1, "trackers": ["tensorboard"]}, max_prompt_tokens=70
            ),
            seed=1,
            notice=said.append,
        )

    result = stage(held_out=2, every=1, gold=("longest",))
    assert result.fresh
    files = {path.name for path in result.directory.iterdir()}
    kept = {".lock", "policy", "report.json", "stage.json", "tensorboard", "watch.jsonl"}
    assert files == kept
    events = events_of(result.directory / "tensorboard")
    assert {"train/reward", "train/text/distinct_2"} <= set(events.Tags()["scalars"])
    (line,) = [one for one in read_lines(result.directory / "watch.jsonl") if one["kind"] == "step"]
    (shown,) = events.Histograms("train/score/histogram")
    assert shown.step == 1
    assert shown.histogram_value.bucket == line["score"]["counts"]
    assert shown.histogram_value.bucket_limit == line["score"]["edges"][1:]
    report = read_json(result.directory / "report.json")
    assert (report["num_prompts"], report["num_held_out"], report["num_steps"]) == (4, 2, 1)
    assert [line["step"] for line in report["held_out"]] == [0, 1]
    assert report["held_out"][0]["gold"]["value"] > 0
    assert not stage(held_out=2, every=1, gold=("longest",)).fresh
    assert stage(held_out=2, every=1, gold=("longest",), shaping={"no_stop_penalty": 1.0}).fresh
    assert said == []


def events_of(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (run,) = folder.iterdir()
    return accumulator.EventAccumulator(str(run)).Reload()


def test_long_prompts_are_left_out_and_counted(llama, rms, prompts, tmp_path):
    with prompts.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": "Say something. " * 30}) + "\n")
    said = []
    result = rl_stage(
        tmp_path,
        prompts=prompts,
        policy=llama,
        reward=RewardConfig(scorers=("longest",)),
        config=config_of(fit={"max_steps": 1}),
        seed=1,
        notice=said.append,
    )
    report = read_json(result.directory / "report.json")
    assert (report["num_prompts"], report["num_left_out"]) == (6, {"too long": 1})
    assert said == ["1 of 7 prompts have more than 80 tokens and are left out"]
