"""How a step is computed: gradient checkpointing, adapters, 4-bit weights."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fitting import assert_same, judged, learnable, run_fit, settings
from peft import PeftModel
from transformers import TrainingArguments

from tamis.errors import ConfigError
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.checkpoint import load_scorer
from tamis.models.load import load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.score import score_pairs
from tamis.models.source import quiet
from tamis.models.tokenise import load_tokenizer
from tamis.train.arguments import training_arguments, use_one_device
from tamis.train.build import base_of, dequantised_state, rebuilt, trainable_model
from tamis.train.collate import make_collate
from tamis.train.dataset import training_set
from tamis.train.objective import base_objective

HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None


@pytest.fixture(scope="module")
def many():
    return learnable()


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("rows", ["auto", "padded"])
def test_gradient_checkpointing_changes_no_gradient_and_keeps_less(llama, many, rank, rows):
    tokenizer = load_tokenizer(llama)
    data = training_set(many, judged(many), tokenizer=tokenizer, max_length=256)
    train = settings(lora__rank=rank)
    found = {}
    for checkpointing in (False, True):
        model = trainable_model(llama, train, seed=0, pad_token_id=tokenizer.pad_token_id)
        plan = choose_rows(base_of(model), wanted=rows, max_length=256)
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        model.train()
        batch = make_collate(data, pad_id=tokenizer.pad_token_id, plan=plan)([np.arange(30)])
        sizes = []

        def count(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = base_objective(bradley_terry)(model, batch).loss_B.sum()
        loss.backward()
        trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
        found[checkpointing] = SimpleNamespace(loss=loss, gradients=trained, kept=sum(sizes))
    assert found[True].loss == found[False].loss
    assert found[True].kept < 0.8 * found[False].kept
    assert_same(found[True].gradients, found[False].gradients, atol=1e-7, rtol=1e-5)
    assert any(gradient.abs().max() > 1e-3 for gradient in found[True].gradients.values())


@pytest.mark.parametrize("rank", [0, 2])
def test_the_trainer_checkpoints_gradients_where_asked(llama, many, tmp_path, rank):
    plain = settings(lora__rank=rank)
    checkpointed = settings(lora__rank=rank, compute__gradient_checkpointing=True)
    one, other = (
        run_fit(tmp_path / name, many, model=llama, train=train)
        for name, train in (("a", plain), ("b", checkpointed))
    )
    assert_same(one[1], other[1], atol=1e-6, rtol=0)
    assert [p["loss"] for p in other[0]["loss"]] == pytest.approx(
        [p["loss"] for p in one[0]["loss"]], abs=1e-6
    )
    arguments = training_arguments(
        checkpointed, num_pairs=30, num_steps=4, seed=0, work=tmp_path / "c"
    )
    assert arguments.activation_checkpointing
    assert arguments.activation_checkpointing_kwargs == {"use_reentrant": False}


def test_alpha_scales_the_adapters(llama):
    pad_id = load_tokenizer(llama).pad_token_id
    for alpha, expected in ((None, 8), (3, 3)):
        train = settings(lora__rank=4, lora__alpha=alpha)
        model = trainable_model(llama, train, seed=0, pad_token_id=pad_id)
        assert model.peft_config["default"].lora_alpha == expected


def test_a_process_that_sees_several_gpus_takes_one_micro_batch_at_a_time(tmp_path):
    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=1, report_to="none"
    )
    arguments._n_gpu = 4  # as without a launcher on a machine with four
    assert arguments.train_batch_size == 4
    use_one_device(arguments)
    assert arguments.train_batch_size == 1


def test_one_process_cannot_spread_weights(tmp_path):
    train = settings(compute__fsdp="full_shard")
    with pytest.raises(ConfigError, match="there is one process, so nothing can be spread"):
        training_arguments(train, num_pairs=30, num_steps=4, seed=0, work=tmp_path)


@pytest.mark.skipif(HAS_BITSANDBYTES, reason="bitsandbytes is installed")
def test_4_bits_without_bitsandbytes_is_an_error_that_says_what_to_install(llama, many, tmp_path):
    train = settings(lora__rank=2, lora__quantise="nf4")
    with pytest.raises(ConfigError, match="needs bitsandbytes; try: pip install bitsandbytes"):
        run_fit(tmp_path, many, model=llama, train=train)


@pytest.mark.skipif(not HAS_BITSANDBYTES, reason="bitsandbytes is not installed")
def test_a_model_in_4_bits_is_merged_into_the_weights_it_computed_with(llama, many, tmp_path):
    train = settings(lora__rank=2, lora__quantise="nf4", max_steps=20)
    tokenizer = load_tokenizer(llama)
    pad_id = tokenizer.pad_token_id
    model = trainable_model(llama, train, seed=0, pad_token_id=pad_id)
    kinds = {type(m).__name__ for m in base_of(model).modules() if "4bit" in type(m).__name__}
    assert "Linear4bit" in kinds
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    with torch.no_grad():  # adapters that do something
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    whole = rebuilt(dequantised_state(model), llama, train, seed=0, pad_token_id=pad_id)
    one, other, full = (
        score_pairs(scored, tokenizer, many, max_length=256).chosen_N
        for scored in (model, whole, load_reward_model(llama, seed=0))
    )
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(one - full).max() > 1e-3

    report, state = run_fit(tmp_path, many, model=llama, train=train)
    assert report["loss"][-1]["loss"] < report["loss"][0]["loss"]
    assert {weight.dtype for weight in state.values()} == {torch.float32}
    scorer = load_scorer(str(tmp_path / "rm"))
    merged = score_pairs(scorer.model, tokenizer, many, max_length=256).chosen_N
    base = rebuilt(
        dequantised_state(trainable_model(llama, train, seed=0, pad_token_id=pad_id)),
        llama,
        train,
        seed=0,
        pad_token_id=pad_id,
    ).unload()
    with quiet():
        adapted = PeftModel.from_pretrained(base, str(tmp_path / "rm" / "adapter")).eval()
    again = score_pairs(adapted, tokenizer, many, max_length=256).chosen_N
    np.testing.assert_allclose(merged, again, atol=1e-5)
