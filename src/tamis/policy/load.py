"""Policies: language models that answer in a chat, loaded and written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tamis.errors import ConfigError, shorten
from tamis.models.checkpoint import CONFIG
from tamis.models.config import ModelConfig
from tamis.models.load import load_language_model
from tamis.models.source import loading, locate, quiet
from tamis.models.template import has_reward_template, read_template

IN_A_RUN = ("align/policy", "rl/policy", "best/policy")

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [policy, tamis]
---

# Policy

`{architecture}`, a language model that answers in a chat.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path)
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
answer = model.generate(**inputs)
```

| what | value |
| --- | --- |
{rows}
"""


def load_policy(model: ModelConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a language model, without dropout, and the tokenizer that writes its prompts.

    Args:
        model: a chat model; ``num_layers``, ``dtype`` and ``chat_template`` are as it says.

    Raises:
        ConfigError: one of the two cannot be loaded, is that of a reward model, or has neither a
            chat template nor an end token.
    """
    tokenizer = load_chat_tokenizer(model)
    return load_language_model(model), tokenizer


def load_chat_tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    """Load a tokenizer whose chat template begins an answer.

    Where it has no padding token, its end token is one: nothing here tells the end by the padding.

    Raises:
        ConfigError: it cannot be loaded or is a run directory, has no chat template or that of a
            reward model, which would end the prompt, or no end token.
    """
    _check_no_run(model.path)
    with loading(model.path), quiet():
        tokenizer = AutoTokenizer.from_pretrained(
            locate(model.path),
            revision=model.revision,
            trust_remote_code=model.trust_remote_code,
        )
    if model.chat_template is not None:
        tokenizer.chat_template = read_template(model.chat_template)
    if tokenizer.chat_template is None or has_reward_template(tokenizer):
        found = "none" if tokenizer.chat_template is None else "that of a reward model"
        raise ConfigError(
            f"model {shorten(model.path)} cannot be a policy: expected a chat template that begins "
            f"an answer, found {found}"
        )
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer of {shorten(model.path)} has no end token to stop at")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return cast(PreTrainedTokenizerBase, tokenizer)


def _check_no_run(path: str) -> None:
    """Refuse a run directory, and name the policies in it."""
    folder = Path(locate(path))
    if not folder.is_dir() or (folder / CONFIG).exists():
        return
    inside = [str(folder / name) for name in IN_A_RUN if (folder / name).is_dir()]
    if inside:
        raise ConfigError(
            f"{shorten(path)} is a run directory and no policy; expected {' or '.join(inside)}"
        )


def save_policy(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    *,
    card: Mapping[str, Any],
) -> None:
    """Write model, tokenizer, chat template and card to the directory ``out``, all or nothing.

    ``AutoModelForCausalLM`` loads it unchanged. Adapters are merged, which consumes ``model``.

    Args:
        model: the trained one, perhaps inside a ``PeftModel``.
        tokenizer: as `load_policy` returned it.
        out: a directory; what is there is replaced.
        card: rows of the card's table.

    Raises:
        ConfigError: the directory cannot be written.
    """
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        merged: Any = model.merge_and_unload() if isinstance(model, PeftModel) else model
        merged.config.use_cache = True
        with quiet():
            merged.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        text = policy_card(merged, tokenizer, rows=card)
        (temporary / "README.md").write_text(text, encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        temporary.replace(out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(f"cannot write {out}: {reason or error}") from error


def policy_card(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, rows: Mapping[str, Any]
) -> str:
    """Return the Markdown text of a policy's card."""
    table = {
        "end token": f"`{tokenizer.eos_token}` (id {tokenizer.eos_token_id})",
        "padding token": f"`{tokenizer.pad_token}` (id {tokenizer.pad_token_id})",
        "dtype": str(model.dtype).removeprefix("torch."),
        **rows,
    }
    return CARD.format(
        architecture=type(model).__name__,
        rows="\n".join(f"| {key} | {_cell(value)} |" for key, value in table.items()),
    )


def _cell(value: Any) -> str:
    """Return a value for a table of Markdown, where a bar ends the cell, even inside code."""
    return str(value).replace("|", "\\|")
