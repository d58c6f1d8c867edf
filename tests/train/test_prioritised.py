"""The prioritised sampler in training: what is drawn, what it weighs, what is kept and reported."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fitting import FAST, assert_same, judged, learnable, run_fit, settings
from pydantic import ValidationError

from tamis.data import read_pairs, write_pairs
from tamis.errors import ConfigError
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.load import load_reward_model
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer
from tamis.train.arguments import training_arguments
from tamis.train.assemble import assemble
from tamis.train.dataset import training_set
from tamis.train.priorities import draw_probabilities, importance_weights
from tamis.train.prioritised import FILE, Prioritised, wrong_labels
from tamis.train.step_config import PriorityConfig
from tamis.types import Verdict

STILL = 1e-14  # a learning rate at which the model stays what it is


@pytest.fixture(scope="module")
def many():
    return learnable()


def drawing(**changes):
    return settings(sampler="prioritised", **changes)


def stored(path, step):
    with np.load(path / "work" / f"checkpoint-{step}" / FILE) as file:
        return {name: file[name] for name in file.files}


def known_residuals(llama, many):
    """Return the residuals of the untrained model, with the verdicts of `judged`."""
    scores = score_pairs(
        load_reward_model(llama, seed=0), load_tokenizer(llama), many, max_length=256
    )
    delta_N = (scores.chosen_N - scores.rejected_N).astype(np.float64)
    return np.abs(1 / (1 + np.exp(0.1 - delta_N)) - 0.9)


@pytest.mark.parametrize("micro", [None, 3])
def test_pairs_that_were_seen_have_their_residual_and_others_the_highest(
    llama, many, tmp_path, micro
):
    train = drawing(
        learning_rate=STILL,
        batch_size=8,
        max_steps=3,
        compute__save_every=1,
        compute__micro_batch_size=micro,
    )
    report, _ = run_fit(tmp_path, many, model=llama, train=train)
    found = stored(tmp_path, 3)
    seen_N = found["num_draws"] > 0
    assert found["num_draws"].sum() == 3 * 8 == report["draws"]["num_draws"]
    assert seen_N.sum() == report["draws"]["num_unique"] < 30
    expected_N = np.where(seen_N, known_residuals(llama, many), 0.95)
    assert found["residual"] == pytest.approx(expected_N, abs=1e-5)


def test_the_loss_of_a_step_is_that_of_the_drawn_pairs_with_their_weights(llama, many, tmp_path):
    config = {"alpha": 2.0}
    train = drawing(
        learning_rate=STILL,
        batch_size=8,
        max_steps=3,
        compute__save_every=1,
        compute__micro_batch_size=3,
        objective__priorities=config,
    )
    report, _ = run_fit(tmp_path, many, model=llama, train=train)
    before, after = (stored(tmp_path, step) for step in (2, 3))
    drawn_N = after["num_draws"] - before["num_draws"]
    priorities = PriorityConfig(**config)
    probability_N = draw_probabilities(before["residual"], config=priorities)
    weight_N = importance_weights(probability_N, beta=1.0)
    assert np.ptp(weight_N) > 0.1
    scores = score_pairs(
        load_reward_model(llama, seed=0), load_tokenizer(llama), many, max_length=256
    )
    gap_N = torch.tensor(scores.chosen_N - scores.rejected_N - 0.1)
    own_N = np.array([verdict.weight for verdict in judged(many)])
    loss_N = own_N * (0.9 * bradley_terry(gap_N) + 0.1 * bradley_terry(-gap_N)).numpy()
    expected = (drawn_N * weight_N * loss_N).sum() / 8
    assert report["loss"][-1]["loss"] == pytest.approx(expected, rel=1e-5)


def test_accumulating_small_parts_draws_and_learns_the_same(llama, many, tmp_path):
    found = [
        run_fit(
            tmp_path / str(micro),
            many,
            model=llama,
            train=drawing(batch_size=8, learning_rate=1e-3, compute__micro_batch_size=micro),
        )
        for micro in (8, 2)
    ]
    assert_same(found[0][1], found[1][1], atol=1e-4, rtol=0)
    counts = [report["draws"]["num_unique"] for report, _ in found]
    assert counts[0] == counts[1]


def noisy(many):
    """Pairs of which every sixth has a wrong label, and gold says so."""
    made = []
    for number, pair in enumerate(many):
        gold = dataclasses.replace(pair, gold=1.0)
        made.append(gold.swapped() if number % 6 == 0 else gold)
    return made


def test_the_report_says_what_was_drawn_and_how_much_of_it_is_wrong(llama, many, tmp_path):
    train = drawing(
        max_steps=60,
        learning_rate=3e-3,
        watch__holdout_frac=0.2,
        watch__eval_every=20,
        objective__priorities={"beta": "measured", "alpha": 1.0},
    )
    pairs = noisy(many)
    keep = [Verdict(pair.id) for pair in pairs]
    report, _ = run_fit(tmp_path, pairs, model=llama, train=train, verdicts=keep)
    assert json.loads(json.dumps(report)) == report
    draws, num_pairs = report["draws"], report["num_pairs"]
    assert draws["num_draws"] == 60 * 4
    assert draws["num_pairs"] == num_pairs < 30
    assert draws["wrong_frac_of_pairs"] == pytest.approx(1 / 6, abs=0.1)
    # what the model cannot explain comes again and again
    assert draws["wrong_frac_of_draws"] > draws["wrong_frac_of_pairs"] + 0.05
    assert draws["curve"][-1]["num_unique"] == draws["num_unique"] == num_pairs
    assert [point["step"] for point in draws["curve"]] == list(range(1, 61))
    held_out = {p["step"]: p["held_out_accuracy"] for p in draws["curve"] if len(p) == 7}
    assert held_out == {p["step"]: p["accuracy"] for p in report["held_out"]}
    assert draws["curve"][0]["effective_frac"] == pytest.approx(1.0)
    assert draws["curve"][0]["beta"] == pytest.approx(0.4)
    assert draws["curve"][-1]["effective_frac"] < 0.95
    assert 0.4 < draws["curve"][-1]["beta"] < 1.0


def test_it_learns(llama, many, tmp_path):
    train = drawing(max_steps=40, learning_rate=3e-3)
    keep = [Verdict(pair.id) for pair in many]
    report, _ = run_fit(tmp_path, many, model=llama, train=train, verdicts=keep)
    assert report["loss"][-1]["loss"] < 0.4
    assert "wrong_frac_of_draws" not in report["draws"]
    assert report["draws"]["curve"][0].keys() == {
        "step",
        "num_unique",
        "effective_frac",
        "beta",
        "accuracy",
    }


def test_a_label_is_wrong_where_the_side_believed_better_is_not(llama, many, tmp_path):
    gold = [1.0, 0.0, None, 0.5, 0.0, 0.9]
    pairs = [dataclasses.replace(p, gold=g) for p, g in zip(many, gold, strict=False)]
    verdicts = [Verdict(pair.id, target=0.0 if n >= 4 else 1.0) for n, pair in enumerate(pairs)]
    data = training_set(pairs, verdicts, tokenizer=load_tokenizer(llama), max_length=256)
    expected = [0.0, 1.0, np.nan, np.nan, 0.0, 1.0]
    assert wrong_labels(pairs, data).tolist() == pytest.approx(expected, nan_ok=True)
    write_pairs(tmp_path / "pairs.parquet", pairs)
    table = read_pairs(tmp_path / "pairs.parquet")
    assert wrong_labels(table, data).tolist() == pytest.approx(expected, nan_ok=True)


def sampler(tmp_path, *, num_parts=3):
    """Return a sampler of eight pairs, and what the Trainer tells it."""
    data = SimpleNamespace(length_N=np.arange(1, 11))
    draws = Prioritised(
        data,
        np.arange(2, 10),
        config=PriorityConfig(),
        batch_size=6,
        num_steps=4,
        num_parts=num_parts,
        seed=0,
        wrong_N=np.full(8, np.nan),
    )
    args = training_arguments(FAST, num_pairs=8, num_steps=4, seed=0, work=tmp_path)
    return draws, args


def collate(items):
    (numbers,) = items
    ones = torch.ones(len(numbers))
    return {"numbers": numbers, "weight": ones, "labels": ones, "margin": 0 * ones}


def test_every_process_draws_the_same_and_computes_its_own_part(tmp_path):
    parts = []
    for places in ([3], [4], [5], [3, 4, 5]):
        draws, _ = sampler(tmp_path)
        parts.append([batch["numbers"] for batch in draws.batches(places, collate=collate)])
    assert draws.places == list(range(12))
    for number in range(3):
        assert parts[number][0].tolist() == parts[3][number].tolist()
    drawn = np.concatenate(parts[3])
    assert len(drawn) == 6
    assert drawn.min() >= 2


def test_a_checkpoint_keeps_what_was_learnt_of_the_pairs(tmp_path):
    draws, args = sampler(tmp_path)
    state = SimpleNamespace(global_step=0, is_world_process_zero=True)

    def take_step(draws, step):
        batches = draws.batches([3 * step, 3 * step + 1, 3 * step + 2], collate=collate)
        for batch in batches:
            outcome = SimpleNamespace(delta_B=torch.from_numpy(batch["numbers"] / 2.0))
            draws.note(batch, outcome)
        draws.on_step_end(args)
        return np.concatenate([batch["numbers"] for batch in batches]).tolist()

    take_step(draws, 0)
    state.global_step = 1
    draws.on_save(args, state)
    again, _ = sampler(tmp_path)
    again.on_train_begin(args, state)
    fresh, _ = sampler(tmp_path)
    expected = [take_step(draws, step) for step in (1, 2)]
    assert [take_step(again, step) for step in (1, 2)] == expected
    assert [take_step(fresh, step) for step in (1, 2)] != expected
    log = [{"step": step, "accuracy": 0.5} for step in (1, 2, 3)]
    assert again.report(log) == draws.report(log)

    path = tmp_path / "checkpoint-1" / FILE
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ConfigError, match=r"checkpoint-1: priorities\.npz is missing or damaged"):
        sampler(tmp_path)[0].on_train_begin(args, state)
    path.unlink()
    with pytest.raises(ConfigError, match="go on from an earlier one"):
        sampler(tmp_path)[0].on_train_begin(args, state)


def test_settings_of_another_sampler_are_refused():
    with pytest.raises(ValidationError, match="priorities is set and sampler is shuffle"):
        settings(objective__priorities={"alpha": 0.5})
    with pytest.raises(ConfigError, match="sampler is prioritised, which scatters them"):
        assemble(drawing(loss="plackett_luce"))
