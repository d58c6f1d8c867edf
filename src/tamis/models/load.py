"""Loading a reward model (trunk and head), or its trunk alone."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from tamis.errors import ConfigError, shorten
from tamis.models.config import ModelConfig
from tamis.models.head import head_name, initialise_head, output_layer, use_float32_head
from tamis.models.quantise import Quantise, keep_exact, quantisation
from tamis.models.source import loading, locate, quiet
from tamis.models.tokenise import load_tokenizer, pad_id_of

LABEL = "reward"
Quantised = Literal["refused", "allowed"]


def load_reward_model(
    config: ModelConfig,
    *,
    seed: int,
    pad_token_id: int | None = None,
    new_head: Literal["allowed", "forbidden"] = "allowed",
    quantise: Quantise = "none",
    quantised: Quantised = "refused",
) -> PreTrainedModel:
    """Load ``<Arch>ForSequenceClassification`` with one output, ready to train or to score.

    A head that the checkpoint has is kept; otherwise the new one is drawn from ``seed`` alone. The
    language model head is never read. Dropout is 0 everywhere, so that a text has one score.

    Args:
        config: which model.
        seed: of a new head (and of whatever else the checkpoint lacks, such as BERT's pooler).
        pad_token_id: the tokenizer's padding id, by which decoders find the scored token; ``None``
            loads the tokenizer for it.
        new_head: ``forbidden`` refuses a checkpoint without a trained head.
        quantise: ``nf4`` holds the trunk in 4 bits, to be trained with adapters.
        quantised: ``allowed`` loads a checkpoint that is quantised as its configuration says.

    Raises:
        ConfigError: the model cannot be loaded, is quantised, has another number of outputs or
            lacks weights.
    """
    if pad_token_id is None:
        pad_token_id = pad_id_of(load_tokenizer(config))
    model_config = _reward_config(config, pad_token_id=pad_token_id, quantised=quantised)
    model, missing = _load(
        AutoModelForSequenceClassification, config, model_config, seed=seed, quantise=quantise
    )
    keep_exact(model)
    if quantised == "allowed":
        _check_head(model, path=config.path)
    use_float32_head(model)
    head = head_name(model)
    _check_complete(missing, head=head, path=config.path)
    if any(key.startswith(f"{head}.") for key in missing):
        if new_head == "forbidden":
            raise ConfigError(f"model {shorten(config.path)} has no trained reward head")
        initialise_head(model, seed=seed)
    model.train(False)
    return model


def reward_model_shape(config: ModelConfig, *, pad_token_id: int) -> PreTrainedModel:
    """Build the reward model on the meta device: names, shapes and types of weights, no numbers.

    Of the model its configuration is read alone, so a folder without weights will do.

    Raises:
        ConfigError: the configuration cannot be loaded, is that of a quantised model or of one with
            another number of outputs, or its architecture has no reward head.
    """
    model_config = _reward_config(config, pad_token_id=pad_token_id)
    model = _shape(AutoModelForSequenceClassification, config, model_config)
    use_float32_head(model)
    return model


def language_model_shape(config: ModelConfig) -> PreTrainedModel:
    """Build what `load_language_model` would on the meta device, from the configuration alone.

    Raises:
        ConfigError: the configuration cannot be loaded or is that of a quantised model, or its
            architecture has no language model head.
    """
    return _shape(AutoModelForCausalLM, config, _model_config(config))


def load_trunk(config: ModelConfig) -> PreTrainedModel:
    """Load the model without any head, for features.

    Raises:
        ConfigError: the model cannot be loaded, is quantised or lacks weights.
    """
    model, missing = _load(AutoModel, config, _model_config(config), seed=0)
    _check_complete(missing, head="", path=config.path)
    model.train(False)
    return model


def load_language_model(config: ModelConfig) -> PreTrainedModel:
    """Load the model with the language model head of its checkpoint, whose dropout is 0.

    Raises:
        ConfigError: the model cannot be loaded, is quantised or lacks weights, such as that head.
    """
    model, missing = _load(AutoModelForCausalLM, config, _model_config(config), seed=0)
    _check_complete(missing, head="", path=config.path)
    model.train(False)
    return model


def to_accelerator(model: PreTrainedModel) -> None:
    """Move a model, in place, to the accelerator where there is one."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is not None:
        cast(nn.Module, model).to(device)


def _reward_config(
    config: ModelConfig, *, pad_token_id: int, quantised: Quantised = "refused"
) -> PretrainedConfig:
    model_config = _model_config(config, quantised=quantised)
    _check_outputs(model_config, path=config.path)
    model_config.num_labels = 1
    model_config.id2label, model_config.label2id = {0: LABEL}, {LABEL: 0}
    model_config.problem_type = "regression"
    model_config.get_text_config().pad_token_id = pad_token_id
    model_config.pad_token_id = pad_token_id
    model_config.get_text_config().use_cache = False  # a reward model generates nothing
    return model_config


def _model_config(config: ModelConfig, *, quantised: Quantised = "refused") -> PretrainedConfig:
    with loading(config.path):
        model_config = AutoConfig.from_pretrained(
            locate(config.path),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
        )
    if quantised == "refused":
        _check_precision(model_config, path=config.path)
    _switch_dropout_off(model_config)
    if config.num_layers is not None:
        _keep_layers(model_config.get_text_config(), config)
    return cast(PretrainedConfig, model_config)


def _shape(family: Any, config: ModelConfig, model_config: PretrainedConfig) -> PreTrainedModel:
    with loading(config.path), quiet(), torch.device("meta"):
        model = family.from_config(
            model_config,
            dtype=getattr(torch, config.dtype),
            trust_remote_code=config.trust_remote_code,
        )
    return cast(PreTrainedModel, model)


def _load(
    family: Any,
    config: ModelConfig,
    model_config: PretrainedConfig,
    *,
    seed: int,
    quantise: Quantise = "none",
) -> tuple[PreTrainedModel, list[str]]:
    dtype = getattr(torch, config.dtype)
    quantised = quantisation(quantise, dtype=dtype)
    with loading(config.path), torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        model, info = family.from_pretrained(
            locate(config.path),
            config=model_config,
            dtype=dtype,
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            output_loading_info=True,
            **quantised,
        )
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model, sorted(info["missing_keys"])


def _check_precision(model_config: PretrainedConfig, *, path: str) -> None:
    # transformers would quantise, or compute with rounded weights, without a word
    for part in (model_config, model_config.get_text_config()):
        found = getattr(part, "quantization_config", None)
        if found is not None:
            raise ConfigError(
                f"model {shorten(path)} is quantised (quantization_config is {shorten(found)}); "
                "expected weights in float32, float16 or bfloat16"
            )


def _check_head(model: PreTrainedModel, *, path: str) -> None:
    # of a packed weight the float32 head would make numbers without a meaning
    weight = output_layer(model).weight
    if not weight.is_floating_point():
        raise ConfigError(
            f"model {shorten(path)} has a quantised reward head (its weights are {weight.dtype}); "
            "expected floating point numbers there"
        )


def _check_outputs(model_config: PretrainedConfig, *, path: str) -> None:
    architectures = model_config.architectures or []
    is_classifier = any(name.endswith("ForSequenceClassification") for name in architectures)
    if is_classifier and model_config.num_labels != 1:
        raise ConfigError(
            f"model {shorten(path)} classifies into {model_config.num_labels} labels; expected a "
            "base model, or a reward model with one output"
        )


def _check_complete(missing: list[str], *, head: str, path: str) -> None:
    # many encoders are published without the pooler, which their training objective does not use
    lost = [
        k for k in missing if not (head and k.startswith(f"{head}.")) and ".pooler." not in f".{k}"
    ]
    if lost:
        raise ConfigError(
            f"model {shorten(path)} lacks {len(lost)} weights, {lost[0]!r} first; expected a "
            "complete checkpoint"
        )


def _switch_dropout_off(model_config: PretrainedConfig) -> None:
    for part in {id(c): c for c in (model_config, model_config.get_text_config())}.values():
        for name, value in part.to_dict().items():
            is_dropout = "dropout" in name or name.endswith("_pdrop") or name.endswith("layerdrop")
            if is_dropout and isinstance(value, float):
                setattr(part, name, 0.0)


def _keep_layers(text_config: PretrainedConfig, config: ModelConfig) -> None:
    num_layers, found = config.num_layers, text_config.num_hidden_layers
    if num_layers is not None and num_layers > found:
        raise ConfigError(
            f"num_layers is {num_layers}, but the model {shorten(config.path)} has {found} layers"
        )
    text_config.num_hidden_layers = num_layers
    layer_types = getattr(text_config, "layer_types", None)
    if layer_types is not None:
        text_config.layer_types = list(layer_types)[:num_layers]
