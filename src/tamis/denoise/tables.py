"""Verdicts as a Parquet table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tamis.errors import DataError
from tamis.runs import read_parquet, write_parquet
from tamis.types import Verdict

ROWS = 1000  # that are read at once
VERDICT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("target", pa.float64()),
        ("margin", pa.float64()),
        ("weight", pa.float64()),
        ("reason", pa.string()),
    ]
)


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Write one row a verdict, in the orientation of the stored pairs."""
    columns = {
        name: [getattr(verdict, name) for verdict in verdicts] for name in VERDICT_SCHEMA.names
    }
    write_parquet(path, pa.table(columns, schema=VERDICT_SCHEMA))


def read_verdicts(path: Path) -> list[Verdict]:
    """Read verdicts, written by Tamis or by any other tool.

    Raises:
        DataError: the file is missing, is no Parquet, lacks a column, repeats an id, or holds an
            id or reason that is no text, a target outside [0, 1], a margin that is not finite, or a
            weight below 0.
    """
    table = read_parquet(path, columns=list(VERDICT_SCHEMA.names))
    verdicts: list[Verdict] = []
    seen: set[str] = set()
    for batch in table.to_batches(max_chunksize=ROWS):
        for values in batch.to_pylist():
            problem = _problem(values, seen)
            if problem is not None:
                raise DataError(f"{path}, row {len(verdicts)}: {problem}")
            seen.add(values["id"])
            # a few words make up all reasons: one copy of each is enough
            verdicts.append(Verdict(**{**values, "reason": sys.intern(values["reason"])}))
    return verdicts


def _problem(values: dict[str, object], seen: set[str]) -> str | None:
    for name in ("id", "reason"):
        if not isinstance(values[name], str):
            return f"{name} is {values[name]!r}; expected text"
    if values["id"] in seen:
        return f"id {values['id']!r} stands there twice"
    limits = {"target": (0.0, 1.0), "margin": (-1e30, 1e30), "weight": (0.0, 1e30)}
    for name, (low, high) in limits.items():
        value = values[name]
        if not isinstance(value, int | float) or not low <= value <= high:
            return f"{name} is {value!r}; expected a finite number from {low:g} to {high:g}"
    return None
