"""The command `tamis rl`."""

import json

import pytest
from serving import write_checkpoint

from tamis.cli import main
from tamis.cli.rl import settings_of
from tamis.errors import ConfigError

SHORT = ["--max-new-tokens", "4", "--batch-size", "4", "--num-generations", "2", "--max-steps", "1"]


def settings(*texts, **flags):
    return settings_of("org/policy", ["runs/rm"], flags=flags, texts=list(texts))


def test_a_policy_is_trained_and_summed_up(llama, tmp_path, capsys):
    rm = write_checkpoint(llama.path, tmp_path / "rm", seed=1)
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"Say something, number {n}."} for n in range(4)]
    prompts.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    command = ["rl", prompts, "--policy", llama.path, "--rm", rm, "--out", tmp_path / "run", *SHORT]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, command), "--method", "rloo", "--set", "max_prompt_tokens=90"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "RLOO, 1 step" in shown
    assert "KL from the start, nats an answer" in shown
    assert (tmp_path / "run/rl/policy/model.safetensors").is_file()


def test_later_settings_go_before_earlier_ones():
    flags = {"preset": "salmon", "fit.learning_rate": 1e-4, "reward.held_out": 5, "method": None}
    config, reward, policy = settings(
        "fit.learning_rate=0.01", "reward.draw=3", "policy.num_layers=2", **flags
    )
    assert (config.method, config.fit.learning_rate, config.temperature) == ("grpo", 0.01, 0.7)
    assert (reward.shaping.no_stop_penalty, reward.draw, reward.held_out) == (6.0, 3, 5)
    assert reward.scorers == ("runs/rm",)
    assert (policy.path, policy.num_layers) == ("org/policy", 2)
    assert settings("reward.shaping.no_stop_penalty=0", **flags)[1].shaping.no_stop_penalty == 0
    assert settings("kl_coefficient=null")[0].kl_coefficient is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kl", "expected KEY=VALUE"),
        ("temprature=1", "temprature"),
        ("reward.temperature=1", "temperature"),
        ("method=ppo", "method"),
        ("method.x=1", "options: key 'method.x': method is 'rloo', no group of settings"),
        ("reward.every=null", "options, reward: key 'every' is None"),
    ],
)
def test_a_setting_that_is_unknown_is_named(text, message):
    with pytest.raises(ConfigError, match=message):
        settings(text, method="rloo")


def test_a_setting_below_a_value_of_the_reward_is_named():
    with pytest.raises(ConfigError, match=r"^options, reward: key 'draw.x': draw is 3, no group"):
        settings("reward.draw=3", "reward.draw.x=1")


def test_an_unknown_preset_is_named():
    with pytest.raises(ConfigError, match="unknown preset 'ppo'; expected one of secrets2"):
        settings(preset="ppo")
