"""Whole runs: exactness against TRL, what is written, and resumption."""

import json
import signal
from types import SimpleNamespace

import datasets
import pytest
import torch
from aligning import config_of, run_align, wordy
from dying import end_of_child
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerControl, TrainerState
from trl import DPOTrainer

from tamis.errors import ConfigError, DataError
from tamis.evaluate.scorers.dpo import open_scorer
from tamis.evaluate.scorers.options import ScorerOptions
from tamis.models.source import quiet
from tamis.policy.adapters import adapters
from tamis.policy.align.arguments import dpo_arguments
from tamis.policy.align.fit import align
from tamis.policy.align.marking import Marker
from tamis.policy.load import load_policy, save_policy
from tamis.policy.sampling.config import Sampling
from tamis.policy.sampling.sample import sample_responses
from tamis.train.trainer import last_complete
from tamis.types import Verdict

SPO = {"terms": {"spo": {}}}
NOTHING = 1e-30  # goes through our objective; a term with coefficient 0 is left out


def assert_equal(first, second, **tolerance):
    assert first.keys() == second.keys()
    tolerance = tolerance or {"atol": 0, "rtol": 0}
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], msg=name, **tolerance)


def without_timing(report):
    return {key: value for key, value in report.items() if key != "timing"}


def trl_weights(path, *, policy, config):
    """The weights after the same number of steps of TRL's own trainer, on the plain texts."""
    model, tokenizer = load_policy(policy)
    rows = [
        {
            name: [{"role": turn.role, "content": turn.content} for turn in getattr(pair, name)]
            for name in ("prompt", "chosen", "rejected")
        }
        for pair in wordy()
    ]
    with quiet():
        trainer = DPOTrainer(
            model,
            args=dpo_arguments(config, max_length=128, num_pairs=16, seed=0, work=path / "trl"),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=adapters(model, config.fit.lora),
        )
        trainer.train()
    save_policy(trainer.model, tokenizer, path / "theirs", card={})
    return load_file(path / "theirs" / "model.safetensors")


@pytest.fixture(scope="module")
def plain(llama, tmp_path_factory):
    """Three steps of DPO: the folder, the report and the weights."""
    path = tmp_path_factory.mktemp("plain")
    held_out = wordy(6, split="test")
    report, weights = run_align(path, wordy(), policy=llama, config=config_of(), held_out=held_out)
    return path, report, weights


def test_dpo_is_trls_bit_for_bit(llama, plain, tmp_path):
    assert_equal(plain[2], trl_weights(tmp_path, policy=llama, config=config_of()))


def test_dpo_with_adapters_is_trls_bit_for_bit(llama, plain, tmp_path):
    config = config_of(fit__lora={"rank": 2}, fit__compute={"micro_batch_size": 2})
    _, ours = run_align(tmp_path, wordy(), policy=llama, config=config)
    theirs = trl_weights(tmp_path, policy=llama, config=config)
    assert_equal(ours, theirs)
    assert any(not torch.equal(ours[name], plain[2][name]) for name in ours)


def test_with_every_extra_switched_off_it_is_trls_bit_for_bit(llama, plain, tmp_path):
    off = {name: {"coefficient": 0.0} for name in ("rpo", "spo")}
    report, weights = run_align(tmp_path, wordy(), policy=llama, config=config_of(terms=off))
    assert_equal(weights, plain[2])
    assert report["curve"] == plain[1]["curve"]


