"""The pairs in the order in which people should look at them.

Shapes: N pairs that were voted on, M rows of the file of pairs.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.data import PairTable, read_pairs
from tamis.errors import DataError, shorten
from tamis.runs import read_parquet
from tamis.types import Pair
from tamis.vote.table import read_strength

LARGEST_VOTE_QUANTILE = 0.98  # larger votes fill the height of the picture, too
SEARCHES_KEPT = 8
ROWS = 2048  # searched at once

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Labels:
    """A word of each pair, such as its subset: names, and which of them each pair has."""

    names: list[str]
    which_N: Ints

    def are(self, name: str) -> Bools:
        """Mark the pairs with this word."""
        code = self.names.index(name) if name in self.names else -1
        return np.asarray(self.which_N == code)


@dataclass(frozen=True, slots=True, eq=False)
class Queue:
    """Pairs by suspicion: highest P(wrong) first where it is known, else lowest strength first.

    A pair's *rank* is its place in this order, from 1; arrays have an entry a pair, in this order.
    ``place_N`` is each pair's place in the strength file, ``vote_scale`` the size of a large vote.
    ``name`` stands for the set of pairs. Texts stay on disk.
    """

    ids: list[str]
    mean_N: Floats
    std_N: Floats
    p_wrong_N: Floats | None
    place_N: Ints
    subsets: Labels
    sources: Labels
    vote_scale: float
    search: Search
    name: str
    rank_of: dict[str, int]
    _votes: pa.ChunkedArray
    _pairs: PairTable
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.ids)

    def pairs(self, ranks: Sequence[int]) -> list[Pair]:
        """Return the pairs with these ranks, in this order."""
        with self._lock:  # the table keeps its last row groups, for one reader at a time
            return list(self._pairs.select([rank - 1 for rank in ranks]))

    def votes(self, rank: int) -> list[float]:
        """Return the votes that were cast on a pair."""
        return [vote for vote in self._votes[rank - 1].as_py() or [] if vote is not None]


@final
class Search:
    """Finds pairs by their texts; the last few answers are kept."""

    def __init__(self, path: Path, *, row_N: Ints) -> None:
        """Search the pairs in these rows of a file that ``write_pairs`` wrote."""
        self._file = pq.ParquetFile(path)
        self._row_N = row_N
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Bools] = OrderedDict()

    def __call__(self, text: str) -> Bools:
        """Mark the pairs whose id, prompt or answers hold a text; case does not matter."""
        with self._lock:
            if text not in self._kept:
                if len(self._kept) == SEARCHES_KEPT:
                    self._kept.popitem(last=False)
                self._kept[text] = self._found(text)
            self._kept.move_to_end(text)
            return self._kept[text]

    def _found(self, text: str) -> Bools:
        columns = ["id", "prompt", "chosen", "rejected"]
        parts = [
            _rows_with(text, batch=batch)
            for batch in self._file.iter_batches(ROWS, columns=columns, use_threads=False)
        ]
        found_M = np.concatenate(parts) if parts else np.zeros(0, bool)
        return np.asarray(found_M[self._row_N])


def load_queue(pairs: Path, *, strength: Path, wrong: Path | None = None) -> Queue:
    """Open the pairs of a vote, and order them.

    ``wrong`` is a table with the columns id and p_wrong, such as the denoise stage writes.

    Raises:
        DataError: a file is missing or damaged, the files do not belong together, or no pair was
            voted on.
    """
    table, stored = read_strength(strength), read_pairs(pairs)
    ids = table["id"].combine_chunks()
    row_N = _rows_of(ids, stored=stored, strength=strength, pairs=pairs)
    mean_N = np.asarray(table["mean"].to_numpy())
    p_wrong_N = None if wrong is None else _read_p_wrong(wrong, ids=ids)
    order_N = np.lexsort((mean_N,) if p_wrong_N is None else (mean_N, -p_wrong_N))
    ranked = stored.select(row_N[order_N])
    names = ids.take(pa.array(order_N)).to_pylist()
    return Queue(
        ids=names,
        mean_N=mean_N[order_N],
        std_N=np.asarray(table["std"].to_numpy())[order_N],
        p_wrong_N=None if p_wrong_N is None else p_wrong_N[order_N],
        place_N=order_N,
        subsets=_labels(ranked.column("subset")),
        sources=_labels(ranked.column("source")),
        vote_scale=_vote_scale(table["votes"]),
        search=Search(pairs, row_N=row_N[order_N]),
        name=hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12],
        rank_of={name: place + 1 for place, name in enumerate(names)},
        _votes=table["votes"].take(pa.array(order_N)),
        _pairs=ranked,
    )


def _rows_of(ids: pa.Array, *, stored: PairTable, strength: Path, pairs: Path) -> Ints:
    if not len(ids):
        raise DataError(f"{strength}: expected votes, found no row")
    found = pc.index_in(ids, value_set=stored.column("id").combine_chunks())
    if found.null_count:
        missing = ids[int(np.argmax(found.is_null().to_numpy(zero_copy_only=False)))].as_py()
        raise DataError(
            f"{strength}: id {shorten(missing)} is not in {pairs}; expected the pairs that were "
            "voted on"
        )
    return np.asarray(found.to_numpy(), np.int64)


def _read_p_wrong(path: Path, *, ids: pa.Array) -> Floats:
    table = read_parquet(path, columns=["id", "p_wrong"])
    try:
        known, values = table["id"].cast(pa.string()), table["p_wrong"].cast(pa.float64())
    except pa.ArrowException as error:
        raise DataError(f"{path}: expected text in id and numbers in p_wrong: {error}") from error
    value_N = values.take(pc.index_in(ids, value_set=known.combine_chunks())).to_numpy()
    wrong = np.flatnonzero(~((value_N >= 0) & (value_N <= 1)))  # NaN is neither
    if len(wrong):
        seen = value_N[wrong[0]]
        raise DataError(
            f"{path}: p_wrong of id {ids[int(wrong[0])].as_py()!r} is "
            f"{'missing' if np.isnan(seen) else seen}; expected a number in [0, 1] for every pair"
        )
    return np.asarray(value_N)


def _labels(column: pa.ChunkedArray) -> Labels:
    names = pc.unique(column)
    which_N = np.asarray(pc.index_in(column, value_set=names).to_numpy(), np.int64)
    return Labels(names.to_pylist(), which_N)


def _vote_scale(votes: pa.ChunkedArray) -> float:
    size = np.abs(pc.list_flatten(votes).drop_null().to_numpy())
    large = float(np.quantile(size, LARGEST_VOTE_QUANTILE)) if len(size) else 0.0
    return large or 1.0


def _rows_with(text: str, *, batch: pa.RecordBatch) -> Bools:
    found_M = pc.match_substring(batch.column("id"), text, ignore_case=True)
    found_M = found_M.to_numpy(zero_copy_only=False).copy()
    for name in ("prompt", "chosen", "rejected"):
        turns = batch.column(name)
        content = pc.struct_field(pc.list_flatten(turns), "content")
        hit = pc.fill_null(pc.match_substring(content, text, ignore_case=True), False)
        row_of_turn = pc.list_parent_indices(turns).to_numpy()
        found_M[row_of_turn[hit.to_numpy(zero_copy_only=False)]] = True
    return np.asarray(found_M, bool)
