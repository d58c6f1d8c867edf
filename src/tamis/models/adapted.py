"""LoRA adapters that lie in a folder of their own, without the model under them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tamis.errors import ConfigError, shorten
from tamis.models.config import ModelConfig
from tamis.models.load import load_language_model, load_reward_model
from tamis.models.source import loading, locate, quiet
from tamis.models.start import Start, read_start, template_digest
from tamis.models.template import own_template
from tamis.models.tokenise import NO_LIMIT, Rendering, load_tokenizer, pad_id_of
from tamis.runs import read_json

ADAPTER_CONFIG, TEMPLATE = "adapter_config.json", "chat_template.jinja"
NOTES = "notes.json"  # what the configuration of the merged checkpoint has beyond its base's
REWARD_TASK = "SEQ_CLS"  # what peft calls it


def is_adapter(path: Path) -> bool:
    """Tell whether a folder holds an adapter and no whole model."""
    return (path / ADAPTER_CONFIG).is_file() and not (path / "config.json").is_file()


def adapter_settings(path: Path) -> dict[str, Any]:
    """Return what an adapter's configuration says.

    Raises:
        ConfigError: it is no JSON object.
        DataError: there is none, or it is no JSON.
    """
    content = read_json(path / ADAPTER_CONFIG)
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path / ADAPTER_CONFIG}: expected a JSON object, found {shorten(content)}"
        )
    return content


def adapter_notes(path: Path) -> dict[str, Any]:
    """Return what an adapter adds to the configuration of its base, perhaps nothing.

    Raises:
        ConfigError: the record is no JSON object.
        DataError: it is no JSON.
    """
    content = read_json(path / NOTES) if (path / NOTES).is_file() else {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path / NOTES}: expected a JSON object, found {shorten(content)}")
    return content


def template_beside(path: Path, *, start: Start | None) -> Path | None:
    """Return the chat template in the folder of an adapter that was not trained here."""
    own = path / TEMPLATE
    return own if start is None and own.is_file() else None


def adapter_base(path: Path, *, start: Start | None, base: str | None = None) -> ModelConfig:
    """Return the model that an adapter belongs to: ``base``, or what its configuration names.

    The commit, tag or branch that the configuration names belongs to the model that it names.

    Args:
        path: folder of the adapter.
        start: what it was trained from, if that is known: how the model is loaded.
        base: a path or hub id instead of the one that the adapter names.

    Raises:
        ConfigError: neither names one.
    """
    name = base or adapter_settings(path).get("base_model_name_or_path")
    if not name:
        raise ConfigError(f"{path / ADAPTER_CONFIG} names no base model: give --base")
    told = None if base else adapter_settings(path).get("revision")
    revision = told if isinstance(told, str) else None
    if start is None:
        return ModelConfig(path=str(name), revision=revision)
    dtype: Any = start.dtype
    return ModelConfig(
        path=str(name),
        revision=revision,
        num_layers=start.num_layers,
        dtype=dtype,
        max_length=start.max_length,
    )


def load_adapted(
    asked: ModelConfig, *, default_max_length: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model under an adapter and add the adapter's updates to its weights.

    Texts are rendered as in the adapter's training: by the template that lies beside it, else by
    that of its base. The weights are float32.

    Args:
        path: folder of the adapter.
        max_length: tokens of a conversation; ``None``: what it was trained with, where it says so.
        default_max_length: tokens where it does not say.

    Raises:
        ConfigError: it names no base model, has no trained head, was trained with another template
            or vocabulary than the base has, or one of the two cannot be loaded.
    """
    path = Path(locate(asked.path))
    start = read_start(path)
    config = _asked_of_base(asked, adapter_base(path, start=start), path=path, start=start)
    rendering: Rendering = "own" if start is None else "reward"
    tokenizer = load_tokenizer(config, default_max_length=default_max_length, rendering=rendering)
    _check_texts(path, tokenizer, start=start, base=config.path)
    model = load_reward_model(
        config,
        seed=0,
        pad_token_id=pad_id_of(tokenizer),
        new_head="allowed" if adapter_settings(path).get("modules_to_save") else "forbidden",
    )
    merged = _merged(model, path)
    merged.config.update(adapter_notes(path))
    return merged, tokenizer


def language_base(asked: ModelConfig) -> ModelConfig:
    """Return how the language model under an adapter is loaded, when the adapter is asked for.

    Raises:
        ConfigError: the adapter names no base model.
    """
    path = Path(locate(asked.path))
    start = read_start(path)
    return _asked_of_base(asked, adapter_base(path, start=start), path=path, start=start)


def load_adapted_language(asked: ModelConfig) -> PreTrainedModel:
    """Load the language model under an adapter and add the adapter's updates to its weights.

    Raises:
        ConfigError: the adapter names no base model or belongs to a reward model, or one of the two
            cannot be loaded.
    """
    path = Path(locate(asked.path))
    if adapter_settings(path).get("task_type") == REWARD_TASK:
        raise ConfigError(
            f"{path}: an adapter of a reward model (task_type {REWARD_TASK}); expected one of a "
            "language model"
        )
    return _merged(load_language_model(language_base(asked)), path)


def load_language_tokenizer(asked: ModelConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer for the language model under an adapter.

    Template and special tokens are those of the adapter's own tokenizer, if it has one.

    Raises:
        ConfigError: the adapter has another vocabulary than its base, or a tokenizer cannot be
            loaded.
    """
    base = language_base(asked)
    tokenizer = load_tokenizer(base, default_max_length=NO_LIMIT, rendering="language")
    own = own_tokenizer(Path(locate(asked.path)), tokenizer, base=base.path)
    if own is not None:
        tokenizer.bos_token, tokenizer.eos_token = own.bos_token, own.eos_token
        if base.chat_template is None and own.chat_template is not None:
            tokenizer.chat_template = own_template(own, pad_id=None)
    return tokenizer


def _merged(model: PreTrainedModel, path: Path) -> PreTrainedModel:
    with loading(str(path)), quiet():
        merged: PreTrainedModel = PeftModel.from_pretrained(model, str(path)).merge_and_unload()
    merged.train(False)
    return merged


def _asked_of_base(
    asked: ModelConfig, base: ModelConfig, *, path: Path, start: Start | None
) -> ModelConfig:
    template = asked.chat_template
    beside = template_beside(path, start=start)
    if template is None and beside is not None:
        template = str(beside)
    changes = {
        "dtype": asked.dtype,
        "max_length": base.max_length if asked.max_length is None else asked.max_length,
        "chat_template": template,
        "trust_remote_code": asked.trust_remote_code,
    }
    return base.model_copy(update=changes)


def _check_texts(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, start: Start | None, base: str
) -> None:
    """Refuse an adapter that learnt from other token ids than its base gives."""
    if start is not None and template_digest(tokenizer) != start.template:
        raise ConfigError(
            f"{base} has another chat template than the adapter {path} was trained with; score the "
            "merged checkpoint instead"
        )
    own_tokenizer(path, tokenizer, base=base)


def own_tokenizer(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, base: str
) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer in the folder of an adapter, if there is one.

    Raises:
        ConfigError: it has another vocabulary than that of the base, or cannot be loaded.
    """
    if not (path / "tokenizer_config.json").is_file():
        return None
    with loading(str(path)), quiet():
        own: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(path))
    if own.get_vocab() != tokenizer.get_vocab():
        raise ConfigError(
            f"the tokenizer of the adapter {path} has another vocabulary than that of its base "
            f"{base}; score the merged checkpoint instead"
        )
    return own
