"""Which weights are trained: the head alone, and with which dropout."""

import pytest
import torch
from fitting import assert_same, learnable, run_fit, settings
from pydantic import ValidationError
from safetensors.torch import load_file

from tamis.models.config import ModelConfig
from tamis.models.head import drop_before_head, head_name
from tamis.models.load import load_reward_model
from tamis.models.start import read_start
from tamis.train.build import trainable_model
from tamis.train.config import AdapterConfig


@pytest.fixture(scope="module")
def many():
    return learnable()


def test_the_head_alone_is_trained(any_model, many, tmp_path):
    config = any_model.model_copy(update={"num_layers": 1})
    report, state = run_fit(tmp_path, many, model=config, train=settings(lora__part="head"))
    before = load_reward_model(config, seed=0)
    changed = {n for n, weight in before.state_dict().items() if not torch.equal(weight, state[n])}
    assert changed == {f"{head_name(before)}.weight"}  # a bias cancels in every gap
    assert report["num_steps"] == 4


def test_a_member_starts_with_the_head_of_the_probe(llama, many, tmp_path):
    run_fit(tmp_path / "probe", many, model=llama, train=settings(lora__part="head"))
    probe = ModelConfig(path=str(tmp_path / "probe" / "rm"))
    starts = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        train = settings(learning_rate=1e-9 * seed, max_steps=1)
        _, state = run_fit(folder, many, model=probe, train=train, seed=seed)
        assert_same(
            state, load_file(tmp_path / "probe" / "rm" / "model.safetensors"), atol=1e-7, rtol=0
        )
        starts.append(read_start(folder / "rm"))
    assert starts[0] == starts[1] != read_start(tmp_path / "probe" / "rm")


def test_all_of_a_bfloat16_trunk_may_be_frozen(llama):
    config = llama.model_copy(update={"dtype": "bfloat16"})
    model = trainable_model(config, settings(lora__part="head"), seed=0, pad_token_id=3)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {"score.weight"}


def test_dropout_changes_training_and_nothing_else(llama, many, tmp_path):
    """Adapters copy the head, so they are trained here, too."""
    states = []
    for number, dropout in enumerate((0.0, 0.5, 0.5)):
        train = settings(max_steps=2, lora__rank=2, lora__head_dropout=dropout)
        states.append(run_fit(tmp_path / str(number), many, model=llama, train=train)[1])
    assert not torch.equal(states[0]["score.weight"], states[1]["score.weight"])
    assert_same(states[1], states[2], atol=0, rtol=0)


def test_dropout_is_off_outside_training(llama):
    model = load_reward_model(llama, seed=0)
    ids_ST = torch.tensor([[1, 5, 9, 7, 2]])
    expected = model(input_ids=ids_ST).logits
    drop_before_head(model, frac=0.5)
    assert torch.equal(model(input_ids=ids_ST).logits, expected)
    model.train()
    drawn = [model(input_ids=ids_ST).logits.item() for _ in range(5)]
    assert len(set(drawn)) > 1


def test_the_head_alone_and_adapters_are_refused_together():
    with pytest.raises(ValidationError, match="part is head and rank is 4; choose one of the two"):
        AdapterConfig(part="head", rank=4)
