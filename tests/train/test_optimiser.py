"""Schedule, betas and clipping reach the optimiser; what was trained before them is still known."""

import json
import math

import pytest
import torch
from fitting import FAST, assert_same, learnable, run_fit, settings

from tamis.policy.align.arguments import dpo_arguments
from tamis.policy.align.config import AlignConfig
from tamis.policy.rl.arguments import rl_arguments
from tamis.policy.rl.config import RLConfig
from tamis.policy.settings import PolicyFit
from tamis.train.arguments import training_arguments
from tamis.train.config import TrainConfig
from tamis.train.step_config import OptimiserConfig

NUM_STEPS, RATE = 10, 1e-3
OTHER = OptimiserConfig(
    schedule="cosine", warmup_frac=0.2, weight_decay=0.1, betas=(0.8, 0.95), max_grad_norm=5.0
)
RATES = {
    "linear": lambda step: 1 - (step - 2) / (NUM_STEPS - 2),
    "cosine": lambda step: (1 + math.cos(math.pi * (step - 2) / (NUM_STEPS - 2))) / 2,
    "inverse_sqrt": lambda step: math.sqrt(2 / step),
}


def of_rewards(work):
    train = TrainConfig(optimiser=OTHER)
    return training_arguments(train, num_pairs=160, num_steps=NUM_STEPS, seed=0, work=work)


def of_preferences(work):
    config = AlignConfig(fit=PolicyFit(max_steps=NUM_STEPS, optimiser=OTHER))
    return dpo_arguments(config, max_length=64, num_pairs=160, seed=0, work=work)


def of_reinforcement(work):
    fit = PolicyFit(batch_size=16, max_steps=NUM_STEPS, optimiser=OTHER)
    config = RLConfig(fit=fit, num_generations=2)
    return rl_arguments(config, num_prompts=160, seed=0, work=work, every=None)


@pytest.mark.parametrize("arguments", [of_rewards, of_preferences, of_reinforcement])
def test_all_trainings_move_weights_as_asked(arguments, tmp_path):
    made = arguments(tmp_path)
    assert made.lr_scheduler_type == "cosine"
    assert (made.warmup_steps, made.weight_decay, made.max_grad_norm) == (2, 0.1, 5.0)
    assert (made.adam_beta1, made.adam_beta2) == (0.8, 0.95)


@pytest.mark.parametrize("schedule", list(RATES))
def test_the_rate_rises_and_falls_as_the_schedule_says(schedule, llama, tmp_path):
    optimiser = {"schedule": schedule, "warmup_frac": 0.2, "betas": (0.8, 0.95)}
    train = settings(
        max_steps=NUM_STEPS, learning_rate=RATE, optimiser=optimiser, compute__save_every=NUM_STEPS
    )
    run_fit(tmp_path, learnable(), model=llama, train=train)
    last = tmp_path / "work" / f"checkpoint-{NUM_STEPS}"
    told = json.loads((last / "trainer_state.json").read_text())["log_history"]
    falling = [RATES[schedule](step) for step in range(2, NUM_STEPS)]
    rates = [entry["learning_rate"] for entry in told if "learning_rate" in entry]
    assert rates == pytest.approx([0.0, RATE / 2, *(RATE * part for part in falling)])
    groups = torch.load(last / "optimizer.pt", weights_only=True)["param_groups"]
    assert {tuple(group["betas"]) for group in groups} == {(0.8, 0.95)}


def test_longer_gradients_are_cut(llama, tmp_path):
    pairs = learnable()
    _, cut = run_fit(
        tmp_path / "cut", pairs, model=llama, train=settings(optimiser__max_grad_norm=1e-15)
    )
    _, start = run_fit(tmp_path / "start", pairs, model=llama, train=settings(learning_rate=1e-12))
    _, plain = run_fit(tmp_path / "plain", pairs, model=llama, train=FAST)
    assert_same(cut, start, rtol=0, atol=1e-6)
    with pytest.raises(AssertionError):
        assert_same(plain, start, rtol=0, atol=1e-6)


def test_what_was_trained_before_there_were_these_keys_is_still_known():
    before = {"warmup_frac": 0.1, "weight_decay": 0.0}
    plain, other = TrainConfig().identity(), TrainConfig(optimiser=OTHER).identity()
    assert before.items() <= plain.items()
    assert not {"optimiser", "schedule", "betas", "max_grad_norm"} & plain.keys()
    assert other["schedule"] == "cosine"
    assert other["max_grad_norm"] == 5.0
