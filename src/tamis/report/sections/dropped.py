"""Section "What was dropped": the pairs of the source that were left out, by kind.

A row with several answers makes several pairs, so that more pairs may be dropped than there are
rows; shares are of the pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tamis.report.blocks import Block, Fold, Section, Table, Text
from tamis.report.numbers import count, percent, plural
from tamis.report.read import load_record, load_table
from tamis.report.records import Contradictions, DataReport

ORDER = 30
NUM_LISTED = 100
MEANING = {
    "empty": "an answer is empty",
    "no_answer": "a side does not end with an answer",
    "no_transcript": "a side does not begin as a transcript does",
    "single": "there is only one answer to the prompt",
    "identical": "both answers are the same",
    "duplicate": "the same pair came before",
    "tie": "neither answer was preferred",
    "contradictory": "the same pair also occurs the other way round",
    "over_length": "the answers do not fit the model",
    "undecided": "the principles shown prefer neither answer",
    "no_score": "the judge knows no principle for the pair",
    "identical_after_truncation": "cut to the model's length, both sides are the same",
}


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where the run has no record of dropped rows."""
    report = load_record(run / "data" / "report.json", DataReport)
    path = run / "data" / "dropped.parquet"
    table = load_table(path, columns=["row", "kind", "detail"])
    if report is None and table is None:
        return None
    counts = dict(report.dropped) if report is not None else _count_kinds(table)
    counts = {kind: n for kind, n in counts.items() if n}
    num_made = None if report is None else report.num_pairs + report.num_dropped
    lead = _lead(counts, num_made=num_made)
    blocks: list[Block] = [Text(lead)]
    if counts:
        blocks.append(_kinds(counts, num_made=num_made, firsts=_first_rows(table)))
    if table is not None:
        blocks.append(_listing(table))
    contradictions = report.contradictory if report is not None else Contradictions()
    blocks += _contradictions(contradictions)
    data: dict[str, Any] = {"dropped": counts, "num_contradictory": contradictions.num_pairs}
    return Section("What was dropped", "dropped", tuple(blocks), data)


def _lead(counts: Mapping[str, int], *, num_made: int | None) -> str:
    total = sum(counts.values())
    if not total:
        return "Nothing was dropped."
    dropped = plural(total, "pair")
    if num_made:
        dropped = f"{count(total)} of {plural(num_made, 'pair')} ({percent(total / num_made)})"
    kinds = ", ".join(f"{kind} {count(n)}" for kind, n in counts.items())
    return f"{dropped} {'was' if total == 1 else 'were'} dropped: {kinds}."


def _count_kinds(table: pa.Table | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for kind in table["kind"].to_pylist() if table is not None else []:
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _first_rows(table: pa.Table | None) -> dict[str, str]:
    firsts: dict[str, str] = {}
    for item in table.to_pylist() if table is not None else []:
        firsts.setdefault(item["kind"], f"row {item['row']}")
    return firsts


def _kinds(counts: Mapping[str, int], *, num_made: int | None, firsts: Mapping[str, str]) -> Block:
    rows = tuple(
        (
            kind,
            MEANING.get(kind, ""),
            firsts.get(kind, "–"),
            count(n),
            percent(n / num_made) if num_made else "–",
        )
        for kind, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    header = ("kind", "meaning", "for example", "pairs", "of all pairs")
    return Table("Dropped pairs by kind", header, rows, num_text=3)


def _listing(table: pa.Table) -> Block:
    rows = tuple(
        (count(item["row"]), item["kind"], item["detail"] or "")
        for item in table.slice(0, NUM_LISTED).to_pylist()
    )
    left = table.num_rows - len(rows)
    caption = "Rows of the source count from 0."
    caption += f" {plural(left, 'more pair')} not listed." if left else ""
    return Fold("One by one", (Table(caption, ("row", "kind", "detail"), rows, 3),))


def _contradictions(found: Contradictions) -> list[Block]:
    if not found.num_pairs:
        return []
    rows = tuple(
        (
            ", ".join(str(row) for row in example.get("rows", [])),
            ", ".join(str(name) for name in example.get("ids", [])),
        )
        for example in found.examples
    )
    text = Text(
        f"{plural(found.num_pairs, 'pair')} contradict another: the same two answers to the same "
        "prompt, preferred the other way round. At most one of the two labels can be right."
    )
    table = Table("Contradicting rows", ("rows", "ids"), rows, num_text=2)
    return [text, Fold("Examples of contradictions", (table,))] if rows else [text]
