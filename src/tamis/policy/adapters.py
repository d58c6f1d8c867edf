"""Which weights of a policy are trained."""

from __future__ import annotations

from peft import LoraConfig
from transformers import PreTrainedModel

from tamis.errors import ConfigError
from tamis.models.adapter import adapted_layers, lora_settings
from tamis.models.config import ModelConfig
from tamis.models.load import language_model_shape
from tamis.train.config import AdapterConfig


def check_weights(policy: ModelConfig, lora: AdapterConfig) -> None:
    """Check that weights of this type can be trained as asked for.

    Raises:
        ConfigError: all of a bfloat16 policy would be trained.
    """
    if lora.rank == 0 and policy.dtype == "bfloat16":
        raise ConfigError(
            "dtype is bfloat16 and fit.lora.rank is 0: steps of 1e-6 vanish in bfloat16 weights; "
            "choose dtype float32 (with autocast bfloat16 for speed), or a lora.rank above 0"
        )


def check_adapters(policy: ModelConfig, lora: AdapterConfig) -> None:
    """Check that a policy has the layers that are to get adapters; its weights are not read.

    Raises:
        ConfigError: see `adapted_layers` and `language_model_shape`.
    """
    if lora.rank:
        adapters(language_model_shape(policy), lora)


def adapters(model: PreTrainedModel, lora: AdapterConfig) -> LoraConfig | None:
    """Return the low-rank adapters of a policy, or ``None`` where all its weights are trained.

    Raises:
        ConfigError: see `adapted_layers`.
    """
    if lora.rank == 0:
        return None
    return lora_settings(
        model,
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        target_modules=adapted_layers(
            model, top_layers=lora.top_layers, targets=lora.targets, setting="fit.lora"
        ),
        task_type="CAUSAL_LM",
    )
