"""Pairs and dropped rows as Parquet tables, and back without loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.errors import DataError
from tamis.runs import read_parquet, write_parquet
from tamis.runs.atomic import replace_atomically
from tamis.types import Conversation, Dropped, Message, Pair, Votes

Item = TypeVar("Item")
ROW_GROUP = 512  # pairs that a reader holds at once

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_VOTES = pa.struct([("chosen", pa.int64()), ("rejected", pa.int64()), ("tie", pa.int64())])
PAIR_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("prompt", _TURNS, nullable=False),
        pa.field("chosen", _TURNS, nullable=False),
        pa.field("rejected", _TURNS, nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("margin", pa.float64()),
        pa.field("votes", _VOTES),
        pa.field("gold", pa.float64()),
        pa.field("row", pa.int64(), nullable=False),
    ]
)
DROPPED_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as Parquet, atomically and a few at a time; ``read_pairs`` gives equal ones."""

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, PAIR_SCHEMA) as writer:
            for chunk in batched(pairs, ROW_GROUP):
                writer.write_table(table_of_pairs(chunk))

    replace_atomically(path, write)


def write_dropped(path: Path, dropped: Sequence[Dropped]) -> None:
    """Write dropped rows as Parquet, atomically."""
    columns = {
        "row": [drop.row for drop in dropped],
        "kind": [drop.kind for drop in dropped],
        "detail": [drop.detail for drop in dropped],
    }
    write_parquet(path, pa.table(columns, schema=DROPPED_SCHEMA))


def read_dropped(path: Path) -> list[Dropped]:
    """Read what ``write_dropped`` wrote.

    Raises:
        DataError: the file is missing, is no Parquet, or has other columns or types.
    """
    table = cast_table(read_parquet(path, columns=DROPPED_SCHEMA.names), DROPPED_SCHEMA, path=path)
    return [Dropped(**values) for values in table.to_pylist()]


def plain_turns(conversation: Conversation) -> list[dict[str, str]]:
    """Return the turns as the message lists that TRL and OpenRLHF read."""
    return [{"role": message.role, "content": message.content} for message in conversation]


def table_of_pairs(pairs: Sequence[Pair]) -> pa.Table:
    """Return the pairs as an Arrow table."""
    columns = {name: [_plain(pair, name) for pair in pairs] for name in PAIR_SCHEMA.names}
    return pa.table(columns, schema=PAIR_SCHEMA)


def pairs_of_table(table: pa.Table) -> list[Pair]:
    """Return the pairs of a table with the columns of ``PAIR_SCHEMA``."""
    return [_pair(values) for values in table.to_pylist()]


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Give the items in lists of ``size``, the last one perhaps shorter.

    >>> list(batched("abc", 2))
    [['a', 'b'], ['c']]
    """
    remaining = iter(items)
    while chunk := list(islice(remaining, size)):
        yield chunk


def cast_table(table: pa.Table, schema: pa.Schema, *, path: Path) -> pa.Table:
    """Return the table in this schema.

    Raises:
        DataError: a column has another type, or lacks a value that it must have.
    """
    try:
        return table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: expected the columns of {schema.names}: {error}") from error


def _plain(pair: Pair, name: str) -> object:
    if name == "votes":
        votes = pair.votes
        if votes is None:
            return None
        return {"chosen": votes.chosen, "rejected": votes.rejected, "tie": votes.tie}
    value = getattr(pair, name)
    return plain_turns(value) if name in ("prompt", "chosen", "rejected") else value


def _pair(values: dict[str, Any]) -> Pair:
    for name in ("prompt", "chosen", "rejected"):
        values[name] = tuple(Message(turn["role"], turn["content"]) for turn in values[name])
    if values["votes"] is not None:
        values["votes"] = Votes(**values["votes"])
    return Pair(**values)
