"""Reward models that look as if they had been trained from one parent, made in no time."""

from pathlib import Path

import torch
from peft import get_peft_model

from tamis.models.adapter import lora_settings
from tamis.models.checkpoint import save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.head import head_name
from tamis.models.load import load_reward_model
from tamis.models.source import quiet
from tamis.models.start import start_of
from tamis.models.tokenise import load_tokenizer


def make_member(
    config: ModelConfig,
    path: Path,
    *,
    seed: int,
    head_seed: int = 0,
    scale: float = 0.02,
    rank: int = 0,
    recorded: bool = True,
) -> Path:
    """Write a reward model whose weights are the parent's with a little noise from ``seed``.

    With a ``rank``, the noise is in the head and in LoRA updates of that rank.
    """
    model = load_reward_model(config, seed=head_seed)
    tokenizer = load_tokenizer(config)
    start = start_of(model, tokenizer, config=config) if recorded else None
    generator = torch.Generator().manual_seed(seed)
    changed = model
    if rank:
        settings = lora_settings(
            model,
            rank=rank,
            target_modules="all-linear",
            task_type="SEQ_CLS",
            modules_to_save=[head_name(model)],
        )
        with quiet():
            changed = get_peft_model(model, settings)
    with torch.no_grad():
        for weight in changed.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=scale)
    save_checkpoint(changed, tokenizer, path, card={}, start=start)
    return path
