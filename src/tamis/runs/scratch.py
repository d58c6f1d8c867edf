"""Arrays and other values in files without a name: pages come and go, and nothing is left behind.

A scratch file takes room in its folder and vanishes with the process, however that ends. The system
keeps as much of it in memory as is free, and takes that back when something else needs it.

Shapes: M rows of uneven length, U of them.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Self, TypeVar, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tamis.errors import ConfigError

Ints = NDArray[np.int64]
Value = TypeVar("Value")
_DIGEST, _BLOCK = 16, 8


@dataclass(frozen=True, slots=True)
class Ragged:
    """M rows of integers >= 0, one after the other in ``values``; row i ends before ``ends_M[i]``.

    >>> rows = write_ragged([[5, 6], [], [7]], dtype=np.int32)
    >>> len(rows), rows[0].tolist(), rows[2].tolist(), rows.length_M.tolist()
    (3, [5, 6], [7], [2, 0, 1])
    """

    values: NDArray[Any]
    ends_M: Ints

    def __len__(self) -> int:
        return len(self.ends_M)

    def __getitem__(self, row: int) -> NDArray[Any]:
        start = self.ends_M[row - 1] if row > 0 else 0
        return self.values[start : self.ends_M[row]]

    @property
    def length_M(self) -> Ints:  # noqa: N802
        """The number of integers in each row."""
        return np.diff(self.ends_M, prepend=0)


@final
class RaggedWriter:
    """Writes rows of integers to a scratch file, one at a time; a context that closes it."""

    def __init__(self, *, dtype: DTypeLike, folder: Path | None = None) -> None:
        self._file, self._folder = scratch_file(folder), folder
        self._dtype = np.dtype(dtype)
        self._ends = array("q")
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk was told already, or nobody waits for the rows
            self._file.close()

    def add(self, row: Any) -> None:
        """Append a row: anything of which NumPy makes a one-dimensional array of integers.

        Raises:
            ConfigError: the folder is full.
        """
        values = np.asarray(row, self._dtype)
        with writing(self._folder):
            self._file.write(values.tobytes())
        self._end += len(values)
        self._ends.append(self._end)

    def finish(self) -> Ragged:
        """Return all rows, as views of the file."""
        with writing(self._folder):
            self._file.flush()
        values = _mapped(self._file, dtype=self._dtype, shape=(self._end,), mode="r")
        return Ragged(values, np.array(self._ends, np.int64))


@dataclass(frozen=True, slots=True)
class Distinct:
    """The distinct rows of M: where each first stands, in order, and which one each row is."""

    first_U: Ints
    which_M: Ints


def write_ragged(rows: Iterable[Any], *, dtype: DTypeLike, folder: Path | None = None) -> Ragged:
    """Write the rows that an iterable gives to a scratch file and return them as one object."""
    with RaggedWriter(dtype=dtype, folder=folder) as writer:
        for row in rows:
            writer.add(row)
        return writer.finish()


def distinct(rows: Ragged, *, shortest_first: bool) -> Distinct:
    """Find equal rows, and put the different ones in lexical order (by length before, if asked).

    Rows are compared by a hash of 128 bits and sorted a few values at a time, so that memory is
    some hundred bytes a row however long the rows are.

    >>> rows = write_ragged([[2, 1], [3], [2, 1], [2]], dtype=np.int32)
    >>> found = distinct(rows, shortest_first=False)
    >>> found.first_U.tolist(), found.which_M.tolist()
    ([3, 0, 1], [1, 2, 1, 0])
    """
    digests_M = np.empty(len(rows), f"S{_DIGEST}")
    for row in range(len(rows)):
        digests_M[row] = blake2b(rows[row].tobytes(), digest_size=_DIGEST).digest()
    _, first_U, which_M = np.unique(digests_M, return_index=True, return_inverse=True)
    key_U = rows.length_M[first_U] if shortest_first else np.zeros_like(first_U)
    rank_U = _ranks(rows, first_U, key_U=key_U)
    return Distinct(first_U[np.argsort(rank_U)], rank_U[which_M])


def scratch_array(
    shape: tuple[int, ...], *, dtype: DTypeLike, folder: Path | None = None
) -> NDArray[Any]:
    """Return zeros of this shape in a scratch file; without a folder, in memory.

    Raises:
        ConfigError: the folder cannot be written, or has no room.
    """
    if folder is None:
        return np.zeros(shape, dtype)
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with scratch_file(folder) as file:
        with writing(folder):
            if sys.platform == "linux" and num_bytes:
                # a page that finds no room when it is written would end the process
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            else:
                file.truncate(num_bytes)
        return _mapped(file, dtype=dtype, shape=shape, mode="r+")


def scratch_file(folder: Path | None = None) -> IO[bytes]:
    """Open an empty file without a name in ``folder``, or in the system's folder for such files.

    Raises:
        ConfigError: the folder cannot be written.
    """
    with writing(folder):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)


def gather(items: Iterable[tuple[str, Value]]) -> Iterator[list[Value]]:
    """Give the values of each key together, in the order in which the keys first come.

    The values wait in a scratch file, in the system's folder for such files; memory holds the keys,
    and where their values stand.

    >>> list(gather([("a", 1), ("b", 2), ("a", 3)]))
    [[1, 3], [2]]

    Raises:
        ConfigError: the folder cannot be written, or is full.
    """
    starts: dict[str, array[int]] = {}
    end = 0
    with writing(None), scratch_file() as file:
        for key, value in items:
            content = pickle.dumps(value)
            file.write(content)
            starts.setdefault(key, array("q")).append(end)
            end += len(content)
        for places in starts.values():
            yield [_stored_at(place, file) for place in places]


@contextmanager
def writing(folder: Path | None) -> Iterator[None]:
    """Turn what the file system refuses into one error that names the folder.

    Raises:
        ConfigError: the folder cannot be written, or has no room.
    """
    try:
        yield
    except OSError as error:
        where = folder or tempfile.gettempdir()
        raise ConfigError(f"cannot write {where}: {error.strerror or error}") from error


def _stored_at(place: int, file: IO[bytes]) -> Any:
    file.seek(place)
    return pickle.load(file)


def _mapped(
    file: IO[bytes], *, dtype: DTypeLike, shape: tuple[int, ...], mode: Any
) -> NDArray[Any]:
    if 0 in shape:  # no file can be mapped that has nothing in it
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(file, dtype=dtype, mode=mode, shape=shape))


def _ranks(rows: Ragged, at_U: Ints, *, key_U: Ints) -> Ints:
    """Return the place of each of these rows, all different, in the order of (key, values)."""
    rank_U = np.searchsorted(np.sort(key_U), key_U)
    tied = np.arange(len(at_U))
    offset = 0
    while len(tied):
        columns = [rank_U[tied], *_block(rows, at_U[tied], offset=offset)]
        order = np.lexsort(columns[::-1])
        tied, columns = tied[order], [column[order] for column in columns]
        number = np.arange(len(tied))
        differs = np.zeros(len(tied), bool)
        for column in columns:
            differs[1:] |= column[1:] != column[:-1]
        # a row's rank grows by how many of its equals so far turned out to be smaller
        start = np.maximum.accumulate(np.where(differs, number, 0))
        rank_U[tied] = columns[0] + start - np.searchsorted(columns[0], columns[0])
        alone = np.bincount(start, minlength=len(tied))[start] == 1
        tied = tied[~alone]
        offset += _BLOCK
    return rank_U


def _block(rows: Ragged, at_U: Ints, *, offset: int) -> list[Ints]:
    """Return the next values of each row by position, -1 behind its end: a prefix comes first."""
    ends_U = rows.ends_M[at_U]
    starts_U = ends_U - rows.length_M[at_U] + offset
    columns = []
    for position in range(_BLOCK):
        inside_U = starts_U + position < ends_U
        column_U = np.full(len(at_U), -1, np.int64)
        column_U[inside_U] = rows.values[starts_U[inside_U] + position]
        columns.append(column_U)
    return columns
