"""Runs of GRPO and RLOO: what they write, and that kills and looking change nothing."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
from rollouts import PROMPTS, config_of, letters, run, run_killed
from transformers import AutoModelForCausalLM

from tamis.errors import ConfigError, DataError
from tamis.models.config import ModelConfig
from tamis.policy.rl.config import RewardConfig
from tamis.policy.rl.fit import TRAINERS
from tamis.types import Message

pytestmark = pytest.mark.slow
WATCHED = RewardConfig(scorers=("letters",), held_out=3, every=2)
LORA = {"fit": {"lora": {"rank": 2}}}


def lines(folder, kind=None):
    text = (folder / "watch.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    return [line for line in found if kind in (None, line["kind"])]


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder / "policy").state_dict()


def start(model):
    return AutoModelForCausalLM.from_pretrained(model.path).state_dict()


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def history(folder, step):
    """What TRL logged of the steps, as its last checkpoint has it."""
    state = json.loads((folder / f"work/checkpoint-{step}/trainer_state.json").read_text())
    return [entry for entry in state["log_history"] if "loss" in entry]


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_policy_learns_what_is_rewarded_and_every_step_has_its_line(llama, tmp_path, method):
    fit = {"batch_size": 32, "learning_rate": 2e-2, "max_steps": 10}
    config = config_of(method=method, fit=fit, num_generations=8, reward_clip=0.3)
    report = run(tmp_path, llama, config)
    assert report["last"]["reward"] > report["first"]["reward"] + 0.03
    assert report["last"]["kl"] > 0.1
    assert (report["num_steps"], report["num_prompts"]) == (10, len(PROMPTS))
    found = lines(tmp_path)
    assert [line["step"] for line in found] == list(range(1, 11))
    assert all(sum(line["score"]["counts"]) == line["num_answers"] == 32 for line in found)
    assert len({tuple(line["score"]["edges"]) for line in found}) == 1
    for line in found:
        for name in ("distinct_1", "distinct_2", "repeated_frac", "self_bleu", "finished_frac"):
            assert 0 <= line[name] <= 1
        assert line["distinct_2"] > 0.5  # of words drawn at random
    for line, entry in zip(found, history(tmp_path, 10), strict=True):
        assert line["reward"]["mean"] == pytest.approx(entry["reward"], abs=1e-6)
        assert line["reward"]["mean"] <= line["score"]["mean"]
        assert line["score"]["mean"] == pytest.approx(entry["score/mean"], abs=1e-6)
        assert line["tokens"]["mean"] == entry["completions/mean_length"]
        assert 1 - line["finished_frac"] == pytest.approx(entry["completions/clipped_ratio"])
        assert line["kl_per_token"] == entry["kl"]
        assert line["distinct_2"] == pytest.approx(entry["text/distinct_2"])
        assert line["perplexity"] == pytest.approx(entry["perplexity"])
    assert any(line["reward"]["mean"] < line["score"]["mean"] for line in found)  # cut to 0.3
    # before the first step the policy is the reference, and surprise is what entropy expects
    surprise = [np.log(line["perplexity"]) - line["entropy"] for line in found]
    assert surprise[0] == pytest.approx(0.0, abs=0.15)
    assert max(surprise[-3:]) > 0.0
    assert report["first"]["perplexity"] == found[0]["perplexity"]


@pytest.mark.parametrize(
    ("method", "settings"),
    [("grpo", LORA), ("rloo", {"fit": {"compute": {"micro_batch_size": 2}}})],
)
def test_a_killed_run_ends_with_the_same_bytes(llama, tmp_path, method, settings):
    config = config_of(method=method, **settings)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    run(calm, llama, config, reward=WATCHED, gold=letters)
    assert run_killed(killed, llama, config, reward=WATCHED, gold=letters) == -signal.SIGKILL
    assert not (killed / "policy").exists()
    assert (killed / "work/checkpoint-4/complete.json").is_file()
    run(killed, llama, config, reward=WATCHED, gold=letters)
    assert same(weights(calm), weights(killed))
    assert (calm / "watch.jsonl").read_bytes() == (killed / "watch.jsonl").read_bytes()
    assert [line["step"] for line in lines(calm, "held_out")] == [0, 2, 4, 6]


def test_a_run_that_was_over_is_finished_from_its_last_checkpoint(llama, tmp_path):
    config, reward = config_of(**LORA), WATCHED.model_copy(update={"every": 4})
    run(tmp_path, llama, config, reward=reward)
    before, text = weights(tmp_path), (tmp_path / "watch.jsonl").read_text()
    assert [line["step"] for line in lines(tmp_path, "held_out")] == [0, 4, 6]
    shutil.rmtree(tmp_path / "policy")
    # as if it had been killed while it looked at the held-out prompts for the last time
    whole = (tmp_path / "work/watch.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "work/watch.jsonl").write_text("".join(whole[:-1]) + whole[-1][:20])
    run(tmp_path, llama, config, reward=reward)
    assert same(before, weights(tmp_path))
    assert (tmp_path / "watch.jsonl").read_text() == text


@pytest.mark.parametrize("lora", [{"rank": 2}, {}], ids=["lora", "all weights"])
def test_a_policy_that_has_not_moved_is_its_reference_in_bfloat16_too(llama, tmp_path, lora):
    """One is computed with a gradient and the other without, which may not tell them apart."""
    fit = {"max_steps": 1, "lora": lora, "compute": {"autocast": "bfloat16"}}
    run(tmp_path, llama, config_of(fit=fit), reward=WATCHED)
    assert [line["kl"] for line in lines(tmp_path, "step")] == [0.0]
    assert lines(tmp_path, "held_out")[0]["kl"] == 0.0


def test_looking_at_held_out_prompts_changes_nothing_of_what_is_learnt(llama, tmp_path):
    for every in (1, 5):
        reward = WATCHED.model_copy(update={"every": every})
        config = config_of(fit={"max_steps": 3})
        run(tmp_path / str(every), llama, config, reward=reward, gold=letters)
    assert same(weights(tmp_path / "1"), weights(tmp_path / "5"))
    looks = lines(tmp_path / "1", "held_out")
    assert [line["step"] for line in looks] == [0, 1, 2, 3]
    for line in looks:
        assert line["num_answers"] == 3
        assert line["gold"] == line["score"]  # the same rule
        assert line["score"]["low"] <= line["score"]["value"] <= line["score"]["high"]
        each = line["by_prompt"]
        assert each["gold"] == each["score"]
        assert sum(each["score"]) / 3 == pytest.approx(line["score"]["value"])
    assert len({tuple(line["by_prompt"]["number"]) for line in looks}) == 1


def test_prompts_that_are_given_to_be_held_out_are_looked_at_and_not_trained_on(llama, tmp_path):
    others = [(Message("user", f"And something else, number {n}."),) for n in range(2)]
    config = config_of(fit={"max_steps": 2})
    few = WATCHED.model_copy(update={"held_out": 1})
    for name, held_out, reward in (
        ("both", others, few),
        ("drawn", [], few),
        ("given", others, None),
    ):
        found = run(tmp_path / name, llama, config, reward=reward, held_out=held_out)
        assert found["num_held_out"] == len(held_out) + (reward is not None)
        assert found["num_prompts"] == len(PROMPTS) - (reward is not None)
    for name in ("both", "given"):
        (*_, last) = lines(tmp_path / name, "held_out")
        assert last["by_prompt"]["number"][-2:] == [len(PROMPTS), len(PROMPTS) + 1]
    assert same(weights(tmp_path / "both"), weights(tmp_path / "drawn"))


def test_measuring_the_divergence_changes_nothing_of_what_is_learnt(llama, tmp_path):
    for name, coefficient in (("measured", 0.0), ("not", None)):
        config = config_of(kl_coefficient=coefficient, fit={"max_steps": 3})
        run(tmp_path / name, llama, config)
    assert same(weights(tmp_path / "measured"), weights(tmp_path / "not"))
    assert lines(tmp_path / "not")[-1]["kl"] is lines(tmp_path / "not")[-1]["perplexity"] is None
    assert lines(tmp_path / "measured")[-1]["kl"] > 0


def test_the_reference_is_the_policy_as_it_was_loaded(llama, tmp_path):
    """With its first layer alone, the policy is another than the one on the disk."""
    model = ModelConfig(path=llama.path, num_layers=1)
    run(tmp_path, model, config_of(fit={"max_steps": 2}))
    assert (tmp_path / "work/reference/config.json").is_file()
    assert lines(tmp_path)[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "policy").config.num_hidden_layers == 1


def test_a_policy_without_advantage_stays_where_it_is(llama, tmp_path):
    def indifferent(asked):
        return type(letters(asked))(np.ones(len(asked)))

    config = config_of(kl_coefficient=None, fit={"max_steps": 2})
    run(tmp_path, llama, config, score=indifferent)
    assert same(weights(tmp_path), start(llama))


def test_what_cannot_be_run_is_refused(llama, tmp_path):
    with pytest.raises(DataError, match=r"0 of 9 prompts have at most 3 tokens"):
        run(tmp_path, llama, config_of(max_prompt_tokens=3))
    with pytest.raises(ConfigError, match=r"the 256 that the policy reads"):
        run(tmp_path, llama, config_of(max_new_tokens=250))
    with pytest.raises(DataError, match="9 are to be held out"):
        run(tmp_path, llama, config_of(), reward=RewardConfig(scorers=("a",), held_out=9))
    with pytest.raises(ConfigError, match="dtype is bfloat16"):
        run(tmp_path, ModelConfig(path=llama.path, dtype="bfloat16"), config_of())
    with pytest.raises(ConfigError, match=r"trl\.loss: GRPOConfig of TRL has no such setting"):
        run(tmp_path, llama, config_of(trl={"loss": 1}))
    with pytest.raises(ConfigError, match=r"trl\.beta: is set by the other settings"):
        run(tmp_path, llama, config_of(trl={"beta": 0.3}))
    with pytest.raises(ConfigError, match=r"trl\.num_iterations is 'two'"):
        run(tmp_path, llama, config_of(trl={"num_iterations": "two"}))
    with pytest.raises(ConfigError, match="has 2; choose at most so many"):
        run(tmp_path, llama, config_of(fit={"lora": {"rank": 2, "top_layers": 3}}))


@pytest.mark.parametrize("error", [ValueError, ImportError])
def test_what_trl_refuses_when_it_has_the_policy_is_told(llama, tmp_path, monkeypatch, error):
    class Refusing:
        def __init__(self, **_):
            raise error("no such\n  thing")

    monkeypatch.setitem(TRAINERS, "grpo", Refusing)
    with pytest.raises(ConfigError, match=r"^TRL refuses the settings: no such thing$"):
        run(tmp_path, llama, config_of())
