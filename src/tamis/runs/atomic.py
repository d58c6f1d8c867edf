"""Atomic file writes: a reader sees the old content or the whole new content, never a part."""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tamis.errors import ConfigError


def replace_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file, fsync it and rename it over ``path``.

    Raises:
        ConfigError: the directory cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # not there, and perhaps not even its folder
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    replace_atomically(path, lambda temporary: _write_new(temporary, content))


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_bytes(path, stream.getvalue())


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; numpy scalars and arrays become numbers and lists.

    Raises:
        ValueError: a number is NaN or infinite (JSON has neither).
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, text + "\n")


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write an Arrow table as Parquet, atomically."""
    replace_atomically(path, lambda temporary: pq.write_table(table, temporary))


def _write_new(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serialisable")
