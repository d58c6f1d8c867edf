import json
import os
import random
import resource
import signal

import numpy as np
import pytest
import torch
from dying import end_of_child
from fitting import (
    FAST,
    answer,
    assert_same,
    judged,
    learnable,
    run_fit,
    settings,
    without_timing,
)
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from tamis.errors import ConfigError
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.checkpoint import load_scorer
from tamis.models.load import load_reward_model
from tamis.models.rows.plan import RowPlan
from tamis.models.score import score_pairs
from tamis.models.source import quiet
from tamis.models.tokenise import load_tokenizer
from tamis.train.build import trainable_model
from tamis.train.collate import make_collate
from tamis.train.dataset import training_set
from tamis.train.objective import base_objective
from tamis.train.trainer import last_complete
from tamis.types import Pair, Verdict

PADDED = RowPlan("padded", "")
run = run_fit


@pytest.fixture(scope="module")
def many():
    return learnable()


@pytest.mark.parametrize("sampler", ["shuffle", "group", "length"])
def test_it_learns_and_the_checkpoint_holds_what_it_learnt(llama, many, tmp_path, sampler):
    train = settings(max_steps=30, sampler=sampler, learning_rate=3e-3)
    verdicts = [Verdict(pair.id) for pair in many]
    report, _ = run(tmp_path, many, model=llama, train=train, verdicts=verdicts)
    assert report["loss"][0]["loss"] == pytest.approx(np.log(2), abs=0.05)
    assert report["loss"][-1]["loss"] < 0.4
    scorer = load_scorer(str(tmp_path / "rm"))
    scores = score_pairs(scorer.model, scorer.tokenizer, many, max_length=scorer.max_length)
    assert (scores.chosen_N > scores.rejected_N).all()


def test_the_report_says_what_happened_and_is_json(llama, many, tmp_path):
    train = settings(max_steps=None, epochs=2.0, batch_size=8)
    same = Pair("same", (), answer("x"), answer("x"), row=30)
    verdicts = [*judged(many[1:]), Verdict("p0", weight=0.0, reason="drop"), Verdict("same")]
    report, _ = run(tmp_path, [*many, same], model=llama, train=train, verdicts=verdicts)
    assert json.loads(json.dumps(report)) == report
    assert report["num_pairs"] == 29
    assert report["num_cut"] == 0
    assert report["num_steps"] == 8
    assert report["epochs"] == 2.0
    assert report["num_left_out"] == {"identical_after_truncation": 1, "weight_0": 1}
    assert [row["row"] for row in report["left_out_rows"]] == [0, 30]
    assert [entry["step"] for entry in report["loss"]] == list(range(1, 9))


