"""Dropping pairs that teach nothing, each with its reason and its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.data.pairtable import PairTable, spool_pairs
from tamis.data.tables import ROW_GROUP, batched
from tamis.types import Conversation, Dropped, Pair, content_id

FitCheck = Callable[[Sequence[Pair]], list[str | None]]
"""For each pair None where it fits the model, else the kind of drop, such as "over_length"."""

_FIT_DETAILS = {
    "identical_after_truncation": "the answers are the same once cut to the model's length",
    "over_length": "the answers are longer than the model reads",
}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The pairs that are left, what was dropped, and which of the pairs contradict each other.

    ``contradictory`` lists these as (row, id) of the one and of the other, dropped or not.
    """

    pairs: PairTable
    dropped: list[Dropped]
    contradictory: list[tuple[Named, Named]]


@dataclass(frozen=True, slots=True)
class Named:
    """The row and the id of a pair."""

    row: int
    id: str


def clean(
    items: Iterable[Pair | Dropped],
    *,
    on_contradiction: Literal["keep", "drop"],
    check_fit: FitCheck | None = None,
    work: Path | None = None,
) -> Cleaned:
    """Drop empty, identical, repeated and unfit pairs, and, if asked, contradictory ones.

    Two pairs contradict each other where one has the other's answers with the sides swapped. The
    pairs pass by a few at a time and are kept in a scratch file in ``work``; memory holds their
    ids.
    """
    dropped: list[Dropped] = []
    mirrors: list[str] = []

    def kept() -> Iterator[list[Pair]]:
        for chunk in batched(_sound(items, dropped), ROW_GROUP):
            fitting = chunk if check_fit is None else _fitting(chunk, check_fit, dropped)
            mirrors.extend(content_id(pair.prompt, pair.rejected, pair.chosen) for pair in fitting)
            yield fitting

    pairs = spool_pairs(kept(), folder=work)
    found = _contradictions(pairs, mirrors)
    rows, ids = (pairs.column(name).take(found.ravel()).to_pylist() for name in ("row", "id"))
    named = [Named(row, id_) for row, id_ in zip(rows, ids, strict=True)]
    contradictory = list(zip(named[::2], named[1::2], strict=True))
    if on_contradiction == "drop":
        for a, b in contradictory:
            for one, other in ((a, b), (b, a)):
                detail = f"row {other.row} says the opposite"
                dropped.append(Dropped(one.row, "contradictory", detail))
        pairs = pairs.select(np.setdiff1d(np.arange(len(pairs)), found))
    dropped.sort(key=lambda drop: (drop.row, drop.kind, drop.detail))
    return Cleaned(pairs, dropped, contradictory)


def _sound(items: Iterable[Pair | Dropped], dropped: list[Dropped]) -> Iterator[Pair]:
    """Give the pairs that can be compared and are not there yet; note the others."""
    row_of: dict[str, int] = {}
    for item in items:
        problem = item if isinstance(item, Dropped) else _problem(item, row_of)
        if problem is not None:
            dropped.append(problem)
        elif isinstance(item, Pair):
            row_of[item.id] = item.row
            yield item


def _problem(pair: Pair, row_of: Mapping[str, int]) -> Dropped | None:
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        problem = _answer_problem(answer)
        if problem is not None:
            kind, detail = problem
            return Dropped(pair.row, kind, f"{side}: {detail}")
    if pair.chosen == pair.rejected:
        return Dropped(pair.row, "identical", "both answers are the same")
    if pair.id in row_of:
        return Dropped(pair.row, "duplicate", f"the same as row {row_of[pair.id]}")
    return None


def _answer_problem(answer: Conversation) -> tuple[str, str] | None:
    if not answer or (answer[-1].role == "assistant" and not answer[-1].content.strip()):
        return "empty", "the answer is empty"
    if answer[-1].role != "assistant":
        return "no_answer", f"it ends with a turn of the {answer[-1].role}, not with an answer"
    return None


def _fitting(pairs: Sequence[Pair], check_fit: FitCheck, dropped: list[Dropped]) -> list[Pair]:
    kept = []
    for pair, kind in zip(pairs, check_fit(pairs), strict=True):
        if kind is None:
            kept.append(pair)
        else:
            dropped.append(Dropped(pair.row, kind, _FIT_DETAILS.get(kind, "")))
    return kept


def _contradictions(pairs: PairTable, mirrors: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the numbers of the pairs that contradict each other, [C, 2], the earlier one first."""
    found = pc.index_in(pa.array(mirrors, pa.string()), value_set=pairs.column("id"))
    other_N = pc.fill_null(found, -1).to_numpy().astype(np.int64)
    earlier = np.flatnonzero(other_N > np.arange(len(pairs)))
    return np.stack([earlier, other_N[earlier]], axis=1)
