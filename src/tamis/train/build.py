"""The model that is trained: a reward model, perhaps in 4 bits and inside LoRA adapters."""

from __future__ import annotations

from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from tamis.errors import ConfigError
from tamis.models.adapter import adapted_layers, lora_settings
from tamis.models.config import ModelConfig
from tamis.models.head import drop_before_head, head_name, train_head_alone
from tamis.models.load import load_reward_model, reward_model_shape
from tamis.models.quantise import quantisation
from tamis.models.source import quiet
from tamis.train.config import AdapterConfig, TrainConfig

RewardModel = PreTrainedModel | PeftModel


def check_trainable(config: ModelConfig, train: TrainConfig) -> None:
    """Check that weights of this type can be trained as asked for.

    Raises:
        ConfigError: all of a bfloat16 trunk would be trained, or what quantises is not installed.
    """
    trains_all = train.lora.rank == 0 and train.lora.part == "all"
    if trains_all and config.dtype == "bfloat16":
        raise ConfigError(
            "dtype is bfloat16 and lora.rank is 0: steps of 1e-5 vanish in bfloat16 weights; "
            "choose dtype float32 (with autocast bfloat16 for speed), or a lora.rank above 0"
        )
    quantisation(train.lora.quantise, dtype=torch.float32)


def trainable_model(
    config: ModelConfig, train: TrainConfig, *, seed: int, pad_token_id: int
) -> RewardModel:
    """Load the reward model, inside LoRA adapters with a trained head or frozen if asked for.

    Raises:
        ConfigError: the model cannot be loaded, has fewer layers than get adapters, or see
            `check_trainable`.
    """
    check_trainable(config, train)
    lora = train.lora
    reward_model = load_reward_model(
        config, seed=seed, pad_token_id=pad_token_id, quantise=lora.quantise
    )
    return _with_trained_parts(reward_model, lora, seed=seed)


def trainable_shape(config: ModelConfig, train: TrainConfig, *, pad_token_id: int) -> RewardModel:
    """Build what `trainable_model` would on the meta device, without reading weights.

    4-bit weights are there in the type that they are computed in.

    Raises:
        ConfigError: see `reward_model_shape` and `check_trainable`.
    """
    check_trainable(config, train)
    reward_model = reward_model_shape(config, pad_token_id=pad_token_id)
    return _with_trained_parts(reward_model, train.lora, seed=0)


def base_of(model: RewardModel) -> PreTrainedModel:
    """Return the model inside the adapters, or the model itself where there are none."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return cast(PreTrainedModel, inner)


def rebuilt(
    state: dict[str, Tensor],
    config: ModelConfig,
    train: TrainConfig,
    *,
    seed: int,
    pad_token_id: int,
) -> RewardModel:
    """Return a fresh model, whole and not quantised, with these weights (see `whole_state`)."""
    plain = train.model_copy(update={"lora": train.lora.model_copy(update={"quantise": "none"})})
    model = trainable_model(config, plain, seed=seed, pad_token_id=pad_token_id)
    model.load_state_dict(state, strict=True)
    return model


def dequantised_state(model: RewardModel) -> dict[str, Tensor]:
    """Return the weights of a model in 4 bits as its layers compute with them, on the CPU.

    The result has the names and shapes of the model that is not quantised; loaded into it, it
    scores as the quantised one does, to rounding.
    """
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    quantised: dict[str, Any] = {
        name: weight
        for name, weight in model.named_parameters()
        if type(weight).__name__ == "Params4bit"
    }
    state = {
        name: value.detach().cpu()
        for name, value in model.state_dict().items()
        if not any(name.startswith(weight) for weight in quantised)
    }
    for name, weight in quantised.items():
        state[name] = dequantize_bnb_weight(weight, weight.quant_state).detach().cpu()
    return state


def _with_trained_parts(
    reward_model: PreTrainedModel, lora: AdapterConfig, *, seed: int
) -> RewardModel:
    if lora.head_dropout:
        drop_before_head(reward_model, frac=lora.head_dropout)
    if lora.rank:
        return _with_adapters(reward_model, lora, seed=seed)
    if lora.part == "head":
        train_head_alone(reward_model)
    return reward_model


def _with_adapters(model: PreTrainedModel, lora: AdapterConfig, *, seed: int) -> PeftModel:
    settings = lora_settings(
        model,
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        target_modules=adapted_layers(
            model, top_layers=lora.top_layers, targets=lora.targets, setting="lora"
        ),
        task_type="SEQ_CLS",
        modules_to_save=[head_name(model)],
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        return cast(PeftModel, get_peft_model(model, settings))