def test_the_first_loss_is_the_sum_of_weighted_losses_by_the_number_of_pairs(llama, many, tmp_path):
    train = settings(batch_size=30, max_steps=1, compute__micro_batch_size=4)
    report, _ = run(tmp_path, many, model=llama, train=train)
    tokenizer, model = load_tokenizer(llama), load_reward_model(llama, seed=0)
    scores = score_pairs(model, tokenizer, many, max_length=256)
    gap = torch.tensor(scores.chosen_N - scores.rejected_N - 0.1)
    weight = torch.tensor([verdict.weight for verdict in judged(many)])
    loss = weight * (0.9 * bradley_terry(gap) + 0.1 * bradley_terry(-gap))
    assert report["loss"][0]["loss"] == pytest.approx(float(loss.sum() / 30), abs=1e-6)
    accuracy = np.mean(scores.chosen_N > scores.rejected_N)
    assert report["loss"][0]["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("micro", [1, 7, 30])
def test_accumulating_small_parts_gives_the_gradient_of_the_whole_batch(
    llama, many, tmp_path, micro
):
    train = settings(
        batch_size=30, max_steps=2, compute__micro_batch_size=micro, compute__save_every=2
    )
    run(tmp_path, many, model=llama, train=train)
    state = json.loads((tmp_path / "work" / "checkpoint-2" / "trainer_state.json").read_text())
    tokenizer, model = load_tokenizer(llama), load_reward_model(llama, seed=0)
    data = training_set(many, judged(many), tokenizer=tokenizer, max_length=256)
    batch = make_collate(data, pad_id=tokenizer.pad_token_id, plan=PADDED)([np.arange(30)])
    (base_objective(bradley_terry)(model, batch).loss_B.sum() / 30).backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    first, second = state["log_history"][:2]
    assert first["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    assert second["loss"] < first["loss"]


def test_a_seed_gives_one_model_and_another_seed_another(llama, many, tmp_path):
    first, again, other = (
        run(tmp_path / name, many, model=llama, train=FAST, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert_same(first[1], again[1], atol=0, rtol=0)
    assert without_timing(first[0]) == without_timing(again[0])
    assert not torch.equal(first[1]["score.weight"], other[1]["score.weight"])


def test_lora_is_saved_merged_and_as_an_adapter_with_its_head(any_model, many, tmp_path):
    train = settings(lora__rank=4)
    config = any_model.model_copy(update={"num_layers": 1})
    _, state = run(tmp_path, many, model=config, train=train)
    assert not [name for name in state if "lora" in name]
    tokenizer = load_tokenizer(config)
    base = load_reward_model(config, seed=7)
    with quiet():
        merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
        adapted = PeftModel.from_pretrained(base, str(tmp_path / "rm" / "adapter")).eval()
    one, two, three = (
        score_pairs(model, tokenizer, many, max_length=256).chosen_N
        for model in (merged, adapted, load_reward_model(config, seed=0))
    )
    np.testing.assert_allclose(one, two, atol=1e-6)
    assert np.abs(one - three).max() > 1e-3


def test_a_bfloat16_trunk_is_trained_with_adapters_only(llama, many, tmp_path):
    config = llama.model_copy(update={"dtype": "bfloat16"})
    with pytest.raises(ConfigError, match=r"dtype is bfloat16 and lora\.rank is 0"):
        trainable_model(config, FAST, seed=0, pad_token_id=3)
    train = settings(lora__rank=2, max_steps=2)
    report, state = run(tmp_path, many, model=config, train=train)
    assert state["score.weight"].dtype == torch.float32
    assert state["model.norm.weight"].dtype == torch.bfloat16
    assert report["num_steps"] == 2


def test_autocast_keeps_weights_in_float32(llama, many, tmp_path):
    train = settings(compute__autocast="bfloat16", max_steps=2)
    verdicts = [Verdict(pair.id) for pair in many]
    report, state = run(tmp_path, many, model=llama, train=train, verdicts=verdicts)
    assert {weight.dtype for weight in state.values()} == {torch.float32}
    assert report["loss"][0]["loss"] == pytest.approx(np.log(2), abs=0.05)


def test_an_unknown_loss_is_an_error_that_lists_the_known(llama, many, tmp_path):
    train = settings(loss="hinge2")
    with pytest.raises(ConfigError, match=r"unknown loss 'hinge2'.*bradley_terry"):
        run(tmp_path, many, model=llama, train=train)


def test_a_diverged_run_says_so(llama, many, tmp_path):
    train = settings(learning_rate=1e30, max_steps=6)
    with pytest.raises(ConfigError, match=r"training diverged: the loss of step \d+ is"):
        run(tmp_path, many, model=llama, train=train)


def test_a_folder_without_its_mark_is_no_checkpoint(tmp_path):
    for step in (5, 10, 15):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert last_complete(tmp_path) is None
    for step in (5, 10):
        (tmp_path / f"checkpoint-{step}" / "complete.json").write_text("{}")
    assert last_complete(tmp_path) == str(tmp_path / "checkpoint-10")


KILLED = {
    "all weights": {"compute__save_every": 3, "max_steps": 30},
    # every evaluation is a checkpoint; at this learning rate it stops before step 60
    "adapters, early stopping": {
        "lora__rank": 2,
        "learning_rate": 1e-2,
        "watch__holdout_frac": 0.2,
        "watch__eval_every": 2,
        "watch__patience": 6,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", KILLED.values(), ids=KILLED)
def test_a_killed_run_ends_with_the_same_bits(llama, many, tmp_path, changes):
    fixed = {"max_steps": 60, "learning_rate": 1e-3, "compute__micro_batch_size": 2}
    train = settings(**{**fixed, **changes})
    expected = run(tmp_path / "calm", many, model=llama, train=train)
    victim = tmp_path / "victim"
    every = train.compute.save_every or train.watch.eval_every
    draw = random.Random(os.getpid())
    step, moment = every * draw.randint(2, 6), draw.uniform(0.0, 0.05)
    print(f"killed {moment:.3f} s after the checkpoint of step {step}")
    code = end_of_child(
        lambda: run(victim, many, model=llama, train=train),
        dies_at=victim / "work" / f"checkpoint-{step}",
        moment_s=moment,
    )
    assert code == -signal.SIGKILL
    assert last_complete(victim / "work") is not None
    assert not (victim / "rm").exists()
    resumed = run(victim, many, model=llama, train=train)
    assert_same(resumed[1], expected[1], atol=0, rtol=0)
    assert without_timing(resumed[0]) == without_timing(expected[0])


def test_a_resumed_run_computes_only_what_is_missing(llama, many, tmp_path):
    train = settings(compute__save_every=2)
    run(tmp_path, many, model=llama, train=train)
    complete = last_complete(tmp_path / "work")
    assert complete is not None
    assert complete.endswith("checkpoint-4")
    report, _ = run(tmp_path, many, model=llama, train=train)
    assert [entry["step"] for entry in report["loss"]] == [1, 2, 3, 4]


def test_left_out_pairs_change_nothing(llama, many, tmp_path):
    dropped = [*judged(many[:20]), *(Verdict(p.id, weight=0.0) for p in many[20:])]
    _, with_dropped = run(tmp_path / "a", many, model=llama, train=FAST, verdicts=dropped)
    _, without = run(tmp_path / "b", many[:20], model=llama, train=FAST)
    assert_same(with_dropped, without, atol=0, rtol=0)


def test_collate_is_a_function_of_the_pairs_alone(llama, many):
    tokenizer = load_tokenizer(llama)
    data = training_set(many, judged(many), tokenizer=tokenizer, max_length=256)
    collate = make_collate(data, pad_id=tokenizer.pad_token_id, plan=PADDED)
    first, again = (collate([np.arange(5)]) for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


# the weights do not fit, or they do and the optimiser's state does not
@pytest.mark.parametrize("most", [60_000, 200_000])
def test_a_disk_that_is_full_is_named_and_the_run_goes_on_when_it_is_not(
    llama, many, tmp_path, most
):
    train = settings(compute__save_every=2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(ConfigError, match=r"cannot write .*checkpoint-2: "):
            run(tmp_path, many, model=llama, train=train)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert last_complete(tmp_path / "work") is None
    report, _ = run(tmp_path, many, model=llama, train=train)
    assert report["num_steps"] == 4


def test_memory_is_looked_at_after_every_step(llama, many, tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr("tamis.runs.memory.Growth.check", lambda _: looks.append(1))
    run(tmp_path, many, model=llama, train=settings(max_steps=3))
    assert len(looks) == 3
