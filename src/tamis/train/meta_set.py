"""The meta set: prompts with several responses each, encoded, and the batches that they form.

Shapes: M prompts of the set, Q pairs of responses to the same prompt, S distinct sequences.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from tamis.data.responses import Responses, read_responses
from tamis.errors import DataError
from tamis.models.encoded import CHUNK_PAIRS
from tamis.models.responses import EncodedResponses, encode_responses
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.plan import RowPlan
from tamis.runs.scratch import Ragged, RaggedWriter
from tamis.train.difference import response_pairs
from tamis.train.order import Indices, held_out_parts, micro_batches
from tamis.train.step_config import MetaConfig

META_STREAM, HELD_OUT_STREAM = 5, 6  # of random numbers, apart from those of the pairs


@dataclass(frozen=True, slots=True)
class MetaSet:
    """M prompts with at least two responses each that fit the model, and what was left out.

    The token ids lie on disk; those of prompt m are the rows of ``sequences`` that ``ends_M[m]``
    ends. ``num_left_out`` counts by kind: responses (``empty``, ``over_length``) and prompts
    (``too_few_responses``, ``identical``: all responses have the same ids, so no gap can grow).
    """

    sequences: Ragged
    ends_M: Indices
    num_cut: int
    num_left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.ends_M)

    def responses(self, prompt: int) -> list[tuple[int, ...]]:
        """Return the token ids of the responses to a prompt."""
        start = int(self.ends_M[prompt - 1]) if prompt > 0 else 0
        return [tuple(self.sequences[row].tolist()) for row in range(start, self.ends_M[prompt])]

    @property
    def num_responses(self) -> int:
        """How many responses all prompts have."""
        return len(self.sequences)


@dataclass(frozen=True, slots=True)
class MetaParts:
    """The micro-batches of prompts that a run needs, in the order in which processes take turns.

    ``training`` has ``num_micro`` for every step and process, ``held_out`` the same number for each
    process.
    """

    training: list[Indices]
    held_out: list[Indices]
    num_micro: int
    num_held_out: int


def meta_set(
    config: MetaConfig, *, tokenizer: PreTrainedTokenizerBase, work: Path | None = None
) -> MetaSet:
    """Read and encode the meta set, 512 prompts at a time, with the ids in a scratch file.

    Raises:
        DataError: the file is not as `read_responses` expects it, or no prompt is left.
        ConfigError: ``work`` cannot be written, or has no room.
    """
    max_length = int(tokenizer.model_max_length)
    num_left_out: Counter[str] = Counter()
    ends: list[int] = []
    num_rows = num_cut = end = 0
    with RaggedWriter(dtype=np.int32, folder=work) as writer:
        for chunk in _chunks(read_responses(config.path)):
            num_rows += len(chunk)
            full = [(item.prompt, [r for r in item.responses if r]) for item in chunk]
            num_left_out["empty"] += sum(not r for item in chunk for r in item.responses)
            for encoded in encode_responses(tokenizer, full, max_length=max_length):
                num_left_out["over_length"] += encoded.num_over_length
                problem = _problem(encoded)
                if problem is not None:
                    num_left_out[problem] += 1
                    continue
                for sequence in encoded.sequences:
                    writer.add(sequence)
                end += len(encoded.sequences)
                num_cut += encoded.num_cut > 0
                ends.append(end)
        left_out = {kind: count for kind, count in sorted(num_left_out.items()) if count}
        if not ends:
            raise DataError(
                f"{config.path}: no prompt of {num_rows} is left (left out: {left_out or 'none'}); "
                "expected prompts with at least two different responses that the model can read"
            )
        return MetaSet(writer.finish(), np.array(ends, np.int64), num_cut, left_out)


def meta_parts(
    num_prompts: int,
    config: MetaConfig,
    *,
    num_steps: int,
    num_micro: int,
    num_processes: int,
    seed: int,
) -> MetaParts:
    """Hold prompts out and form the batches of all steps, a function of the numbers given alone.

    The prompts come in random order, all of them before any comes again; batches differ by at most
    one prompt. A batch is cut into ``num_micro`` parts for each process, or fewer, none empty.

    Raises:
        DataError: there are fewer prompts in a batch, or held out, than processes.
    """
    order = np.random.default_rng([seed, 0, HELD_OUT_STREAM]).permutation(num_prompts)
    num_held_out = min(math.ceil(config.holdout_frac * num_prompts), num_prompts - 1)
    held_out, kept = np.sort(order[:num_held_out]), np.sort(order[num_held_out:])
    num_batches = math.ceil(len(kept) / config.prompts)
    least = len(kept) // num_batches
    too_few = 0 < num_held_out < num_processes
    if least < num_processes or too_few:
        raise DataError(
            f"{config.path}: {num_prompts} prompts are left, {num_held_out} of them held out and "
            f"{least} in a batch, for {num_processes} processes; expected one for each at least, "
            "give more prompts or change train.objective.meta."
            + ("holdout_frac" if too_few else "prompts")
        )

    def endless() -> Iterator[Indices]:
        for epoch in itertools.count():
            rng = np.random.default_rng([seed, epoch, META_STREAM])
            yield from np.array_split(rng.permutation(kept), num_batches)

    num_micro = min(num_micro, least // num_processes)
    batches = list(itertools.islice(endless(), num_steps))
    size = math.ceil(config.prompts / (num_micro * num_processes))
    return MetaParts(
        training=micro_batches(batches, num_micro=num_micro * num_processes),
        held_out=held_out_parts(held_out, batch_size=size, num_processes=num_processes)
        if num_held_out
        else [],
        num_micro=num_micro,
        num_held_out=num_held_out,
    )


def meta_batch(
    meta: MetaSet, prompts: Sequence[int] | Indices, *, plan: RowPlan, pad_id: int
) -> dict[str, Any]:
    """Return what the model reads of some prompts, and which scores to compare.

    Each distinct sequence is there once and shared beginnings where ``plan`` shares them, as in
    the batches of pairs. ``chosen`` and ``rejected`` say which sequences the two responses of a
    pair are (int64 [Q]; there is no better one), ``count`` how many responses its prompt has.
    """
    groups = [meta.responses(int(prompt)) for prompt in prompts]
    rows = [ids for group in groups for ids in group]
    sequences = sorted(dict.fromkeys(rows), key=len)
    place_of = {ids: place for place, ids in enumerate(sequences)}
    place_R = np.array([place_of[ids] for ids in rows], np.int64)
    pairs = response_pairs([len(group) for group in groups])
    return {
        **model_inputs(sequences, plan=plan, pad_id=pad_id),
        "chosen": torch.from_numpy(place_R[pairs.first_Q]),
        "rejected": torch.from_numpy(place_R[pairs.second_Q]),
        "count": torch.from_numpy(pairs.count_Q),
    }


def _chunks(items: Iterator[Responses]) -> Iterator[list[Responses]]:
    while chunk := list(itertools.islice(items, CHUNK_PAIRS)):
        yield chunk


def _problem(encoded: EncodedResponses) -> str | None:
    """Say why a prompt teaches nothing, in a word, or ``None`` where it can."""
    if len(encoded.sequences) < 2:
        return "too_few_responses"
    return "identical" if len(set(encoded.sequences)) == 1 else None
