"""Reading the files of a run for the report; a file that is not there reads as ``None``.

Shape suffixes: N pairs, K voters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from tamis.data import PairTable, read_pairs
from tamis.errors import DataError, shorten
from tamis.report.numbers import Floats
from tamis.runs import read_json, read_parquet
from tamis.types import Pair

Record = TypeVar("Record")
Ints = NDArray[np.int64]


def load_record(path: Path, kind: type[Record]) -> Record | None:
    """Read a JSON file as one of the ``records``.

    Raises:
        DataError: the file is no JSON, or a field is missing or of another type.
    """
    if not path.is_file():
        return None
    try:
        return TypeAdapter(kind).validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        found = shorten(first["input"])
        raise DataError(f"{path}: {where}: {first['msg']}; found {found}") from error


def load_table(path: Path, *, columns: list[str]) -> pa.Table | None:
    """Read a Parquet file that has these columns; ``None`` where there is no file or no row."""
    if not path.is_file():
        return None
    table = read_parquet(path, columns=columns)
    return table if table.num_rows else None


@dataclass(frozen=True, slots=True)
class Strengths:
    """``vote/strength.parquet``: every pair's headline vote, and the in-sample mean if made."""

    ids: list[str]
    mean_N: Floats
    std_N: Floats
    in_sample_mean_N: Floats | None


def load_strengths(run: Path) -> Strengths | None:
    """Read the votes.

    Raises:
        DataError: a strength is missing or not finite.
    """
    path = run / "vote" / "strength.parquet"
    columns = ["id", "mean", "std", "in_sample_mean"]
    table = load_table(path, columns=columns)
    if table is None:
        return None
    numbers = {name: _floats(table, name, path=path) for name in columns[1:]}
    for name in ("mean", "std"):
        broken = np.flatnonzero(~np.isfinite(numbers[name]))
        if len(broken):
            seen = table[name][int(broken[0])].as_py()
            raise DataError(f"{path}: row {broken[0]}, {name}: expected a number, found {seen}")
    in_sample_mean_N = numbers["in_sample_mean"]
    return Strengths(
        ids=table["id"].to_pylist(),
        mean_N=numbers["mean"],
        std_N=numbers["std"],
        in_sample_mean_N=in_sample_mean_N if np.isfinite(in_sample_mean_N).all() else None,
    )


@dataclass(frozen=True, slots=True)
class PairFacts:
    """What is known of each pair besides its texts; NaN where it is not known.

    ``gold_N`` is a trusted P(chosen is better); ``people_N`` the share of people who chose the
    chosen answer, a tie counting half.
    """

    gold_N: Floats
    people_N: Floats


def load_pairs(run: Path) -> PairTable | None:
    """Open ``data/pairs.parquet``; ``None`` where there is no file or no pair."""
    path = run / "data" / "pairs.parquet"
    if not path.is_file():
        return None
    pairs = read_pairs(path)
    return pairs if len(pairs) else None


def rows_of(ids: Sequence[str], *, known: pa.ChunkedArray, run: Path) -> Ints:
    """Return where these ids stand among the ``known`` ones, which are those of the pairs.

    Raises:
        DataError: an id is not among the pairs.
    """
    found = pc.index_in(pa.array(ids, pa.string()), value_set=known.combine_chunks())
    if found.null_count:
        missing = ids[found.is_null().index(True).as_py()]
        where = run / "vote" / "strength.parquet"
        raise DataError(f"{where}: id {shorten(missing)} is not in {run / 'data/pairs.parquet'}")
    return np.asarray(found.to_numpy(), np.int64)


def facts_of(strengths: Strengths, *, run: Path) -> PairFacts:
    """Return what is known of the voted pairs, in the order of the votes."""
    path = run / "data" / "pairs.parquet"
    pairs = load_table(path, columns=["id", "votes", "gold"])
    if pairs is None:
        unknown_N = np.full(len(strengths.ids), np.nan)
        return PairFacts(gold_N=unknown_N, people_N=unknown_N)
    pairs = pairs.take(rows_of(strengths.ids, known=pairs["id"], run=run))
    return PairFacts(gold_N=_floats(pairs, "gold", path=path), people_N=_people(pairs))


def answer_lengths(pairs: Iterable[Pair]) -> tuple[Floats, Floats]:
    """Return the characters of the last turn of every chosen and of every rejected answer."""
    lengths = [
        tuple(len(side[-1].content) if side else 0 for side in (pair.chosen, pair.rejected))
        for pair in pairs
    ]
    chosen_N, rejected_N = np.array(lengths, np.float64).T
    return chosen_N, rejected_N


def _floats(table: pa.Table, name: str, *, path: Path) -> Floats:
    try:
        column = table[name].cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise DataError(
            f"{path}: column {name!r}: expected numbers, found {table[name].type}"
        ) from error
    return np.asarray(column, dtype=np.float64)


def _people(pairs: pa.Table) -> Floats:
    people_N = np.full(pairs.num_rows, np.nan)
    for row, votes in enumerate(pairs["votes"].to_pylist()):
        if votes is not None:
            total = votes["chosen"] + votes["rejected"] + votes["tie"]
            if total:
                people_N[row] = (votes["chosen"] + 0.5 * votes["tie"]) / total
    return people_N
