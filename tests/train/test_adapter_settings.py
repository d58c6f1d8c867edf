"""Adapters on the attention alone, and their dropout."""

import pytest
import torch
from fitting import assert_same, learnable, run_fit, settings
from pydantic import ValidationError
from rows_families import DECODERS, ENCODERS, PAD, build

from tamis.errors import ConfigError
from tamis.models.adapter import adapted_layers
from tamis.train.build import trainable_model
from tamis.train.config import AdapterConfig

ATTENTION = {"lora__rank": 2, "lora__targets": "attention"}


def adapted(model):
    names = [name for name, _ in model.named_parameters() if ".lora_A." in name]
    return {name.split(".lora_A.")[0].split("base_model.model.")[-1] for name in names}


def test_adapters_may_be_on_the_attention_alone(llama):
    model = trainable_model(llama, settings(**ATTENTION), seed=0, pad_token_id=3)
    parts = ("q_proj", "k_proj", "v_proj", "o_proj")
    wanted = {f"model.layers.{layer}.self_attn.{part}" for layer in (0, 1) for part in parts}
    assert adapted(model) == wanted
    top = trainable_model(llama, settings(**ATTENTION, lora__top_layers=1), seed=0, pad_token_id=3)
    assert adapted(top) == {name for name in wanted if "layers.1." in name}
    every = trainable_model(llama, settings(lora__rank=2), seed=0, pad_token_id=3)
    assert adapted(every) > wanted


@pytest.mark.parametrize(
    ("config", "part"),
    [(DECODERS["gpt2"], "attn.c_attn"), (ENCODERS["bert"], "attention.self.query")],
    ids=["gpt2", "bert"],
)
def test_the_attention_of_other_families_is_found(config, part):
    model = build(config)
    found = adapted_layers(model, top_layers=None, targets="attention", setting="lora")
    assert any(name.endswith(part) for name in found)
    assert len(set(found)) == len(found) > 1
    assert not any("mlp" in name or "intermediate" in name or "score" in name for name in found)


def test_a_model_without_attention_is_refused():
    class Strange(torch.nn.Module):
        base_model = torch.nn.Linear(2, 2)

    with pytest.raises(ConfigError, match=r"lora\.targets is attention, and no linear layer"):
        adapted_layers(Strange(), top_layers=None, targets="attention", setting="lora")


def test_what_adapters_read_is_dropped_out_while_training_alone(llama):
    model = trainable_model(
        llama, settings(lora__rank=2, lora__dropout=0.5), seed=0, pad_token_id=PAD
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_B." in name:
                weight.fill_(0.1)
    ids = torch.arange(4, 14)[None]

    def score():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

    model.train()
    assert not torch.equal(score(), score())
    model.train(False)
    assert torch.equal(score(), score())


def test_dropout_of_adapters_is_the_same_after_a_kill_and_changes_the_result(llama, tmp_path):
    pairs, train = learnable(), settings(lora__rank=2, lora__dropout=0.3)
    _, first = run_fit(tmp_path / "first", pairs, model=llama, train=train)
    _, again = run_fit(tmp_path / "again", pairs, model=llama, train=train)
    assert_same(first, again, rtol=0, atol=0)
    _, plain = run_fit(tmp_path / "plain", pairs, model=llama, train=settings(lora__rank=2))
    assert any(not torch.equal(first[name], weight) for name, weight in plain.items())


@pytest.mark.parametrize("changes", [{"targets": "attention"}, {"dropout": 0.1}])
def test_settings_of_adapters_need_adapters(changes):
    with pytest.raises(ValidationError, match="rank is 0, which makes no adapters"):
        AdapterConfig(**changes)
    assert AdapterConfig(rank=2, **changes).rank == 2


def test_keys_that_were_added_later_do_not_make_old_runs_new():
    plain = settings(lora__rank=2).identity()
    assert set(plain["lora"]) == {"rank", "alpha", "quantise", "part", "head_dropout"}
    changed = settings(**ATTENTION, lora__dropout=0.1).identity()["lora"]
    assert (changed["targets"], changed["dropout"]) == ("attention", 0.1)
