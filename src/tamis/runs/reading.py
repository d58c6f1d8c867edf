"""Reading what stages wrote, with one clear error where a file is missing or damaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.errors import DataError


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files of a directory.

    Raises:
        DataError: nothing is there.
    """
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    if not path.is_dir():
        raise DataError(f"{path}: no such file or directory")
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{fingerprint(file)}\n".encode())
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a JSON file: {error}") from error


def read_parquet(path: Path, *, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file that a stage wrote, or these columns of it and no other.

    Raises:
        DataError: the file is missing, is no Parquet, or lacks one of ``columns``.
    """
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow.names
            missing = [name for name in columns or [] if name not in found]
            if not missing:
                table = file.read(columns=columns)
                return table.select(columns) if columns else table
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: expected a Parquet file: {error}") from error
    raise DataError(f"{path}: column {missing[0]!r} is missing; the file has {found}")
