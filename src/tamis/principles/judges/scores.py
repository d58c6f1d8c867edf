"""A judge that has spoken already: scores in a file.

JSONL, Parquet or CSV with ``id`` (of the pair), ``principle`` (its name), and either ``score_12``
and ``score_21`` (both in favour of the stored chosen answer where positive, the second one given
with the answers exchanged) or one ``margin`` (of a judge that sees both answers alike).

Shapes: N pairs, P principles.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tamis.data import pair_ids, read_rows
from tamis.errors import ConfigError, DataError, shorten
from tamis.principles.judgement import Judgement, Task
from tamis.principles.principle import Principle
from tamis.types import Pair

BOTH_ORDERS = ("score_12", "score_21")


def judge(pairs: Sequence[Pair], principles: Sequence[Principle], *, task: Task) -> Judgement:
    """Return the scores of the file; rows of other pairs and principles are counted.

    Raises:
        ConfigError: no file is named.
        DataError: the file cannot be read, a row lacks a key or has no finite number there, a pair
            and principle come twice, or no row is about these pairs and principles.
    """
    path = task.config.scores
    if path is None:
        raise ConfigError("the judge scores needs a file of scores")
    row_of = {id_: row for row, id_ in enumerate(pair_ids(pairs).to_pylist())}
    column_of = {principle.name: column for column, principle in enumerate(principles)}
    scores = np.full((2, len(pairs), len(principles)), np.nan)
    others: Counter[str] = Counter()
    num_other_pairs = 0
    for number, values in read_rows(path):
        where = f"{path}: row {number} (the first is 0)"
        name, found = _name(values, where=where), _scores(values, where=where)
        row, column = row_of.get(str(values.get("id"))), column_of.get(name)
        if column is None:
            others[name] += 1
        elif row is None:
            num_other_pairs += 1
        elif np.isfinite(scores[0, row, column]):
            raise DataError(f"{where}: pair {values['id']!r} and {name!r} were there before")
        else:
            scores[:, row, column] = found
    known_NP = np.isfinite(scores).all(axis=0)
    if not known_NP.any():
        raise DataError(
            f"{path}: no row is about one of the {len(pairs)} pairs and of the principles "
            f"{', '.join(column_of)}; {num_other_pairs} rows name other pairs, "
            f"{sum(others.values())} other principles"
        )
    report = {"num_rows_of_other_pairs": num_other_pairs, "other_principles": dict(others)}
    return Judgement(scores[0], scores[1], known_NP, report)


def _name(values: Mapping[str, Any], *, where: str) -> str:
    for key in ("id", "principle"):
        if not isinstance(values.get(key), str):
            raise DataError(f"{where}: {key} is {shorten(values.get(key))}; expected a text")
    return str(values["principle"])


def _scores(values: Mapping[str, Any], *, where: str) -> tuple[float, float]:
    margin = values.get("margin")
    if margin is not None and any(values.get(key) is not None for key in BOTH_ORDERS):
        raise DataError(f"{where}: expected score_12 and score_21 or margin, found all of them")
    keys = BOTH_ORDERS if margin is None else ("margin", "margin")
    first, second = (_number(values.get(key), key, where=where) for key in keys)
    return first, second


def _number(value: Any, key: str, *, where: str) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{where}: {key} is {shorten(value)}; expected a finite number")
    return found
