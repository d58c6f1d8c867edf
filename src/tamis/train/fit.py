"""One training run: from judged pairs to a checkpoint that every consumer loads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import TrainingArguments

from tamis.data import select_pairs
from tamis.data.responses import check_responses
from tamis.errors import ConfigError
from tamis.models.attention import use_fast_backward
from tamis.models.checkpoint import save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.load import to_accelerator
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.memory import StateMemory, use_memory
from tamis.models.rows.plan import RowPlan
from tamis.models.source import locate, quiet
from tamis.models.start import start_of
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.runs import is_main, progress
from tamis.runs.processes import from_main
from tamis.terms.view import Columns, KnownPairs
from tamis.train.added import added_steps
from tamis.train.arguments import steps_of, training_arguments
from tamis.train.assemble import Assembled, assemble
from tamis.train.build import (
    RewardModel,
    base_of,
    check_trainable,
    dequantised_state,
    rebuilt,
    trainable_model,
)
from tamis.train.collate import make_collate
from tamis.train.config import TrainConfig
from tamis.train.dataset import TrainingSet, training_set
from tamis.train.equip import check_readable, checked_shape, equip
from tamis.train.launched import hides_weights, spreads_weights
from tamis.train.modules import detach
from tamis.train.parts import cut_parts, split_pairs
from tamis.train.reading import token_head
from tamis.train.record import card_rows, training_report
from tamis.train.shard import KeepsGathered, holds_shards, shard
from tamis.train.sharded import ShardedTrainer
from tamis.train.tracking import check_trackers, finish_tracking
from tamis.train.trainer import PairTrainer, last_complete, stopped_at
from tamis.types import Pair, Verdict


def fit(
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict],
    *,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    work: Path,
    out: Path,
    memory: StateMemory | None = None,
) -> dict[str, Any]:
    """Train a reward model, write its checkpoint to ``out`` and return the report.

    A run that was killed resumes from the last complete checkpoint in ``work``, with the same
    final weights bit for bit (on one kind of hardware with one number of threads and processes).
    The report is JSON-safe and, but for ``timing``, the same for the same inputs. Several processes
    call this with the same arguments; the first writes ``out``. For ``memory`` see `use_memory`.

    Raises:
        DataError: a pair has no verdict or an impossible one, or no pair is left.
        ConfigError: the model cannot be loaded, the settings contradict each other, the loss
            diverged, or a directory cannot be written.
    """
    started = time.monotonic()
    assembled, tokenizer = checked(train, model=model), load_tokenizer(model)
    pad_id, max_length = pad_id_of(tokenizer), int(tokenizer.model_max_length)
    data = training_set(pairs, verdicts, tokenizer=tokenizer, max_length=max_length, work=work)
    known = partial(_known, data, pairs=pairs, model=model, memory=memory, work=work)
    columns = _columns(assembled, data, known=known, seed=seed)
    split = split_pairs(data, train, seed=seed)
    with quiet():
        arguments = _arguments(train, num_pairs=len(split.train_N), seed=seed, work=work)
        reward_model = trainable_model(model, train, seed=seed, pad_token_id=pad_id)
        start = start_of(base_of(reward_model), tokenizer, config=model) if is_main() else None
        plan = _prepare(reward_model, train, assembled, max_length=max_length, memory=memory)
        _equip(reward_model, train, assembled, model=model, arguments=arguments)
    parts = cut_parts(data, split, train=train, arguments=arguments, assembled=assembled)
    added = added_steps(
        train, data, split=split, pairs=pairs, tokenizer=tokenizer, plan=plan, arguments=arguments
    )
    with quiet(), progress("training", total=arguments.max_steps) as advance:
        trainer = _trainer_for(reward_model)(
            reward_model,
            arguments,
            objective=assembled.objective,
            collate=make_collate(data, pad_id=pad_id, plan=plan, columns=columns),
            parts=parts.training,
            held_out=parts.held_out,
            patience=train.watch.patience,
            on_step=advance,
            added=added,
        )
        _train(trainer, assembled, work=work)
        report = training_report(train, data, split=split, state=trainer.state)
        report |= {"rows": asdict(plan), **parts.facts, **added.report(trainer)}
        trained = _trained(trainer, reward_model, model=model, train=train, seed=seed)
    if trainer.is_world_process_zero():
        card = card_rows(assembled, report, seed=seed)
        save_checkpoint(trained, tokenizer, out, card=card, start=start)
    return {**report, "timing": {"elapsed_s": round(time.monotonic() - started, 3)}}


def checked(train: TrainConfig, *, model: ModelConfig) -> Assembled:
    """Return the objective, once all is checked that takes neither data nor weights.

    Raises:
        ConfigError: there is no such loss, term or setting, settings contradict each other, or a
            package or a model that a term reads is missing.
        DataError: there is no meta set.
    """
    check_trackers(train.watch)
    check_trainable(model, train)
    assembled = assemble(train)
    for path in assembled.reads.values():
        locate(path)
    if train.objective.meta is not None:
        check_responses(train.objective.meta.path)
    return assembled


def checked_model(train: TrainConfig, *, model: ModelConfig) -> None:
    """Check that a model can be trained as the settings say; its weights are not read.

    Raises:
        ConfigError: see `checked` and `tamis.train.equip.checked_shape`; the model or its tokenizer
            cannot be loaded.
        DataError: see `checked`.
    """
    checked(train, model=model)
    with quiet():
        checked_shape(model, train, pad_token_id=pad_id_of(load_tokenizer(model)))


def _columns(
    assembled: Assembled, data: TrainingSet, *, known: Callable[[], KnownPairs], seed: int
) -> dict[str, Columns]:
    """Check that the loss can read the verdicts, and return what the terms know of all pairs.

    The main process computes it for all.
    """
    assembled.check(data)
    if not assembled.columns:
        return {}
    return from_main(assembled.known(known(), seed=seed) if is_main() else {})


def _known(
    data: TrainingSet,
    *,
    pairs: Sequence[Pair],
    model: ModelConfig,
    memory: StateMemory | None,
    work: Path,
) -> KnownPairs:
    chosen = select_pairs(pairs, data.source_N)
    return KnownPairs(data.encoded, chosen, data.swapped_N, work, model=model, memory=memory)


def _arguments(train: TrainConfig, *, num_pairs: int, seed: int, work: Path) -> TrainingArguments:
    num_steps = steps_of(train, num_pairs=num_pairs)
    arguments = training_arguments(
        train, num_pairs=num_pairs, num_steps=num_steps, seed=seed, work=work
    )
    # a run that stopped early has no step left to make
    arguments.max_steps = stopped_at(last_complete(work)) or num_steps
    return arguments


def _trainer_for(model: RewardModel) -> type[PairTrainer]:
    return ShardedTrainer if holds_shards(model) else PairTrainer


def _prepare(
    reward_model: RewardModel,
    train: TrainConfig,
    assembled: Assembled,
    *,
    max_length: int,
    memory: StateMemory | None,
) -> RowPlan:
    """Bring the model to its device, choose its rows, and give it the memory."""
    base, rows = base_of(reward_model), train.compute.rows
    is_spread = train.compute.fsdp != "none"
    if not (is_spread or spreads_weights() or train.lora.quantise != "none"):
        to_accelerator(base)
    use_fast_backward(base)
    if train.objective.form == "token":
        rows = "padded"
        token_head(base)
        if spreads_weights():
            raise ConfigError(
                "form is token, which works neither with FSDP nor with DeepSpeed; launch with DDP, "
                "or choose form sequence"
            )
    check_readable(base, assembled, views=train.objective.views, is_hidden=hides_weights())
    states: Literal["scored", "all"] = "all" if "tokens" in assembled.needs else "scored"
    plan = choose_rows(base, wanted=rows, max_length=max_length, states=states)
    if memory is not None:
        _check_views(train, assembled)
        use_memory(base, memory)
    return plan


def _equip(
    reward_model: RewardModel,
    train: TrainConfig,
    assembled: Assembled,
    *,
    model: ModelConfig,
    arguments: TrainingArguments,
) -> None:
    """Add what terms train, and spread the weights where the Trainer does not: on CPUs."""
    equip(reward_model, assembled, model=model, arguments=arguments)
    if train.compute.fsdp != "none" and not torch.accelerator.is_available():
        shard(reward_model)


def _train(trainer: PairTrainer, assembled: Assembled, *, work: Path) -> None:
    if assembled.needs:
        trainer.add_callback(KeepsGathered())
    trainer.train(resume_from_checkpoint=last_complete(work))
    finish_tracking(trainer.args)


def _check_views(train: TrainConfig, assembled: Assembled) -> None:
    if "views" in assembled.needs and train.objective.views.where == "inside":
        raise ConfigError(
            "objective.views.where is inside, and what the lower layers say is remembered, without "
            "dropout; choose read"
        )


def _trained(
    trainer: PairTrainer,
    reward_model: RewardModel,
    *,
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
) -> RewardModel:
    """Return the trained model, whole and not quantised, on the main process (all call)."""
    detach(reward_model)
    if trainer.is_sharded:
        state = trainer.whole_state()
    elif train.lora.quantise != "none":
        state = dequantised_state(reward_model)
    else:
        return reward_model
    if not trainer.is_world_process_zero():
        return reward_model
    pad_id = base_of(reward_model).config.pad_token_id
    return rebuilt(state, model, train, seed=seed, pad_token_id=pad_id)
