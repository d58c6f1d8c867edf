"""From our settings to those of TRL's trainer for DPO."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from trl.trainer.dpo_config import DPOConfig

from tamis.errors import ConfigError
from tamis.policy.align.config import AlignConfig
from tamis.policy.settings import PolicyFit
from tamis.train.arguments import PROJECT, adamw_arguments, use_one_device

NUM_SAVES, LEAST_SAVE_EVERY = 10, 50


def num_steps_of(fit: PolicyFit, *, num_pairs: int) -> int:
    """Return the number of optimiser steps of a run: ``max_steps``, else those of the epochs.

    >>> num_steps_of(PolicyFit(batch_size=16, epochs=1.5), num_pairs=40)
    4
    >>> num_steps_of(PolicyFit(batch_size=16, max_steps=500), num_pairs=40)
    500
    """
    if fit.max_steps is not None:
        return fit.max_steps
    return max(1, round(fit.epochs * math.ceil(num_pairs / fit.batch_size)))


def micro_batch_of(fit: PolicyFit) -> int:
    """Return how many pairs are computed at once.

    Raises:
        ConfigError: a batch is no whole number of these, so that pairs would not count alike.

    >>> micro_batch_of(PolicyFit(batch_size=16))
    16
    """
    micro = min(fit.compute.micro_batch_size or fit.batch_size, fit.batch_size)
    if fit.batch_size % micro:
        raise ConfigError(
            f"fit.batch_size is {fit.batch_size} and fit.compute.micro_batch_size is {micro}; "
            "choose a micro_batch_size that divides it"
        )
    return micro


def dpo_arguments(
    config: AlignConfig, *, max_length: int, num_pairs: int, seed: int, work: Path
) -> DPOConfig:
    """Return the settings of TRL's trainer.

    The log probabilities of the reference are always computed before training.

    Args:
        config: ours.
        max_length: tokens of prompt and answer.
        num_pairs: that are trained on.
        seed: of the order of the pairs, and of adapters.
        work: where checkpoints are written.

    Raises:
        ConfigError: see `micro_batch_of`.
    """
    fit, compute = config.fit, config.fit.compute
    num_steps, micro = num_steps_of(fit, num_pairs=num_pairs), micro_batch_of(fit)
    every = compute.save_every or max(LEAST_SAVE_EVERY, math.ceil(num_steps / NUM_SAVES))
    arguments = DPOConfig(
        output_dir=str(work),
        beta=config.beta,
        loss_type=["sigmoid"],
        max_length=max_length,
        precompute_ref_log_probs=True,
        max_steps=num_steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=fit.batch_size // micro,
        learning_rate=fit.learning_rate,
        **adamw_arguments(fit.optimiser, num_steps=num_steps),
        bf16=compute.autocast == "bfloat16",
        activation_checkpointing=compute.gradient_checkpointing,
        use_cpu=not torch.accelerator.is_available(),
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=list(fit.trackers) or "none",
        run_name=fit.run_name,
        project=PROJECT,
        disable_tqdm=True,
        seed=seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,  # the number of a pair is one
    )
    use_one_device(arguments)
    return arguments
