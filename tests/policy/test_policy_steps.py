"""How many steps a run has, and how many of them warm up."""

import pytest
import torch
from aligning import config_of, run_align, wordy
from safetensors.torch import load_file

from tamis.models.load import load_language_model
from tamis.policy.align.arguments import dpo_arguments
from tamis.policy.align.config import AlignConfig
from tamis.policy.rl.arguments import rl_arguments
from tamis.policy.rl.config import RLConfig
from tamis.policy.settings import PolicyFit
from tamis.train.arguments import training_arguments
from tamis.train.config import TrainConfig


def align_steps(fit, work):
    config = AlignConfig(fit=fit)
    return dpo_arguments(config, max_length=64, num_pairs=160, seed=0, work=work)


def rl_steps(fit, work):
    config = RLConfig(fit=fit, num_generations=2)
    return rl_arguments(config, num_prompts=160, seed=0, work=work, every=None)


def train_steps(fit, work):
    train = TrainConfig(optimiser=fit.optimiser)
    steps = fit.max_steps
    return training_arguments(train, num_pairs=160, num_steps=steps, seed=0, work=work)


@pytest.mark.parametrize("steps", [1, 7, 500])
def test_max_steps_goes_before_the_epochs(steps, tmp_path):
    fit = PolicyFit(batch_size=16, epochs=3, max_steps=steps)
    assert align_steps(fit, tmp_path).max_steps == steps
    whole = align_steps(fit.model_copy(update={"max_steps": None}), tmp_path)
    assert whole.max_steps == 30


@pytest.mark.parametrize("arguments", [align_steps, rl_steps, train_steps])
@pytest.mark.parametrize(
    ("frac", "steps", "warm"), [(0.1, 1, 0), (1.0, 4, 3), (0.1, 2, 1), (0.1, 40, 4), (0.0, 9, 0)]
)
def test_a_run_is_never_all_warm_up(arguments, frac, steps, warm, tmp_path):
    fit = PolicyFit(batch_size=16, max_steps=steps, optimiser={"warmup_frac": frac})
    assert arguments(fit, tmp_path).warmup_steps == warm


def test_a_run_of_one_step_trains(llama, tmp_path):
    config = config_of(fit={"batch_size": 4, "max_steps": 1, "learning_rate": 1e-2})
    report, trained = run_align(tmp_path, wordy(4), policy=llama, config=config)
    load_language_model(llama).save_pretrained(tmp_path / "start")
    start = load_file(tmp_path / "start" / "model.safetensors")
    assert report["num_steps"] == 1
    assert any(not torch.equal(trained[name], weight) for name, weight in start.items())


def test_more_steps_than_a_pass_has_read_the_pairs_again(llama, tmp_path):
    config = config_of(fit={"batch_size": 4, "max_steps": 3, "learning_rate": 1e-2})
    report, _ = run_align(tmp_path, wordy(4), policy=llama, config=config)
    assert report["num_steps"] == 3
    assert len(report["curve"]) == 3
