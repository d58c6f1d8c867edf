"""Settings of reinforcement learning, and the published ones."""

import ast
import inspect
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError
from trl import GRPOConfig, RLOOConfig
from trl.trainer import grpo_trainer

from tamis.errors import ConfigError
from tamis.policy.rl.arguments import (
    MEASURED_ALONE,
    NAMES,
    num_steps_of,
    order_of,
    rl_arguments,
)
from tamis.policy.rl.config import RewardConfig, RLConfig
from tamis.policy.rl.presets import PRESETS, PresetName, published

DOCS = Path(__file__).parents[3] / "docs" / "reinforcement.md"


def arguments(config, tmp_path, *, every=None, num_prompts=40):
    return rl_arguments(config, num_prompts=num_prompts, seed=0, work=tmp_path, every=every)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_every_preset_is_taken_by_trl(name, method, tmp_path):
    config = RLConfig(preset=name, method=method)
    found = arguments(config, tmp_path)
    assert isinstance(found, {"grpo": GRPOConfig, "rloo": RLOOConfig}[method])
    assert found.learning_rate == config.fit.learning_rate
    assert found.num_generations == config.num_generations
    assert found.generation_batch_size == config.fit.batch_size
    assert found.beta == (config.kl_coefficient or MEASURED_ALONE)
    RewardConfig(scorers=("a",), **published(name).reward)


def test_presets_are_complete_and_documented():
    assert set(PRESETS) == set(get_args(PresetName))
    page = DOCS.read_text(encoding="utf-8")
    for name, preset in PRESETS.items():
        assert f"### `{name}`" in page
        assert preset.source in page
        assert {row.how for row in preset.rows} <= {"exact", "approximate", "none"}
        assert any("critic" in row.published and row.how == "none" for row in preset.rows)
        for row in preset.rows:
            line = f"| {row.published} | {row.here} | {row.how} |"
            assert line in page, f"{name}: docs/reinforcement.md lacks the row {line}"
    with pytest.raises(ConfigError, match="unknown preset 'ppo'"):
        published("ppo")


def test_published_numbers_are_those_of_the_papers():
    secrets, meta, metarm = (RLConfig(preset=n) for n in ("secrets2", "secrets2_meta", "metarm"))
    assert (secrets.fit.learning_rate, secrets.fit.batch_size) == (5e-7, 32)
    assert (secrets.temperature, secrets.top_p, secrets.repetition_penalty) == (0.8, 0.9, 1.1)
    assert (secrets.max_new_tokens, secrets.num_generations) == (512, 4)
    assert (secrets.kl_coefficient, secrets.reward_clip) == (0.0, None)
    assert (meta.kl_coefficient, meta.reward_clip) == (0.05, 0.8)
    assert metarm.num_generations == 16
    pcrm = RLConfig(preset="pcrm")
    assert (pcrm.fit.learning_rate, pcrm.kl_coefficient, pcrm.reward_clip) == (1e-5, 0.1, 5.0)
    assert pcrm.fit.optimiser.betas == (0.9, 0.95)
    grm = RLConfig(preset="grm")
    assert (grm.fit.lora.rank, grm.fit.batch_size, grm.kl_coefficient) == (32, 64, 0.0)
    salmon = RLConfig(preset="salmon")
    assert (salmon.kl_coefficient, salmon.fit.batch_size, salmon.max_new_tokens) == (
        0.01,
        288,
        1024,
    )
    assert published("salmon").reward == {"shaping": {"no_stop_penalty": 6.0}}


def test_what_is_given_goes_before_a_preset():
    config = RLConfig.model_validate(
        {"preset": "grm", "top_p": 1.0, "fit": {"lora": {"rank": 8}, "max_steps": 3}}
    )
    assert (config.top_p, config.temperature) == (1.0, 0.7)
    assert (config.fit.lora.rank, config.fit.lora.alpha, config.fit.batch_size) == (8, 64, 64)
    assert RLConfig.model_validate(config.model_dump()) == config
    plain = RLConfig.model_validate({**config.model_dump(), "preset": None})
    assert plain.identity() == config.identity()


def test_trackers_do_not_tell_runs_apart():
    one = RLConfig.model_validate({"fit": {"batch_size": 32, "trackers": ["tensorboard"]}})
    assert one.identity() == RLConfig.model_validate({"fit": {"batch_size": 32}}).identity()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit": {"batch_size": 6}}, "num_generations 4; expected a multiple"),
        ({"fit": {"batch_size": 8, "compute": {"micro_batch_size": 3}}}, "expected a divisor"),
        (
            {"fit": {"batch_size": 8, "lora": {"part": "head"}}},
            "are for reward heads; leave them out",
        ),
        ({"num_generations": 1}, "greater than or equal to 2"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        RLConfig.model_validate(settings)


def test_rewards_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="choose a held_out above 0"):
        RewardConfig(scorers=("a",), gold=("b",))
    with pytest.raises(ValidationError, match="penalty belongs to ensemble lower"):
        RewardConfig(scorers=("a", "b"), penalty=2.0)


