"""From a data set to micro-batches, in the order in which processes take turns.

Shapes: N pairs of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import TrainingArguments

from tamis.train.assemble import WHERE, Assembled
from tamis.train.config import TrainConfig
from tamis.train.dataset import TrainingSet
from tamis.train.order import Indices, held_out_parts, hold_out, micro_batches, training_batches
from tamis.train.rankings import held_out_rankings, whole_frac, whole_rankings

LEAST_COMPARED = 4  # pairs


@dataclass(frozen=True, slots=True)
class Split:
    """The numbers of the pairs that are trained on, and of those held out."""

    train_N: Indices
    held_out_N: Indices


@dataclass(frozen=True, slots=True)
class Parts:
    """The micro-batches of a run.

    Attributes:
        training: of all steps; none where they are drawn on the way (see
            `tamis.train.prioritised`).
        held_out: of an evaluation.
        facts: what the report says of them.
    """

    training: list[Indices]
    held_out: list[Indices]
    facts: dict[str, Any] = field(default_factory=dict)


def split_pairs(data: TrainingSet, train: TrainConfig, *, seed: int) -> Split:
    """Hold out as many pairs as asked for, by whole groups.

    Raises:
        DataError: pairs are to be held out and there are fewer than two groups.
    """
    if train.watch.holdout_frac == 0:
        return Split(np.arange(len(data.encoded)), np.arange(0))
    return Split(*hold_out(data.group_N, frac=train.watch.holdout_frac, seed=seed))


def cut_parts(
    data: TrainingSet,
    split: Split,
    *,
    train: TrainConfig,
    arguments: TrainingArguments,
    assembled: Assembled,
) -> Parts:
    """Form the batches of all steps, and cut each into one part for each turn of each process.

    Where the loss ranks, the pairs of one prompt that are in a batch stay in one part, so that
    smaller micro-batches and more processes change nothing. Terms that compare two views compare
    those of one part alone; where parts are small, a warning is one of the facts.

    Raises:
        ConfigError: the loss ranks, and a batch has fewer prompts than parts.
        DataError: fewer pairs are held out than there are processes.
    """
    world, prompts = arguments.world_size, data.prompts
    numbers: list[Indices] = []
    if train.sampler != "prioritised":
        batches = training_batches(
            prompts[split.train_N],
            batch_size=train.batch_size,
            sampler=train.sampler,
            seed=arguments.seed,
            num_steps=arguments.max_steps,
            length_N=data.length_N[split.train_N],
        )
        numbers = [split.train_N[batch] for batch in batches]
    num_micro = arguments.gradient_accumulation_steps * world
    held_out: list[Indices] = []
    if len(split.held_out_N):
        size = train.compute.micro_batch_size or train.batch_size
        held_out = held_out_parts(split.held_out_N, batch_size=size, num_processes=world)
    facts: dict[str, Any] = {}
    warning = _few_compared(train, assembled, num_pairs=len(split.train_N), num_parts=num_micro)
    if warning:
        facts["warnings"] = [warning]
    if not assembled.ranks:
        return Parts(micro_batches(numbers, num_micro=num_micro), held_out, facts)
    training = [
        part
        for batch in numbers
        for part in whole_rankings(batch, prompts=prompts, num_parts=num_micro)
    ]
    if held_out:
        held_out = held_out_rankings(held_out, prompts=prompts, num_processes=world)
    whole = whole_frac(training, prompts=prompts, train_N=split.train_N)
    return Parts(training, held_out, {"whole_rankings_frac": whole, **facts})


def _few_compared(
    train: TrainConfig, assembled: Assembled, *, num_pairs: int, num_parts: int
) -> str | None:
    """Return a warning where a term compares the texts of few pairs, else ``None``."""
    term = assembled.needs.get("views")
    size = min(train.batch_size, num_pairs)
    if term is None or size // num_parts >= LEAST_COMPARED:
        return None
    return (
        f"{WHERE}.{term} compares texts within a part of a batch, and parts are of "
        f"{size // num_parts} pairs (a batch of {size} in {num_parts}); with fewer than "
        f"{LEAST_COMPARED} there is little to compare, so choose a larger micro_batch_size or "
        "batch_size, or fewer processes"
    )
