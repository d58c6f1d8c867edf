import json
from dataclasses import asdict

import pytest
import torch
from members import make_member

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.start import read_start, start_of
from tamis.models.tokenise import load_tokenizer
from tamis.train.build import base_of, trainable_model
from tamis.train.config import AdapterConfig, TrainConfig


def start(config, *, seed=0):
    return start_of(load_reward_model(config, seed=seed), load_tokenizer(config), config=config)


def test_a_new_head_differs_from_seed_to_seed_and_the_trunk_does_not(llama):
    one, same, other = (start(llama, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.trunk == other.trunk
    assert one.head != other.head


def test_a_trained_checkpoint_starts_with_its_own_head_whatever_the_seed(llama, tmp_path):
    path = make_member(llama, tmp_path / "rm", seed=3)
    config = ModelConfig(path=str(path))
    assert start(config, seed=1) == start(config, seed=2)
    trained = load_reward_model(ModelConfig(path=str(path)), seed=5).state_dict()["score.weight"]
    fresh = load_reward_model(llama, seed=5).state_dict()["score.weight"]
    assert not torch.equal(trained, fresh)


def test_every_weight_counts(llama):
    model, tokenizer = load_reward_model(llama, seed=0), load_tokenizer(llama)
    before = start_of(model, tokenizer, config=llama)
    with torch.no_grad():
        model.get_parameter("model.layers.1.mlp.up_proj.weight")[3, 4] += 1e-3
    after = start_of(model, tokenizer, config=llama)
    assert (before.head, before.template) == (after.head, after.template)
    assert before.trunk != after.trunk


def test_how_it_was_loaded_is_kept(llama):
    found = start(llama.model_copy(update={"num_layers": 1, "max_length": 64}))
    assert (found.num_layers, found.max_length, found.dtype) == (1, 64, "float32")
    assert found.trunk != start(llama).trunk


def test_a_model_that_is_not_all_here_has_no_start(llama):
    model, tokenizer = load_reward_model(llama, seed=0), load_tokenizer(llama)
    assert start_of(model.to("meta"), tokenizer, config=llama) is None


def test_a_record_survives_the_file(llama, tmp_path):
    path = make_member(llama, tmp_path / "rm", seed=1, rank=2)
    assert read_start(path) == read_start(path / "adapter") == start(llama)
    assert read_start(tmp_path) is None
    content = asdict(start(llama))
    del content["head"]
    (path / "start.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"start\.json: head: Field required"):
        read_start(path)


def test_a_record_holds_no_path(llama):
    assert not any("/" in str(value) for value in asdict(start(llama)).values())


@pytest.mark.parametrize("part", [{"rank": 2}, {"part": "head", "head_dropout": 0.1}])
def test_how_a_model_is_trained_does_not_change_its_start(llama, part):
    train = TrainConfig(lora=AdapterConfig(**part))
    model = base_of(trainable_model(llama, train, seed=0, pad_token_id=3))
    assert start_of(model, load_tokenizer(llama), config=llama) == start(llama)
