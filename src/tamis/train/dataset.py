"""From pairs and verdicts to the sequences and numbers that training reads.

Shapes: N pairs of the data set.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tamis.data import pair_ids
from tamis.denoise.orient import Oriented, orient
from tamis.errors import DataError
from tamis.models.encoded import CHUNK_PAIRS, EncodedWriter
from tamis.models.tokenise import EncodedPair, encode_pairs, fit_problem
from tamis.runs.scratch import RaggedWriter, distinct
from tamis.types import Dropped, Pair, Verdict, messages_key

NO_WEIGHT = "weight_0"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """N encoded pairs, turned so that target >= 0.5, with their numbers; and what was left out.

    The token ids lie on disk. ``prompts`` tells which pairs share a prompt, and so may share
    answers (pairs without a prompt: a group); it is the prompt's place among all, sorted by text.
    ``group_N`` is a number for the pair's group (of the prompt where it has none), for holding
    out. ``length_N`` counts the tokens of each pair, the common prefix once. ``source_N`` says
    which of the given pairs each one is, and ``swapped_N`` whether it was turned. ``num_cut``
    pairs lost the beginning of their prompt, to fit.
    """

    encoded: Sequence[EncodedPair]
    prompts: NDArray[np.int64]
    group_N: NDArray[np.int64]
    length_N: NDArray[np.int64]
    target_N: NDArray[np.float32]
    margin_N: NDArray[np.float32]
    weight_N: NDArray[np.float32]
    source_N: NDArray[np.int64]
    swapped_N: NDArray[np.bool_]
    num_cut: int
    left_out: list[Dropped]

    @property
    def num_swapped(self) -> int:
        """How many pairs were turned."""
        return int(self.swapped_N.sum())


def training_set(
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict],
    *,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    work: Path | None = None,
) -> TrainingSet:
    """Turn, encode and filter the pairs, 512 at a time, with the ids in a scratch file in ``work``.

    Left out, and named: pairs of weight 0, pairs whose answers do not fit and pairs whose sides
    have the same ids.

    Raises:
        DataError: a pair has no verdict, two or an impossible one, or no pair is left.
        ConfigError: ``work`` cannot be written, or has no room.
    """
    verdict_N = _verdict_numbers(pairs, verdicts)
    with EncodedWriter(work) as encoded, RaggedWriter(dtype=np.uint8, folder=work) as prompts:
        kept = _Kept(encoded, prompts)
        for start in range(0, len(pairs), CHUNK_PAIRS):
            chunk = slice(start, start + CHUNK_PAIRS)
            judged = [verdicts[number] for number in verdict_N[chunk].tolist()]
            weighty = kept.with_weight(pairs[chunk], judged, start=start)
            kept.add(
                weighty,
                encode_pairs(
                    tokenizer, [item.pair for item in weighty.values()], max_length=max_length
                ),
                max_length=max_length,
            )
        left_out = [*kept.weightless, *kept.unfit]
        if len(left_out) == len(pairs):
            raise DataError(
                f"no pair is left to train on: of {len(pairs)} pairs, {len(left_out)} were left "
                f"out ({_counts(left_out)})"
            )
        pairs_on_disk = encoded.finish()
        return TrainingSet(
            encoded=pairs_on_disk,
            prompts=distinct(prompts.finish(), shortest_first=False).which_M,
            group_N=np.array(kept.groups, np.int64),
            length_N=pairs_on_disk.length_N,
            target_N=np.array(kept.target, np.float32),
            margin_N=np.array(kept.margin, np.float32),
            weight_N=np.array(kept.weight, np.float32),
            source_N=np.array(kept.source, np.int64),
            swapped_N=np.array(kept.swapped, np.bool_),
            num_cut=int((pairs_on_disk.num_cut_N > 0).sum()),
            left_out=left_out,
        )


def count_kinds(left_out: Sequence[Dropped]) -> dict[str, int]:
    """Return how many pairs were left out for each reason, by name."""
    kinds = sorted({item.kind for item in left_out})
    return {kind: sum(item.kind == kind for item in left_out) for kind in kinds}


def _floats() -> array[float]:
    return array("f")


@dataclass(slots=True)
class _Kept:
    """What grows while the pairs pass by."""

    encoded: EncodedWriter
    prompts: RaggedWriter
    groups: array[int] = field(default_factory=lambda: array("q"))
    target: array[float] = field(default_factory=_floats)
    margin: array[float] = field(default_factory=_floats)
    weight: array[float] = field(default_factory=_floats)
    source: array[int] = field(default_factory=lambda: array("q"))
    swapped: array[int] = field(default_factory=lambda: array("b"))
    weightless: list[Dropped] = field(default_factory=list)
    unfit: list[Dropped] = field(default_factory=list)

    def with_weight(
        self, pairs: Sequence[Pair], verdicts: Sequence[Verdict], *, start: int
    ) -> dict[int, Oriented]:
        """Turn the pairs, by number from ``start``, and note those of weight 0 instead."""
        oriented = {}
        for number, (pair, verdict) in enumerate(zip(pairs, verdicts, strict=True), start):
            _check(verdict)
            if verdict.weight > 0:
                oriented[number] = orient(pair, verdict)
            else:
                detail = f"{pair.id}: {verdict.reason}"
                self.weightless.append(Dropped(pair.row, NO_WEIGHT, detail))
        return oriented

    def add(
        self, oriented: Mapping[int, Oriented], encoded: Sequence[EncodedPair], *, max_length: int
    ) -> None:
        """Append the pairs, and note those that cannot be trained on instead."""
        for (number, item), ids in zip(oriented.items(), encoded, strict=True):
            problem = fit_problem(ids, max_length=max_length)
            if problem is not None:
                self.unfit.append(Dropped(item.pair.row, problem, item.pair.id))
                continue
            self.encoded.add(ids)
            self.prompts.add(np.frombuffer(_prompt_key(item.pair), np.uint8))
            self.groups.append(_group_number(item.pair))
            self.target.append(item.verdict.target)
            self.margin.append(item.verdict.margin)
            self.weight.append(item.verdict.weight)
            self.source.append(number)
            self.swapped.append(item.swapped)


def _prompt_key(pair: Pair) -> bytes:
    # bytes of UTF-8 have the order of the texts
    text = messages_key(pair.prompt) if pair.prompt else pair.group
    return text.encode("utf-8", "surrogatepass")


def _group_number(pair: Pair) -> int:
    key = pair.group.encode("utf-8", "surrogatepass") or _prompt_key(pair)
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big", signed=True)


def _verdict_numbers(pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> NDArray[np.int64]:
    """Return which verdict each pair has."""
    judged = pa.array([verdict.id for verdict in verdicts], pa.string())
    first = pc.index_in(judged, value_set=judged).to_numpy()
    again = np.flatnonzero(first != np.arange(len(first)))
    if len(again):
        raise DataError(f"verdicts: two of them have the id {verdicts[again[0]].id}")
    found = pc.index_in(pair_ids(pairs), value_set=judged)
    if found.null_count:
        pair = pairs[int(np.argmax(found.is_null().to_numpy()))]
        raise DataError(f"pair {pair.id} (row {pair.row}) has no verdict")
    return np.asarray(found.to_numpy(), np.int64)


def _check(verdict: Verdict) -> None:
    for name, value, is_right in (
        ("target", verdict.target, 0 <= verdict.target <= 1),
        ("margin", verdict.margin, math.isfinite(verdict.margin)),
        ("weight", verdict.weight, math.isfinite(verdict.weight) and verdict.weight >= 0),
    ):
        if not is_right:
            expected = {"target": "a number in [0, 1]", "margin": "a finite number"}
            raise DataError(
                f"verdict of pair {verdict.id}: {name} is {value}, expected "
                f"{expected.get(name, 'a finite number of at least 0')}"
            )


def _counts(left_out: Sequence[Dropped]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in count_kinds(left_out).items()) or "none"
