"""``tamis align``: pairs and a policy in, a policy and tables out."""

import json
from dataclasses import replace

import pytest
from aligning import wordy

from tamis.cli.align import align_settings
from tamis.data import write_pairs
from tamis.errors import ConfigError
from tamis.runs import read_json


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.parquet"
    train = [replace(pair, split="train") for pair in wordy(8)]
    write_pairs(path, [*train, *wordy(4, split="test")])
    return path


def settings(objective, *texts, has_verdicts=True, **flags):
    return align_settings(
        "here", objective, flags=flags, texts=list(texts), has_verdicts=has_verdicts
    )


def test_a_policy_is_aligned_and_summed_up(tamis, llama, pairs, tmp_path):
    command = ("align", pairs, "--policy", llama.path, "--out", tmp_path, "--objective", "spo")
    command += ("--max-steps", 1, "--batch-size", 4, "--learning-rate", "1e-3")
    done = tamis(*command, "--set", "terms.spo.versions=one", "--set", "policy.num_layers=1")
    assert done.code == 0, done.err
    assert "reference log probs" not in done.err  # a bar of TRL's, where nobody sees it move
    for words in (
        "8 (0 turned)",
        "4 held-out pairs",
        "implied accuracy, %",
        "50.0 [50.0, 50.0]",
        "log p(chosen), nats",
        "always the longer, %",
        "degrees told on held-out answers",
        f"written: {tmp_path}/align",
    ):
        assert words in done.out, done.out
    config = json.loads((tmp_path / "align" / "policy" / "config.json").read_text())
    assert config["num_hidden_layers"] == 1
    assert read_json(tmp_path / "align" / "report.json")["num_steps"] == 1


def test_options_stand_on_top_of_the_objective_and_assignments_on_top_of_them():
    config, model = settings("rpo", "beta=0.5", "policy.max_length=64", beta=0.3)
    assert (config.beta, config.terms["rpo"]["coefficient"]) == (0.5, 0.005)
    assert (model.path, model.max_length) == ("here", 64)
    assert settings("dpo", **{"fit.max_steps": 3})[0].fit.max_steps == 3
    flags = {"terms.demonstrations.path": "d", "terms.demonstrations.samples": "s"}
    assert settings("aihf", **flags)[0].terms["demonstrations"]["form"] == "logistic"
    other = settings("aihf", "terms.demonstrations.form=linear", **flags)[0]
    assert other.terms["demonstrations"]["form"] == "linear"


def test_an_assignment_may_be_null_and_a_flag_that_is_was_not_given():
    assert settings("cdpo", beta=None)[0].label_smoothing == 0.1
    assert settings("dpo", "reference=null", reference="there", beta=None)[0].reference is None
    assert settings("rpo", "terms={}")[0].terms == {}
    flags = {"terms.demonstrations.path": "d", "terms.demonstrations.samples": "s"}
    unset = settings("aihf", "terms.demonstrations.samples=null", **flags)[0]
    assert unset.terms["demonstrations"] == {"path": "d", "samples": None}


def test_a_part_that_is_unset_takes_settings():
    assert settings("dpo", "fit=null", "fit.epochs=2")[0].fit.epochs == 2


def test_a_value_below_another_is_refused(bad, llama, pairs, tmp_path):
    command = ("align", pairs, "--policy", llama.path, "--out", tmp_path, "--beta", "0.2")
    told = bad(*command, "--set", "beta.x=1")
    assert told == "options: key 'beta.x': beta is 0.2, no group of settings"


@pytest.mark.parametrize(
    ("objective", "texts", "message"),
    [
        ("ppo", [], "unknown objective 'ppo'"),
        ("dpo", ["beta"], "--set 'beta': expected KEY=VALUE"),
        ("dpo", ["beta=[1"], "--set 'beta=.1'"),
        ("dpo", ["betta=1"], "unknown key 'betta'; did you mean 'beta'"),
        ("dpo", ["beta=-1"], "key 'beta' is -1"),
        ("cdpo", ["label_smoothing=null"], "key 'label_smoothing' is None"),
        ("cdpo", ["label_smoothing.x=1"], "'label_smoothing.x': label_smoothing is 0.1, no group"),
        ("dpo", ["fit=3", "fit.epochs=1"], "options: key 'fit.epochs': fit is 3, no group"),
        ("dpo", ["fit.lora.rank=2", "fit.lora.rank.x=1"], "fit.lora.rank is 2, no group"),
        ("rpo", ["terms=null"], "key 'terms' is None"),
        ("dpo", ["policy.path=null"], "key 'path' is None"),
        ("soft", [], "objective soft reads the targets of verdicts"),
    ],
)
def test_what_is_wrong_is_told(objective, texts, message):
    with pytest.raises(ConfigError, match=message):
        settings(objective, *texts, has_verdicts=False)


def test_demonstrations_are_asked_for(bad, llama, pairs, tmp_path):
    told = bad("align", pairs, "--policy", llama.path, "--out", tmp_path, "--objective", "aihf")
    assert "terms.demonstrations: path is missing: name the file" in told
