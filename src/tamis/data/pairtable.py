"""Pairs that stay in their Parquet file: a sequence whose memory does not grow with its length.

Shapes: N pairs of a sequence, M chosen ones.
"""

from __future__ import annotations

import mmap
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import final, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.tables import (
    PAIR_SCHEMA,
    ROW_GROUP,
    cast_table,
    pairs_of_table,
    table_of_pairs,
)
from tamis.errors import DataError
from tamis.runs.scratch import scratch_file, writing
from tamis.types import Pair

Rows = npt.NDArray[np.int64]
GROUPS_KEPT = 2


@final
class PairTable(Sequence[Pair]):
    """The pairs of a Parquet file, or some of them in any order, read when they are asked for.

    The file is read a row group at a time, and the last two groups are kept; `write_pairs` writes
    512 pairs a group. Reading in the order of the file is as fast as reading it whole. A slice is
    another view of the same file. Views are equal to any sequence of equal pairs.
    """

    def __init__(self, file: _PairFile, rows_N: Rows) -> None:
        self._file, self._rows_N = file, rows_N

    def __len__(self) -> int:
        return len(self._rows_N)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> PairTable: ...
    def __getitem__(self, index: int | slice) -> Pair | PairTable:
        """Return one pair, or a view of several.

        Raises:
            DataError: the file is damaged, or a pair lacks what every pair has.
        """
        if isinstance(index, slice):
            return PairTable(self._file, self._rows_N[index])
        (pair,) = self._file.read(self._rows_N[[index]])
        return pair

    def __iter__(self) -> Iterator[Pair]:
        for start in range(0, len(self), ROW_GROUP):
            yield from self._file.read(self._rows_N[start : start + ROW_GROUP])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PairTable({len(self)} of {self._file.path})"

    def select(self, index_M: npt.ArrayLike) -> PairTable:
        """Return a view of the pairs with these numbers, in this order."""
        return PairTable(self._file, self._rows_N[np.asarray(index_M, np.int64)])

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one field of all pairs as Arrow values, without reading the others.

        Raises:
            DataError: the file is damaged.
        """
        return self._file.column(name).take(pa.array(self._rows_N))


def read_pairs(path: Path) -> PairTable:
    """Open what ``write_pairs`` wrote.

    Raises:
        DataError: the file is missing, is no Parquet, or has other columns or types.
    """
    try:
        parquet = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: expected a Parquet file: {error}") from error
    found = parquet.schema_arrow
    missing = [name for name in PAIR_SCHEMA.names if name not in found.names]
    if missing:
        raise DataError(f"{path}: column {missing[0]!r} is missing; the file has {found.names}")
    cast_table(found.empty_table().select(PAIR_SCHEMA.names), PAIR_SCHEMA, path=path)
    return _table(parquet, path)


def spool_pairs(chunks: Iterable[Sequence[Pair]], *, folder: Path | None = None) -> PairTable:
    """Write lists of pairs to a scratch file in ``folder``, and return all of them.

    Raises:
        ConfigError: the folder cannot be written, or is full.
    """
    with writing(folder), scratch_file(folder) as file:
        with pq.ParquetWriter(file, PAIR_SCHEMA) as writer:
            for chunk in chunks:
                writer.write_table(table_of_pairs(chunk))
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    parquet = pq.ParquetFile(pa.BufferReader(pa.py_buffer(mapped)))
    return _table(parquet, folder or Path(tempfile.gettempdir()))


def pair_ids(pairs: Sequence[Pair]) -> pa.ChunkedArray:
    """Return the ids of any sequence of pairs, as Arrow strings."""
    if isinstance(pairs, PairTable):
        return pairs.column("id")
    return pa.chunked_array([pa.array([pair.id for pair in pairs], pa.string())])


def select_pairs(pairs: Sequence[Pair], index_M: npt.ArrayLike) -> Sequence[Pair]:
    """Return the pairs with these numbers: a view of a `PairTable`, else a list."""
    if isinstance(pairs, PairTable):
        return pairs.select(index_M)
    return [pairs[index] for index in np.asarray(index_M, np.int64).tolist()]


def _table(parquet: pq.ParquetFile, path: Path) -> PairTable:
    file = _PairFile(parquet, path)
    return PairTable(file, np.arange(parquet.metadata.num_rows))


@final
class _PairFile:
    """An open file and its last used row groups, as pairs."""

    def __init__(self, parquet: pq.ParquetFile, path: Path) -> None:
        self.path = path
        self._parquet = parquet
        self._kept: OrderedDict[int, list[Pair]] = OrderedDict()
        groups = range(parquet.metadata.num_row_groups)
        sizes = [parquet.metadata.row_group(group).num_rows for group in groups]
        self._ends = np.cumsum(sizes, dtype=np.int64)

    def read(self, rows_N: Rows) -> list[Pair]:
        """Return the pairs of these rows; each row group is read at most once for it."""
        group_N = np.searchsorted(self._ends, rows_N, side="right")
        found: list[Pair | None] = [None] * len(rows_N)
        for group in np.unique(group_N).tolist():
            pairs = self._group(group)
            first = self._ends[group] - len(pairs)
            for place in np.flatnonzero(group_N == group).tolist():
                found[place] = pairs[rows_N[place] - first]
        return [pair for pair in found if pair is not None]

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one field of all pairs of the file."""
        groups = range(len(self._ends))
        parts = [self._load(group, columns=[name])[name] for group in groups]
        chunks = [chunk for part in parts for chunk in part.chunks]
        return pa.chunked_array(chunks, type=PAIR_SCHEMA.field(name).type)

    def _group(self, group: int) -> list[Pair]:
        if group not in self._kept:
            if len(self._kept) == GROUPS_KEPT:
                self._kept.popitem(last=False)
            table = self._load(group, columns=PAIR_SCHEMA.names)
            self._kept[group] = pairs_of_table(table)
        self._kept.move_to_end(group)
        return self._kept[group]

    def _load(self, group: int, *, columns: list[str]) -> pa.Table:
        try:
            table = self._parquet.read_row_group(group, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.path}: expected a Parquet file: {error}") from error
        schema = pa.schema([PAIR_SCHEMA.field(name) for name in columns])
        return cast_table(table.select(columns), schema, path=self.path)
