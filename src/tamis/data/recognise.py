"""Finding the column convention of a data set."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tamis.data import conventions as package
from tamis.data.build import Rows
from tamis.errors import ConfigError, DataError, shorten
from tamis.types import Dropped, Pair

IndexedRow = tuple[int, dict[str, Any]]
NAMES = ("PRIORITY", "COLUMNS", "EXAMPLE", "matches", "pairs")
BASE_FIELDS = (
    *("prompt", "chosen", "rejected", "margin", "votes", "votes_chosen", "votes_rejected"),
    *("votes_tie", "group", "split", "subset", "source", "gold", "system"),
)


@dataclass(frozen=True, slots=True)
class Convention:
    """A module of ``data/conventions``, or of the user's, as an object; see that package."""

    name: str
    priority: int
    columns: tuple[str, ...]
    example: tuple[Mapping[str, Any], ...]
    matches: Callable[[Mapping[str, object]], bool]
    pairs: Callable[[Rows, str], Iterator[Pair | Dropped]]


def all_conventions() -> list[Convention]:
    """Return the conventions of the package, in the order in which they are asked."""
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    found = [load_convention(name) for name in names]
    return sorted(found, key=lambda convention: (convention.priority, convention.name))


def load_convention(name: str) -> Convention:
    """Return a convention by module name, or by dotted path to a module elsewhere.

    >>> load_convention("trl").columns
    ('chosen', 'rejected')

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it lacks a name that a
            convention must have.
    """
    path = name if "." in name else f"{package.__name__}.{name}"
    try:
        module = vars(importlib.import_module(path))
    except (ModuleNotFoundError, TypeError, ValueError) as error:
        known = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
        raise ConfigError(
            f"convention {name!r}: no such module ({error}); expected a dotted path or one of "
            f"{', '.join(known)}"
        ) from error
    except Exception as error:  # a module of the user's may raise anything
        raise ConfigError(
            f"convention {name!r}: cannot import {path}: {type(error).__name__}: {error}"
        ) from error
    missing = [key for key in NAMES if key not in module]
    if missing:
        raise ConfigError(f"convention {name!r}: the module lacks {', '.join(missing)}")
    return Convention(name, *(module[key] for key in NAMES))


def recognise(sample: Sequence[Mapping[str, object]], source: str) -> Convention:
    """Return the first convention that more than half of the sample rows match.

    Raises:
        DataError: there is none; the message says what the closest ones lack.
    """
    known = all_conventions()
    for convention in known:
        if sum(convention.matches(row) for row in sample) * 2 > len(sample):
            return convention
    columns = _columns_of(sample)
    raise DataError(
        f"{source}: the columns {_listed(columns)} match no known convention "
        f"({', '.join(convention.name for convention in known)}). {_nearest(known, columns)}"
        f"Name the columns with --columns chosen=...,rejected=..., or a convention."
    )


def check_columns(
    columns: Mapping[str, str], rows: Callable[[], Iterable[IndexedRow]], *, source: str
) -> None:
    """Look for the columns (field -> column of the file) in the rows, which are read anew for each.

    Raises:
        ConfigError: a field is unknown, or no row has the column.
    """
    fields = _known_fields()
    for field, column in columns.items():
        if field not in fields:
            raise ConfigError(
                f"columns: unknown field {field!r}; expected one of {', '.join(sorted(fields))}"
            )
        if not any(column in row for _, row in rows()):
            found = _columns_of([row for _, row in islice(rows(), 100)])
            raise ConfigError(
                f"columns: {field}={column}: {source} has no column {column!r}; it has "
                f"{_listed(found)}"
            )


def rename_columns(rows: Iterable[IndexedRow], columns: Mapping[str, str]) -> Iterator[IndexedRow]:
    """Give the rows with the columns (field -> column of the file) under our names.

    >>> list(rename_columns([(0, {"good": "a", "bad": "b"})], {"chosen": "good"}))
    [(0, {'bad': 'b', 'chosen': 'a'})]
    """
    taken = set(columns.values()) | columns.keys()
    for index, row in rows:
        yield (
            index,
            {name: value for name, value in row.items() if name not in taken}
            | {field: row[column] for field, column in columns.items() if column in row},
        )


def _known_fields() -> set[str]:
    named = (column for convention in all_conventions() for column in convention.columns)
    return set(BASE_FIELDS).union(*(column.split("|") for column in named))


def _columns_of(rows: Sequence[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(shorten(name, limit=40) for name in columns[:30]) or "(none)"


def _nearest(known: Sequence[Convention], columns: Sequence[str]) -> str:
    """Say which column is missing, for the conventions of which at least half are there."""
    lacks: dict[str, list[str]] = {}
    for convention in known:
        missing = [need for need in convention.columns if not set(need.split("|")) & set(columns)]
        if len(missing) * 2 <= len(convention.columns):
            text = f"lacks {', '.join(missing)}" if missing else "other types of values"
            lacks.setdefault(text, []).append(convention.name)
    parts = [f"{'/'.join(names)}: {text}" for text, names in sorted(lacks.items())]
    return f"Closest: {'; '.join(parts)}. " if parts else ""
