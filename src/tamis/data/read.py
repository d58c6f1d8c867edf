"""Rows of any source: a local file, a saved directory, or a data set on the hub."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.hub import read_directory, read_hub
from tamis.data.textfiles import holds_lines, read_csv, read_json, read_jsonl
from tamis.errors import DataError

Rows = Iterator[tuple[int, dict[str, Any]]]
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_HEAD, _BATCH = 4096, 512  # bytes looked at, and rows read at once


def read_rows(path: str, *, hub_config: str | None = None, hub_split: str = "train") -> Rows:
    """Give (row number from 0, row) of a file, a directory saved by datasets, or a hub id.

    The kind of a file is told by its suffix, and by its first bytes where these say more: gzip and
    Parquet are recognised under any name, and JSON lines under that of JSON. Rows are read a few at
    a time, but for JSON that is not in lines and zipped Parquet, which are read whole.

    Raises:
        DataError: nothing is there, or it cannot be read as what it is named; the message names
            file and row.
        ConfigError: the directory has no split of that name.
    """
    local = Path(path)
    if local.is_file():
        return _read_file(local, path)
    if local.is_dir():
        return read_directory(local, hub_split=hub_split)
    if is_hub_id(path):
        return read_hub(path, hub_config=hub_config, hub_split=hub_split)
    raise DataError(f"{path}: no such file or directory")


def is_hub_id(path: str) -> bool:
    """Tell whether a text has the form of a hub id: ``name`` or ``owner/name``, and of no file.

    >>> is_hub_id("org/data"), is_hub_id("./data"), is_hub_id("a/b/c"), is_hub_id("pairs.jsonl")
    (True, False, False, False)
    """
    looks_like_file = path.startswith(".") or _named_kind(Path(path)) is not None
    return not looks_like_file and _HUB_ID.fullmatch(path) is not None


def split_revision(address: str) -> tuple[str, str | None]:
    """Return a path or hub id, and the commit, tag or branch that stands behind ``@``, if one does.

    >>> split_revision("org/model@v2"), split_revision("runs/a")
    (('org/model', 'v2'), ('runs/a', None))
    """
    path, _, revision = address.partition("@")
    if not revision or not is_hub_id(path) or Path(address).expanduser().exists():
        return address, None
    return path, revision


def _read_file(path: Path, source: str) -> Rows:
    kind = _kind(path, _head(path, source))
    if kind is None:
        raise DataError(
            f"{source}: expected a file named {', '.join(_SUFFIXES)} (or one of these with .gz)"
        )
    if kind == "json" and _holds_lines(path, source):
        kind = "jsonl"
    if kind == "parquet" and _start(path, source) == _PARQUET:
        return _read_parquet(path, source)
    if kind == "parquet":
        return _read_parquet(io.BytesIO(_content(path, source)), source)
    if kind == "json":
        return read_json(_content(path, source), source)
    return _read_lines(path, source, kind=kind)


def _kind(path: Path, head: bytes) -> str | None:
    if head.startswith(_PARQUET):
        return "parquet"
    kind = _named_kind(path)
    if kind is None and head.lstrip()[:1] in (b"{", b"["):
        return "json"
    return kind


def _named_kind(path: Path) -> str | None:
    """Return the kind of file that a name stands for."""
    name = path.with_suffix("") if path.suffix.lower() in (".gz", ".gzip") else path
    return _SUFFIXES.get(name.suffix.lower())


def _start(path: Path, source: str) -> bytes:
    """Return the first bytes of a file as it lies on disk."""
    with _readable(source), path.open("rb") as file:
        return file.read(len(_PARQUET))


def _head(path: Path, source: str) -> bytes:
    """Return what a file, unzipped, begins with: the first line that is not blank, or its start.

    Raises:
        DataError: it cannot be read, or there is no such line.
    """
    with _readable(source), _opened(path) as stream:
        while head := stream.readline(_HEAD):
            if head.strip():
                return head
    raise DataError(f"{source}: the file is empty")


def _holds_lines(path: Path, source: str) -> bool:
    with _readable(source), _opened(path) as stream:
        return holds_lines(stream)


def _read_lines(path: Path, source: str, *, kind: str) -> Rows:
    with _readable(source), _opened(path) as stream:
        if kind == "jsonl":
            yield from read_jsonl(stream, source)
        else:
            yield from read_csv(stream, source, delimiter=_DELIMITERS[kind])


def _content(path: Path, source: str) -> bytes:
    with _readable(source), _opened(path) as stream:
        return stream.read()


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_zipped = file.read(len(_GZIP)) == _GZIP
    return cast(IO[bytes], gzip.open(path)) if is_zipped else path.open("rb")


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Turn what the file system and the gzip format refuse into one error."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{source}: the gzip file is damaged or cut short: {error}") from error
    except OSError as error:
        raise DataError(f"{source}: cannot be read: {error.strerror or error}") from error


def _read_parquet(file: Path | io.BytesIO, source: str) -> Rows:
    row = 0
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_BATCH):
                for values in batch.to_pylist():
                    yield row, values
                    row += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: expected a Parquet file: after row {row}: {error}") from error
