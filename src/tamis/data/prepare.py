"""The data stage: from any source to clean pairs, with a report of all that was dropped."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from tamis.data.clean import Cleaned, FitCheck, clean
from tamis.data.config import DataConfig
from tamis.data.pairtable import PairTable, pair_ids
from tamis.data.read import read_rows
from tamis.data.recognise import (
    Convention,
    IndexedRow,
    check_columns,
    load_convention,
    recognise,
    rename_columns,
)
from tamis.errors import DataError
from tamis.runs import fingerprint
from tamis.types import Dropped, Pair

_SAMPLE = 100
_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """Clean pairs in the order of the source, what was dropped, and the report (JSON-safe)."""

    pairs: PairTable
    dropped: list[Dropped]
    report: dict[str, Any]


def prepare(
    config: DataConfig, *, check_fit: FitCheck | None = None, work: Path | None = None
) -> Prepared:
    """Read a source, recognise its columns, and give clean pairs with train and test marked.

    ``check_fit`` tells which pairs a model can read; without it only texts are looked at. In the
    report, ``contradictory.num_pairs`` counts every pair that another one contradicts, and
    ``num_dropped`` what was dropped after K-wise rows became pairs. The pairs are kept in a scratch
    file in ``work``; memory holds some hundred bytes a pair, except where a file is read whole
    (`read_rows`).

    Raises:
        DataError: the source cannot be read, has unknown columns, holds something else than text,
            or more than ``max_dropped_frac`` of it was dropped.
        ConfigError: ``columns``, ``convention`` or ``hub_split`` names what is not there.
    """
    source = config.path
    rows = _source_rows(config)
    sample = list(islice(rows, _SAMPLE))
    if not sample:
        raise DataError(f"{source}: there is not a single row")
    if config.columns:
        check_columns(config.columns, lambda: chain(sample, _rest(config)), source=source)
    renamed = list(rename_columns(sample, config.columns))
    convention = _convention(config, [row for _, row in renamed])
    counted = _Counted(chain(sample, rows))
    items = convention.pairs(rename_columns(counted, config.columns), source)
    cleaned = clean(
        _with_splits(items, test_frac=config.test_frac, seed=config.seed),
        on_contradiction=config.on_contradiction,
        check_fit=check_fit,
        work=work,
    )
    _check_share(cleaned, config)
    report = {
        "source": source,
        "fingerprint": _fingerprint(source, cleaned.pairs),
        "convention": convention.name,
        "num_rows": counted.count,
        **summarise(cleaned),
        "length_check": "not done: no model given" if check_fit is None else "done",
    }
    return Prepared(cleaned.pairs, cleaned.dropped, report)


def count_rows(config: DataConfig) -> int:
    """Return how many rows `prepare` reads; all are read for it, and none is looked at.

    Raises:
        DataError, ConfigError: see `read_rows`.
    """
    return sum(1 for _ in _source_rows(config))


def _source_rows(config: DataConfig) -> Iterator[IndexedRow]:
    reader = read_rows(config.path, hub_config=config.hub_config, hub_split=config.hub_split)
    return islice(islice(reader, 0, None, config.every), config.limit)


def _rest(config: DataConfig) -> Iterator[IndexedRow]:
    return islice(_source_rows(config), _SAMPLE, None)


@dataclass(slots=True)
class _Counted:
    """Passes rows on, and knows how many there were."""

    rows: Iterable[IndexedRow]
    count: int = 0

    def __iter__(self) -> Iterator[IndexedRow]:
        for row in self.rows:
            self.count += 1
            yield row


def _convention(config: DataConfig, sample: Sequence[dict[str, Any]]) -> Convention:
    if config.convention is not None:
        return load_convention(config.convention)
    return recognise(sample, config.path)


def _check_share(cleaned: Cleaned, config: DataConfig) -> None:
    counts = Counter(drop.kind for drop in cleaned.dropped)
    listed = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) or "none"
    if not cleaned.pairs:
        raise DataError(f"{config.path}: no pair is left; dropped: {listed}")
    # A tie is a verdict of the source on its answers, not a defect of its rows.
    defects = len(cleaned.dropped) - counts["tie"]
    total = len(cleaned.pairs) + defects
    if defects > config.max_dropped_frac * total:
        raise DataError(
            f"{config.path}: {defects} of {total} pairs were dropped ({listed}), more than "
            f"max_dropped_frac = {config.max_dropped_frac:g} allows"
        )


def _with_splits(
    items: Iterable[Pair | Dropped], *, test_frac: float, seed: int
) -> Iterator[Pair | Dropped]:
    for item in items:
        if isinstance(item, Dropped) or item.split:
            yield item
        else:
            is_test = _uniform(f"{seed}\0{item.group}") < test_frac
            yield replace(item, split="test" if is_test else "train")


def _uniform(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, on every machine."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _fingerprint(source: str, pairs: PairTable) -> str:
    path = Path(source)
    if path.exists():
        return fingerprint(path)
    return hashlib.sha256("\n".join(pair_ids(pairs).to_pylist()).encode()).hexdigest()


def summarise(cleaned: Cleaned) -> dict[str, Any]:
    """Return what the report says of clean pairs, at least one, and of what was dropped."""
    kinds = Counter(drop.kind for drop in cleaned.dropped)
    pairs = cleaned.pairs
    splits = Counter(pairs.column("split").to_pylist())
    num_longer = sum(_longer_credit(pair) for pair in pairs)
    examples = [
        {"rows": [a.row, b.row], "ids": [a.id, b.id]} for a, b in cleaned.contradictory[:_EXAMPLES]
    ]
    return {
        "num_pairs": len(pairs),
        "num_dropped": len(cleaned.dropped),
        "dropped": dict(sorted(kinds.items())),
        "contradictory": {"num_pairs": 2 * len(cleaned.contradictory), "examples": examples},
        "splits": {"train": splits["train"], "test": splits["test"]} | dict(sorted(splits.items())),
        "num_groups": pc.count_distinct(pairs.column("group")).as_py(),
        "chosen_longer_frac": num_longer / len(pairs),
        "has_votes": pairs.column("votes").null_count < len(pairs),
        "has_gold": pairs.column("gold").null_count < len(pairs),
    }


def _longer_credit(pair: Pair) -> float:
    """1 where the chosen answer is the longer one; equal lengths count half, as in the report."""
    chosen, rejected = (len(side[-1].content) for side in (pair.chosen, pair.rejected))
    return (chosen > rejected) + 0.5 * (chosen == rejected)
