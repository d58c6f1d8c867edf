"""From our settings to the arguments of transformers' Trainer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from tamis.errors import ConfigError
from tamis.train.config import TrainConfig
from tamis.train.step_config import OptimiserConfig

NUM_SAVES, LEAST_SAVE_EVERY = 10, 50
PROJECT = "tamis"
EVENTS = "runs"  # where the Trainer writes for TensorBoard, inside ``work``


def steps_of(train: TrainConfig, *, num_pairs: int) -> int:
    """Return the number of optimiser steps of a run.

    >>> steps_of(TrainConfig(batch_size=16, epochs=1.5), num_pairs=40)
    4
    """
    num_steps = max(1, round(train.epochs * math.ceil(num_pairs / train.batch_size)))
    return num_steps if train.max_steps is None else min(num_steps, train.max_steps)


def warmup_steps_of(train: TrainConfig, *, num_steps: int) -> int:
    """Return how many of the optimiser steps warm up.

    >>> train = TrainConfig(optimiser=OptimiserConfig(warmup_frac=0.03))
    >>> warmup_steps_of(train, num_steps=100)
    3
    """
    return warmup_steps(train.optimiser.warmup_frac, num_steps=num_steps)


def warmup_steps(frac: float, *, num_steps: int) -> int:
    """Return how many steps a share of them is, rounded up, but never all of them.

    The first step of a warm-up has learning rate 0: a run that is nothing else would train nothing.

    >>> warmup_steps(0.1, num_steps=11), warmup_steps(0.1, num_steps=1)
    (2, 0)
    """
    return min(math.ceil(frac * num_steps), num_steps - 1)


def micro_batches_of(train: TrainConfig, *, num_pairs: int, num_processes: int) -> int:
    """Return into how many micro-batches a process cuts its share of a batch.

    Raises:
        ConfigError: there are more processes than pairs in a batch.

    >>> settings = TrainConfig.model_validate(
    ...     {"batch_size": 24, "compute": {"micro_batch_size": 1}}
    ... )
    >>> micro_batches_of(settings, num_pairs=48, num_processes=6)
    4
    """
    micro = train.compute.micro_batch_size or train.batch_size
    smallest = num_pairs // math.ceil(num_pairs / train.batch_size)
    wanted = math.ceil(train.batch_size / (micro * num_processes))
    num_micro = min(wanted, smallest // num_processes)
    if num_micro == 0:
        raise ConfigError(
            f"a batch has {smallest} pairs and there are {num_processes} processes; "
            "choose a batch_size of at least the number of processes"
        )
    return num_micro


def adamw_arguments(optimiser: OptimiserConfig, *, num_steps: int) -> dict[str, Any]:
    """Return the Trainer's arguments that say how AdamW moves weights in ``num_steps`` steps."""
    beta1, beta2 = optimiser.betas
    return {
        "optim": "adamw_torch_fused",
        "lr_scheduler_type": optimiser.schedule,
        "warmup_steps": warmup_steps(optimiser.warmup_frac, num_steps=num_steps),
        "weight_decay": optimiser.weight_decay,
        "adam_beta1": beta1,
        "adam_beta2": beta2,
        "max_grad_norm": optimiser.max_grad_norm,
    }


def training_arguments(
    train: TrainConfig, *, num_pairs: int, num_steps: int, seed: int, work: Path
) -> TrainingArguments:
    """Return the Trainer's arguments for ``num_steps`` steps on ``num_pairs`` pairs.

    Raises:
        ConfigError: the settings do not fit the number of processes.
    """
    compute = train.compute
    every = max(LEAST_SAVE_EVERY, math.ceil(num_steps / NUM_SAVES))
    has_accelerator = torch.accelerator.is_available()
    trainer_shards = compute.fsdp != "none" and has_accelerator
    we_shard = compute.fsdp != "none" and not has_accelerator
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=num_steps,
        per_device_train_batch_size=1,  # an item is a micro-batch
        per_device_eval_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=train.learning_rate,
        **adamw_arguments(train.optimiser, num_steps=num_steps),
        bf16=compute.autocast == "bfloat16",
        use_cpu=not has_accelerator,
        activation_checkpointing=compute.gradient_checkpointing and not trainer_shards,
        activation_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_only_model=we_shard,  # `tamis.train.sharded` saves the rest
        accelerator_config={"gradient_accumulation_kwargs": {"sync_each_batch": we_shard}},
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=list(train.watch.trackers) or "none",
        run_name=train.watch.run_name,
        project=PROJECT,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        # a batch may take several passes, and how many differs from process to process
        ddp_broadcast_buffers=False,
        seed=seed,
        **_saves(train, every=every),
        **(_fully_sharded(checkpointing=compute.gradient_checkpointing) if trainer_shards else {}),
    )
    use_one_device(arguments)
    _accumulate(arguments, train=train, num_pairs=num_pairs)
    return arguments


def use_one_device(arguments: TrainingArguments) -> None:
    """Let a process use one GPU, in place, where it sees several and no launcher started it.

    The Trainer would let all of them compute a micro-batch each at a time (DataParallel), and count
    steps as if they shared one: a step would have as many times the pairs that were asked for.
    """
    arguments._n_gpu = min(arguments.n_gpu, 1)


def _saves(train: TrainConfig, *, every: int) -> dict[str, Any]:
    watch = train.watch
    if watch.holdout_frac == 0:
        return {"save_steps": train.compute.save_every or every, "save_total_limit": 2}
    return {
        "eval_strategy": "steps",
        "eval_steps": watch.eval_every or every,
        # each evaluation is a checkpoint, so that the best weights are one of them
        "save_steps": watch.eval_every or every,
        "save_total_limit": 3,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
        "greater_is_better": False,
        "restore_callback_states_from_checkpoint": True,
    }


def _fully_sharded(*, checkpointing: bool) -> dict[str, Any]:
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "reshard_after_forward": True,
            "state_dict_type": "FULL_STATE_DICT",
            "activation_checkpointing": checkpointing,
        },
    }


def _accumulate(arguments: TrainingArguments, *, train: TrainConfig, num_pairs: int) -> None:
    """Set into how many micro-batches a process cuts its share of a batch."""
    world = arguments.world_size
    if train.compute.fsdp != "none" and world == 1:
        raise ConfigError(
            "fsdp is full_shard and there is one process, so nothing can be spread; "
            "start several with `accelerate launch` or leave fsdp out"
        )
    arguments.gradient_accumulation_steps = micro_batches_of(
        train, num_pairs=num_pairs, num_processes=world
    )