def test_our_objective_with_nothing_in_it_gives_dpos_steps(llama, plain, tmp_path):
    config = config_of(terms={"rpo": {"coefficient": NOTHING}})
    report, weights = run_align(tmp_path, wordy(), policy=llama, config=config)
    for ours, theirs in zip(report["curve"], plain[1]["curve"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6)
        assert ours["margin"] == pytest.approx(theirs["margin"], abs=1e-5)
    assert_equal(weights, plain[2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["adapters", "all weights", "reference by name"])
def test_a_policy_that_has_not_moved_is_its_reference_in_bfloat16_too(llama, tmp_path, kind):
    """One is computed with a gradient and the other without, which may not tell them apart."""
    changes = {
        "fit__compute": {"autocast": "bfloat16"},
        "fit__lora": {"rank": 2 if kind == "adapters" else 0},
        "reference": llama.path if kind == "reference by name" else None,
    }
    report, _ = run_align(tmp_path, wordy(), policy=llama, config=config_of(**changes))
    assert report["curve"][0]["loss"] == torch.tensor(2.0).log().item()


@pytest.mark.parametrize("autocast", ["none", "bfloat16"])
def test_a_policy_that_has_not_moved_says_of_the_texts_of_terms_what_its_reference_says(
    llama, tmp_path, autocast
):
    """To the rounding of float32: texts lie in rows of other widths than beside pairs."""
    settings = {"form": "logistic"}
    for key, field, word in (("path", "response", "good"), ("samples", "responses", "bad")):
        said = [f"{word}{' and a fox' * (index + len(word))}" for index in range(4)]
        rows = [
            {"prompt": f"question {index}", field: text if field == "response" else [text]}
            for index, text in enumerate(said)
        ]
        path = tmp_path / f"{key}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings[key] = str(path)
    terms = {"demonstrations": settings}
    config = config_of(terms=terms, fit__compute={"autocast": autocast})
    report, _ = run_align(tmp_path, wordy(), policy=llama, config=config)
    first, tie = report["curve"][0], torch.tensor(2.0).log().item()
    assert (first["base"], first["margin"]) == (tie, 0.0)
    assert first["demonstrations"] == pytest.approx(tie, abs=2e-6)


def test_what_it_learns_holds_on_pairs_that_it_has_not_seen(plain):
    held_out = plain[1]["held_out"]
    assert held_out["num_pairs"] == 6
    assert held_out["before"]["accuracy"]["value"] == 0.5  # a policy ties with itself
    assert held_out["after"]["accuracy"]["value"] == 1.0
    assert held_out["longest"]["value"] == pytest.approx(1 - held_out["shortest"]["value"])
    gaps = [
        held_out[when]["log_prob_chosen"] - held_out[when]["log_prob_rejected"]
        for when in ("before", "after")
    ]
    assert gaps[1] > gaps[0]
    assert json.loads(json.dumps(plain[1])) == plain[1]
    assert plain[1]["curve"][0]["loss"] == pytest.approx(0.6931472, abs=1e-6)


def test_the_policy_loads_everywhere(llama, plain, tmp_path):
    path = str(plain[0] / "policy")
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(path),
        AutoTokenizer.from_pretrained(path),
    )
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(llama.path).chat_template
    assert model.config.use_cache
    scorer = open_scorer(f"{path}|{llama.path}|0.1", options=ScorerOptions(), notice=print)
    scores = scorer.score(wordy(6, split="test"))
    assert (scores.chosen_N > scores.rejected_N).all()
    prompts = [pair.prompt for pair in wordy(2)]
    sampled = sample_responses(
        llama.model_copy(update={"path": path}),
        prompts,
        how=Sampling(num=1, max_new_tokens=4),
        seed=0,
        folder=tmp_path,
    )
    assert len(sampled) == 2


def test_verdicts_turn_weigh_and_leave_out(llama, tmp_path):
    pairs = wordy(8)
    verdicts = [Verdict(pair.id, target=0.2, margin=-0.5, weight=1.5) for pair in pairs]
    verdicts[3] = Verdict(pairs[3].id, weight=0.0, reason="drop")
    report, _ = run_align(
        tmp_path, pairs, policy=llama, config=config_of(fit__max_steps=1), verdicts=verdicts
    )
    assert (report["num_pairs"], report["num_swapped"]) == (7, 7)
    assert report["num_left_out"] == {"weight_0": 1}
    gap = torch.tensor(-0.5)  # no gap yet, where half a unit is asked for
    log_sigmoid = torch.nn.functional.logsigmoid
    expected = -1.5 * (0.8 * log_sigmoid(gap) + 0.2 * log_sigmoid(-gap))
    assert report["curve"][0]["loss"] == pytest.approx(expected.item(), abs=1e-6)


def test_another_reference_gives_rewards_from_the_start(llama, plain, tmp_path):
    policy = llama.model_copy(update={"path": str(plain[0] / "policy")})
    config = config_of(reference=llama.path, fit__max_steps=1, fit__batch_size=16)
    report, _ = run_align(
        tmp_path, wordy(), policy=policy, config=config, held_out=wordy(6, split="test")
    )
    assert report["curve"][0]["accuracy"] == 1.0
    assert report["held_out"]["before"] == plain[1]["held_out"]["after"]


@pytest.mark.slow
@pytest.mark.parametrize("lora", [{}, {"rank": 2}], ids=["all weights", "adapters"])
def test_a_killed_run_ends_with_the_same_bits(llama, tmp_path, lora):
    config = config_of(
        **SPO,
        fit__lora=lora,
        fit__max_steps=12,
        fit__compute={"save_every": 2},
        fit__optimiser={"warmup_frac": 0.5},
    )
    calm, victim = tmp_path / "calm", tmp_path / "victim"
    more = {"policy": llama, "config": config, "held_out": wordy(6, split="test")}
    expected = run_align(calm, wordy(), **more)
    complete = victim / "work" / "checkpoint-4" / "complete.json"
    code = end_of_child(lambda: run_align(victim, wordy(), **more), dies_at=complete)
    assert code == -signal.SIGKILL
    assert last_complete(victim / "work") is not None
    assert not (victim / "policy").exists()
    resumed = run_align(victim, wordy(), **more)
    assert_equal(resumed[1], expected[1])
    assert without_timing(resumed[0]) == without_timing(expected[0])


def test_spo_trains_a_head_that_is_not_in_the_policy(llama, plain, tmp_path):
    config = config_of(**SPO, fit__max_steps=2)
    report, weights = run_align(
        tmp_path, wordy(), policy=llama, config=config, held_out=wordy(6, split="test")
    )
    assert weights.keys() == plain[2].keys()
    assert report["terms"]["spo"]["num_pairs_with_versions"] == 16
    assert report["terms"]["spo"]["num_held_out_texts"] == 24
    assert 0 <= report["terms"]["spo"]["degree_accuracy"] <= 1
    assert report["curve"][1]["spo"] != report["curve"][0]["spo"]
    assert (tmp_path / "spo.parquet").is_file()


def test_what_cannot_work_is_refused_before_anything_is_loaded(llama, tmp_path, monkeypatch):
    how = {"policy": llama, "config": config_of(), "seed": 0, "work": tmp_path, "out": tmp_path}
    half = llama.model_copy(update={"dtype": "bfloat16"})
    missing = config_of(terms={"demonstrations": {"path": "none.jsonl"}})
    with pytest.raises(DataError, match=r"terms\.demonstrations\.path: none\.jsonl: no such file"):
        align(wordy(1), [Verdict("p0")], **{**how, "config": missing})
    with pytest.raises(ConfigError, match=r"dtype is bfloat16 and fit\.lora\.rank is 0"):
        align(wordy(1), [Verdict("p0")], **{**how, "policy": half})
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="2 processes were launched"):
        align(wordy(1), [Verdict("p0")], **how)


def test_a_loss_that_is_no_number_stops_a_run():
    marker, state = Marker(print), TrainerState(global_step=7)
    arguments = SimpleNamespace(learning_rate=0.5)
    marker.on_log(arguments, state, TrainerControl(), logs={"loss": 0.7})
    with pytest.raises(ConfigError, match=r"the loss of step 7 is nan; try a learning_rate below"):
        marker.on_log(arguments, state, TrainerControl(), logs={"loss": float("nan")})
