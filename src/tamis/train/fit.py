"""One training run: from judged pairs to a checkpoint that every consumer loads."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainingArguments

from tamis import plugins
from tamis.models.checkpoint import save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.load import to_accelerator
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.plan import RowPlan
from tamis.models.source import quiet
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.runs import progress
from tamis.train.arguments import check_trackers, steps_of, training_arguments
from tamis.train.build import RewardModel, base_of, dequantised_state, rebuilt, trainable_model
from tamis.train.collate import make_collate
from tamis.train.config import TrainConfig
from tamis.train.dataset import TrainingSet, training_set
from tamis.train.objective import base_objective
from tamis.train.order import Indices, held_out_parts, hold_out, micro_batches, training_batches
from tamis.train.record import card_rows, training_report
from tamis.train.shard import shard
from tamis.train.trainer import PairTrainer, last_complete, stopped_at
from tamis.types import Pair, Verdict

# set by `accelerate launch`; the whole model then need not fit on one device
SPREADING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")


def fit(
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict],
    *,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    work: Path,
    out: Path,
) -> dict[str, Any]:
    """Train a reward model, write its checkpoint to ``out`` and return the report.

    A run that was killed resumes from the last complete checkpoint in ``work``, with the same
    final weights bit for bit (on one kind of hardware with one number of threads and processes).
    The report is JSON-safe and, except for its key ``timing``, the same for the same inputs. Of
    several processes, each calls this with the same arguments; the first one writes ``out``.

    Raises:
        DataError: a pair has no verdict or an impossible one, or no pair is left.
        ConfigError: the model cannot be loaded, the settings contradict each other, the loss
            diverged, or a directory cannot be written.
    """
    started = time.monotonic()
    phi = plugins.load("loss", train.loss)
    check_trackers(train.watch)
    tokenizer = load_tokenizer(model)
    pad_id, max_length = pad_id_of(tokenizer), int(tokenizer.model_max_length)
    data = training_set(pairs, verdicts, tokenizer=tokenizer, max_length=max_length, work=work)
    train_N, held_out_N = _split(data, train, seed=seed)
    last = last_complete(work)
    num_steps = steps_of(train, num_pairs=len(train_N))
    with quiet():
        arguments = training_arguments(
            train, num_pairs=len(train_N), num_steps=num_steps, seed=seed, work=work
        )
        reward_model = trainable_model(model, train, seed=seed, pad_token_id=pad_id)
        plan = _prepare(reward_model, train, max_length=max_length)
    # a run that stopped early has no step left to make
    arguments.max_steps = stopped_at(last) or num_steps
    with quiet(), progress("training", total=arguments.max_steps) as advance:
        trainer = PairTrainer(
            reward_model,
            arguments,
            objective=base_objective(phi),
            collate=make_collate(data, pad_id=pad_id, plan=plan),
            parts=_parts(data, train_N, train=train, seed=seed, arguments=arguments),
            held_out=_held_out_parts(held_out_N, train=train, arguments=arguments),
            patience=train.watch.patience,
            on_step=advance,
        )
        trainer.train(resume_from_checkpoint=last)
        state = _state_to_save(trainer, reward_model, train)
    report = training_report(train, data, state=trainer.state, num_held_out=len(held_out_N))
    report["rows"] = asdict(plan)
    if trainer.is_world_process_zero():
        if state is not None:
            reward_model = rebuilt(state, model, train, seed=seed, pad_token_id=pad_id)
        save_checkpoint(reward_model, tokenizer, out, card=card_rows(train, report, seed=seed))
    return {**report, "timing": {"elapsed_s": round(time.monotonic() - started, 3)}}


def _split(data: TrainingSet, train: TrainConfig, *, seed: int) -> tuple[Indices, Indices]:
    if train.watch.holdout_frac == 0:
        return np.arange(len(data.encoded)), np.arange(0)
    return hold_out(data.group_N, frac=train.watch.holdout_frac, seed=seed)


def _prepare(reward_model: RewardModel, train: TrainConfig, *, max_length: int) -> RowPlan:
    """Bring the model to its device, choose its rows, and shard it where that is ours to do."""
    base = base_of(reward_model)
    is_spread = train.compute.fsdp != "none"
    is_spread_by_launcher = any(os.environ.get(name) == "true" for name in SPREADING)
    if not (is_spread or is_spread_by_launcher or train.lora.quantise != "none"):
        to_accelerator(base)
    plan = choose_rows(base, wanted=train.compute.rows, max_length=max_length)
    if is_spread and not torch.accelerator.is_available():
        shard(reward_model)
    return plan


def _parts(
    data: TrainingSet,
    train_N: Indices,
    *,
    train: TrainConfig,
    seed: int,
    arguments: TrainingArguments,
) -> list[Indices]:
    """Return the micro-batches of all steps, in the order in which processes take turns."""
    batches = training_batches(
        data.prompts[train_N],
        batch_size=train.batch_size,
        sampler=train.sampler,
        seed=seed,
        num_steps=arguments.max_steps,
        length_N=data.length_N[train_N],
    )
    num_micro = arguments.gradient_accumulation_steps * arguments.world_size
    return micro_batches([train_N[batch] for batch in batches], num_micro=num_micro)


def _held_out_parts(
    held_out_N: Indices, *, train: TrainConfig, arguments: TrainingArguments
) -> list[Indices]:
    if not len(held_out_N):
        return []
    micro = train.compute.micro_batch_size or train.batch_size
    return held_out_parts(held_out_N, batch_size=micro, num_processes=arguments.world_size)


def _state_to_save(
    trainer: PairTrainer, reward_model: RewardModel, train: TrainConfig
) -> dict[str, Tensor] | None:
    """Return the weights where the trained model cannot be saved as it is (all processes call)."""
    if trainer.is_sharded:
        return trainer.whole_state()
    return dequantised_state(reward_model) if train.lora.quantise != "none" else None
