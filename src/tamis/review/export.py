"""From what people decided to what training and calibration read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.denoise.tables import read_verdicts, write_verdicts
from tamis.errors import ConfigError, DataError, shorten
from tamis.review.agreement import couples, mean_kappa
from tamis.review.book import Verdicts, count_choices
from tamis.review.queue import Queue
from tamis.review.store import Choice
from tamis.runs import write_json, write_parquet
from tamis.types import Verdict

VERDICTS, TRUSTED, REPORT = "verdicts.parquet", "trusted.parquet", "report.json"
FILES = (VERDICTS, TRUSTED, REPORT)
REASON = "review"

# P(the label is right) that a choice speaks for; who drops a pair says nothing about its label
TARGETS: Mapping[Choice, float] = {"keep": 1.0, "flip": 0.0, "tie": 0.5}
TRUSTED_SCHEMA = pa.schema(
    [("id", pa.string()), ("gold", pa.float64()), ("num_reviewers", pa.int64())]
)


def export(queue: Queue, verdicts: Verdicts, *, out: Path, base: Path | None) -> dict[str, Any]:
    """Write ``verdicts.parquet``, ``trusted.parquet`` and ``report.json``, and return the report.

    There is a verdict on every pair of the queue, in the order of the strength file: the
    reviewers', else that of ``base`` (verdicts of a policy), else "keep". A trusted label is made
    of every pair on which somebody spoke for or against the label.

    Raises:
        ConfigError: nothing has been judged, or the folder cannot be written.
        DataError: ``base`` is damaged, or has verdicts on other pairs.
    """
    known = {pair: said for pair, said in verdicts.items() if pair in queue.rank_of}
    if not known:
        raise ConfigError("there is nothing to write: no pair has been judged")
    decided = _base_verdicts(base, queue=queue)
    merged = [
        review_verdict(name, known[name].values()) if name in known else decided[name]
        for name in (queue.ids[index] for index in np.argsort(queue.place_N))
    ]
    golds = {name: trusted_label(said.values()) for name, said in known.items()}
    labels = [(name, *gold) for name, gold in sorted(golds.items()) if gold is not None]
    columns = list(zip(*labels, strict=True)) or [(), (), ()]
    arrays = [
        pa.array(column, kind) for column, kind in zip(columns, TRUSTED_SCHEMA.types, strict=True)
    ]
    report = _report(queue, known, merged=merged, base=base)
    report |= {"num_trusted": len(labels), "num_other_pairs": len(verdicts) - len(known)}
    write_verdicts(out / VERDICTS, merged)
    write_parquet(out / TRUSTED, pa.table(arrays, schema=TRUSTED_SCHEMA))
    write_json(out / REPORT, report)
    return report


def review_verdict(name: str, choices: Iterable[Choice]) -> Verdict:
    """Return the verdict that reviewers come to on one pair.

    The target is the mean over those who did not drop the pair: 1 for keep, 0 for flip, 0.5 for a
    tie. Where at least half of them drop it, its weight is 0.

    >>> review_verdict("p", ["keep", "keep", "flip", "drop"])
    Verdict(id='p', target=0.6666666666666666, margin=0.0, weight=1.0, reason='review')
    """
    said = list(choices)
    label = trusted_label(said)
    num_dropped = said.count("drop")
    return Verdict(
        name,
        target=1.0 if label is None else label[0],
        weight=0.0 if 2 * num_dropped >= len(said) else 1.0,
        reason=REASON,
    )


def trusted_label(choices: Iterable[Choice]) -> tuple[float, int] | None:
    """Return P(the label is right) and how many reviewers it is the mean of; None without any."""
    said = [TARGETS[choice] for choice in choices if choice in TARGETS]
    return (sum(said) / len(said), len(said)) if said else None


def _base_verdicts(base: Path | None, *, queue: Queue) -> dict[str, Verdict]:
    decided = {name: Verdict(name) for name in queue.ids}
    if base is None:
        return decided
    for verdict in read_verdicts(base):
        if verdict.id not in decided:
            raise DataError(
                f"{base}: id {shorten(verdict.id)} is not among the {len(queue)} pairs that were "
                "voted on; expected verdicts on these pairs"
            )
        decided[verdict.id] = verdict
    return decided


def _report(
    queue: Queue, verdicts: Verdicts, *, merged: list[Verdict], base: Path | None
) -> dict[str, Any]:
    reviewed = [verdict for verdict in merged if verdict.id in verdicts]
    compared = couples(verdicts)
    return {
        "num_pairs": len(queue),
        "num_reviewed": len(verdicts),
        "reviewers": progress_of(verdicts),
        "choices": count_choices(verdicts),
        "num_dropped": sum(verdict.weight == 0 for verdict in reviewed),
        "num_flipped": sum(verdict.weight > 0 and verdict.target < 0.5 for verdict in reviewed),
        "num_disputed": sum(len(set(said.values())) > 1 for said in verdicts.values()),
        "unreviewed": "keep" if base is None else f"{base.parent.name}/{base.name}",
        "agreement": [asdict(couple) for couple in compared],
        "mean_kappa": mean_kappa(compared),
    }


def progress_of(verdicts: Verdicts) -> dict[str, int]:
    """Return how many pairs each reviewer has judged, by name."""
    names = sorted({name for said in verdicts.values() for name in said})
    return {name: sum(name in said for said in verdicts.values()) for name in names}
