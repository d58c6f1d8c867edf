"""Verdicts applied to pairs, as a file that TRL and OpenRLHF read unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.pairtable import pair_ids
from tamis.data.tables import PAIR_SCHEMA, ROW_GROUP, batched, plain_turns
from tamis.denoise.orient import Oriented, orient
from tamis.errors import ConfigError, DataError
from tamis.runs.atomic import replace_atomically
from tamis.types import Pair, Verdict

_SIDES = ("prompt", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export holds, and how much of it trainers without soft labels will ignore.

    ``num_soft`` counts exported pairs whose target is neither 0 nor 1, ``num_weighted`` those whose
    weight is not 1: TRL and OpenRLHF train on them as certain and as of weight 1.
    """

    num_exported: int
    num_left_out: int
    num_swapped: int
    num_soft: int
    num_weighted: int


def export_pairs(
    path: Path, pairs: Sequence[Pair], verdicts: Sequence[Verdict], *, strict: bool
) -> ExportReport:
    """Write the pairs as their verdicts see them, as JSON lines or Parquet by the suffix.

    Columns: prompt, chosen, rejected (message lists), id, label_prob (P(chosen is better), at least
    0.5), weight, and margin, in the orientation of the exported columns. TRL subtracts a column
    called margin from the gap, so it is there only where some margin is not 0. Pairs of weight 0
    are left out. Where some prompt is empty, all prompts are written as the first turns of both
    answers instead (TRL refuses an empty list of messages).

    The file says the same as the verdicts wherever target and weight are 0 or 1; else it holds the
    likelier side, and ``strict`` refuses to write it.

    Raises:
        ConfigError: another suffix, or ``strict`` and something that trainers will ignore.
        DataError: a pair has no verdict or two, or no pair has a weight above 0.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"{path}: expected a file named .jsonl or .parquet")
    judged = _matched(pairs, verdicts)
    kept = [verdict for verdict in judged if verdict.weight > 0]
    if not kept:
        raise DataError(f"{path}: none of the {len(pairs)} pairs has a weight above 0")
    report = ExportReport(
        num_exported=len(kept),
        num_left_out=len(judged) - len(kept),
        num_swapped=sum(verdict.target < 0.5 for verdict in kept),
        num_soft=sum(0 < verdict.target < 1 for verdict in kept),
        num_weighted=sum(verdict.weight != 1 for verdict in kept),
    )
    if strict and (report.num_soft or report.num_weighted):
        raise ConfigError(
            f"{path}: not written, since TRL and OpenRLHF would ignore {report.num_soft} soft "
            f"targets and {report.num_weighted} weights other than 1 of {len(kept)} pairs"
        )
    _write(path, pairs, judged)
    return report


def _matched(pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdict of each pair."""
    by_id: dict[str, Verdict] = {}
    for verdict in verdicts:
        if verdict.id in by_id:
            raise DataError(f"verdicts: two of them have the id {verdict.id}")
        by_id[verdict.id] = verdict
    judged = []
    for number, id_ in enumerate(pair_ids(pairs).to_pylist()):
        if id_ not in by_id:
            row = pairs[number].row
            raise DataError(f"verdicts: there is none for the pair {id_} (row {row})")
        judged.append(by_id[id_])
    return judged


def _write(path: Path, pairs: Sequence[Pair], judged: Sequence[Verdict]) -> None:
    with_margin = any(verdict.margin != 0 for verdict in judged if verdict.weight > 0)
    with_prompt = all(
        pair.prompt for pair, verdict in zip(pairs, judged, strict=True) if verdict.weight > 0
    )
    records = (
        _record(orient(pair, verdict), with_margin=with_margin, with_prompt=with_prompt)
        for pair, verdict in zip(pairs, judged, strict=True)
        if verdict.weight > 0
    )
    write = _write_lines if path.suffix == ".jsonl" else _write_table
    replace_atomically(path, lambda temporary: write(temporary, records))


def _write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def _write_table(path: Path, records: Iterable[dict[str, Any]]) -> None:
    chunks = batched(records, ROW_GROUP)
    first = next(chunks)
    fields = [PAIR_SCHEMA.field(name) for name in _SIDES if name in first[0]]
    fields += [pa.field(name, pa.float64()) for name in first[0] if name not in (*_SIDES, "id")]
    schema = pa.schema([*fields, ("id", "string")])
    with pq.ParquetWriter(path, schema) as writer:
        for chunk in chain([first], chunks):
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


def _record(item: Oriented, *, with_margin: bool, with_prompt: bool) -> dict[str, Any]:
    pair, verdict = item.pair, item.verdict
    shared = () if with_prompt else pair.prompt
    return {
        **({"prompt": plain_turns(pair.prompt)} if with_prompt else {}),
        "chosen": plain_turns(shared + pair.chosen),
        "rejected": plain_turns(shared + pair.rejected),
        **({"margin": float(verdict.margin)} if with_margin else {}),
        "label_prob": float(verdict.target),
        "weight": float(verdict.weight),
        "id": pair.id,
    }
