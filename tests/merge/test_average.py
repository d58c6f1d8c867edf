import json
import shutil

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from tamis.errors import ConfigError
from tamis.merge.average import write_merged
from tamis.merge.members import open_members
from tamis.merge.tensors import tensor_specs
from tamis.models.checkpoint import load_scorer
from tamis.models.load import load_reward_model
from tamis.models.score import score_pairs
from tamis.models.source import quiet

WEIGHTS = "model.safetensors"


def merged(paths, out, *, weights=None, **options):
    members = open_members(paths)
    write_merged(members, weights_K=weights or [1.0] * len(paths), out=out, **options)
    return load_file(out / WEIGHTS)


def gaps(path, pairs):
    scorer = load_scorer(str(path))
    found = score_pairs(scorer.model, scorer.tokenizer, pairs, max_length=scorer.max_length)
    return np.stack([found.chosen_N, found.rejected_N])


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [3.0, 0.0, 1.0]])
def test_every_tensor_is_the_weighted_mean(three, tmp_path, weights):
    found = merged(three, tmp_path / "out", weights=weights)
    states = [load_file(path / WEIGHTS) for path in three]
    assert found.keys() == states[0].keys()
    assert "score.weight" in found
    for name, weight in found.items():
        parts = [state[name].double() * share for state, share in zip(states, weights, strict=True)]
        expected = (sum(parts) / sum(weights)).float()
        torch.testing.assert_close(weight, expected, atol=0, rtol=0, msg=name)


def test_equal_members_give_the_member_bit_for_bit(three, tmp_path):
    copies = [tmp_path / f"copy{number}" for number in range(3)]
    for copy in copies:
        shutil.copytree(three[0], copy)
    merged(copies, tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (three[0] / WEIGHTS).read_bytes()


def test_the_whole_weight_on_one_member_is_that_member(three, tmp_path, pairs):
    merged(three, tmp_path / "out", weights=[0.0, 1.0, 0.0])
    np.testing.assert_array_equal(gaps(tmp_path / "out", pairs), gaps(three[1], pairs))


def test_a_merge_loads_like_any_checkpoint_and_can_be_merged_again(three, tmp_path, pairs):
    content = json.loads((three[0] / "config.json").read_text())
    merged(three[:2], tmp_path / "out", card={"merged from": "two"})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config == {**content, "mean": 0.0, "std": 1.0}
    assert "| merged from | two |" in (tmp_path / "out" / "README.md").read_text()
    with quiet():
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert np.isfinite(gaps(tmp_path / "out", pairs)).all()
    again = merged([tmp_path / "out", three[2]], tmp_path / "again", weights=[2.0, 1.0])
    at_once = merged(three, tmp_path / "at_once")
    for name, weight in again.items():
        torch.testing.assert_close(weight, at_once[name], atol=1e-6, rtol=0)


def test_what_was_there_is_replaced_and_nothing_else_is_left(three, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    merged(three, tmp_path / "out")
    assert not (tmp_path / "out" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_merge_that_fails_leaves_what_was_there(three, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(three[1], damaged)
    members = open_members([three[0], damaged])
    content = (damaged / WEIGHTS).read_bytes()
    (damaged / WEIGHTS).write_bytes(content[: len(content) // 2])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    with pytest.raises(ConfigError, match=r"damaged.*expected a safetensors file"):
        write_merged(members, weights_K=[1.0, 1.0], out=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "out"]
    assert (tmp_path / "out" / "old").exists()


def test_sharded_files_are_averaged_like_one(llama, three, tmp_path):
    sharded = []
    for path in three[:2]:
        copy = tmp_path / f"sharded-{path.name}"
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("*.safetensors"))
        with quiet():
            model = AutoModelForSequenceClassification.from_pretrained(path)
            model.save_pretrained(copy, max_shard_size="40KB")
        assert len(list(copy.glob("*.safetensors"))) > 1
        sharded.append(copy)
    write_merged(open_members(sharded), weights_K=[1.0, 1.0], out=tmp_path / "out")
    expected = merged(three[:2], tmp_path / "whole")
    assert tensor_specs(tmp_path / "out") == tensor_specs(three[0])
    model = load_reward_model(llama.model_copy(update={"path": str(tmp_path / "out")}), seed=0)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], atol=0, rtol=0)


def test_adapters_are_averaged_as_updates_of_the_weights(adapted, tmp_path, pairs):
    """The average of B times A: the same scores as the average of the dense models."""
    adapters = [path / "adapter" for path in adapted]
    merged(adapters, tmp_path / "out", weights=[1.0, 3.0])
    merged(adapted, tmp_path / "dense", weights=[1.0, 3.0])
    found = gaps(tmp_path / "out", pairs)
    np.testing.assert_allclose(found, gaps(tmp_path / "dense", pairs), atol=1e-6)
    assert np.abs(found - gaps(adapted[0], pairs)).max() > 1e-4
    assert not (tmp_path / "out" / "adapter_config.json").exists()


def test_one_adapter_alone_scores_as_the_adapter_does(llama, adapted, tmp_path, pairs):
    merged([path / "adapter" for path in adapted], tmp_path / "out", weights=[0.0, 1.0])
    base = load_reward_model(llama, seed=5)
    with quiet():
        model = PeftModel.from_pretrained(base, str(adapted[1] / "adapter")).eval()
    scorer = load_scorer(str(tmp_path / "out"))
    expected = score_pairs(model, scorer.tokenizer, pairs, max_length=scorer.max_length)
    np.testing.assert_allclose(gaps(tmp_path / "out", pairs)[0], expected.chosen_N, atol=1e-6)


def test_adapters_on_another_base_are_refused(adapted, three, tmp_path):
    members = open_members([path / "adapter" for path in adapted])
    with pytest.raises(ConfigError, match=r"is not the model that .*adapter was trained on"):
        write_merged(members, weights_K=[1.0, 1.0], out=tmp_path / "out", base=str(three[0]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, -1.0]])
def test_weights_that_fit_no_members_are_refused(three, tmp_path, weights):
    with pytest.raises(ConfigError, match="expected one each, at least 0 and not all 0"):
        write_merged(open_members(three), weights_K=weights, out=tmp_path / "out")