def test_every_prompt_comes_once_before_one_comes_again():
    config = RLConfig.model_validate({"fit": {"batch_size": 8, "epochs": 3}})
    assert num_steps_of(config, num_prompts=7) == 12
    order = order_of(config, num_prompts=7, seed=3)
    assert order.shape == (24,)
    for start in (0, 7, 14):
        assert sorted(order[start : start + 7].tolist()) == list(range(7))
    assert not np.array_equal(order[:7], order[7:14])
    longer = RLConfig.model_validate({"fit": {"batch_size": 8, "epochs": 6}})
    assert order_of(longer, num_prompts=7, seed=3)[:24].tolist() == order.tolist()


def test_a_number_of_steps_goes_before_the_epochs():
    for max_steps in (2, 500):
        config = RLConfig.model_validate({"fit": {"batch_size": 8, "max_steps": max_steps}})
        assert num_steps_of(config, num_prompts=20) == max_steps
        order = order_of(config, num_prompts=20, seed=0)
        assert order.shape == (2 * max_steps,)
        counts = np.bincount(order, minlength=20)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("name", "num_steps"), [("secrets2", 2000), ("pcrm", 200)])
def test_a_preset_runs_as_many_steps_as_were_published(name, num_steps):
    assert num_steps_of(RLConfig(preset=name), num_prompts=400) == num_steps


def test_settings_of_trl_are_handed_on(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.policy.rl.arguments.find_spec", lambda name: name)
    config = RLConfig.model_validate(
        {"trl": {"use_vllm": True, "loss_type": "dr_grpo", "num_iterations": 2}, "top_p": 0.5}
    )
    found = arguments(config, tmp_path, every=7)
    assert (found.use_vllm, found.loss_type, found.num_iterations) == (True, "dr_grpo", 2)
    assert (found.top_p, found.eval_steps, found.num_generations_eval) == (0.5, 7, 1)
    # answers are used in two steps each, and no kill may come between them
    assert found.max_steps == 2 * num_steps_of(RLConfig(), num_prompts=40)
    assert found.save_steps % 2 == 0


def test_a_step_is_computed_in_parts(tmp_path):
    fit = {"batch_size": 16, "compute": {"micro_batch_size": 4, "autocast": "bfloat16"}}
    found = arguments(RLConfig.model_validate({"fit": fit}), tmp_path)
    assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == (4, 4)
    assert found.steps_per_generation == 4
    assert found.bf16
    assert not arguments(RLConfig(), tmp_path).bf16
    with pytest.raises(ConfigError, match="TRL refuses the settings"):
        arguments(RLConfig(trl={"vllm_importance_sampling_clip_min": 9.0}), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_type": "gprop"}, "loss_type is 'gprop'; expected one of grpo, bnpo, dr_grpo"),
        ({"loss_type": None}, "loss_type is None; expected one of grpo"),
        ({"importance_sampling_level": "word"}, "is 'word'; expected one of token, sequence"),
        ({"scale_rewards": "groups"}, "scale_rewards is 'groups'; expected one of group, batch"),
        ({"multi_objective_aggregation": "sum"}, "is 'sum'; expected one of sum_then_normalize"),
        ({"vllm_importance_sampling_mode": "mask"}, "is 'mask'; expected one of token_truncate"),
        ({"num_iterations": "two"}, "num_iterations is 'two': Input should be a valid integer"),
        ({"num_iterations": 2.5}, r"num_iterations is 2\.5: Input should be a valid integer"),
        ({"num_iterations": None}, "num_iterations is None: Input should be a valid integer"),
        ({"num_iterations": 0}, "num_iterations is 0; expected a whole number from 1"),
        ({"epsilon": "wide"}, "epsilon is 'wide': Input should be a valid number"),
        ({"mask_truncated_completions": "perhaps"}, "Input should be a valid boolean"),
        ({"sync_ref_model": True}, "sync_ref_model: the reference is the policy at the start"),
        ({"sync_ref_model": "yes"}, "a run that was killed would end with other weights"),
        ({"use_vllm": True}, "use_vllm: vLLM is not installed; try: pip install"),
    ],
)
def test_settings_that_trl_would_refuse_late_are_refused(settings, message, tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.policy.rl.arguments.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"^trl\..*{message}"):
        arguments(RLConfig(trl=settings), tmp_path)


@pytest.mark.parametrize("value", ["two", 2.5, 0])
def test_the_number_of_iterations_is_refused_before_prompts_are_ordered(value):
    with pytest.raises(ConfigError, match=rf"trl\.num_iterations is {value!r}"):
        order_of(RLConfig(trl={"num_iterations": value}), num_prompts=20, seed=0)


def test_values_are_read_as_trl_declares_them(tmp_path):
    settings = {"epsilon": "3e-4", "epsilon_high": 1, "scale_rewards": False}
    found = arguments(RLConfig(trl={**settings, "sync_ref_model": False}), tmp_path)
    assert (found.epsilon, found.epsilon_high, found.scale_rewards) == (3e-4, 1.0, "none")
    assert not found.sync_ref_model


@pytest.mark.parametrize("name", NAMES)
def test_the_names_are_those_that_trl_tells_apart(name, tmp_path):
    """It lists them nowhere, but compares each setting with the names that it knows."""
    told = set()
    for node in ast.walk(ast.parse(inspect.getsource(grpo_trainer))):
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == f"self.{name}":
            told |= {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
    assert told == {known for known in NAMES[name] if isinstance(known, str)}
    for known in NAMES[name]:
        arguments(RLConfig(trl={name: known}), tmp_path)
