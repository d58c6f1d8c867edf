"""Section "The data": how much there is, how it is split, and how long the answers are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from tamis.data import PairTable
from tamis.report.blocks import Block, Card, Exhibits, Fold, Picture, Section, Table, Text
from tamis.report.charts import HistogramStyle, Layer, bin_edges, counts_in, histogram
from tamis.report.exhibits import exhibit
from tamis.report.numbers import count, number, percent, plural, share, without_paths
from tamis.report.pictures import RULE
from tamis.report.read import answer_lengths, load_pairs, load_record
from tamis.report.records import DataReport

ORDER = 20
NUM_EXAMPLES = 3
NUM_SUBSETS = 20


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where the run has neither a data report nor pairs."""
    report = load_record(run / "data" / "report.json", DataReport)
    pairs = load_pairs(run)
    if report is None and pairs is None:
        return None
    blocks: list[Block] = []
    data: dict[str, Any] = {}
    num_pairs = len(pairs) if pairs is not None else 0
    if report is not None:
        num_pairs = report.num_pairs
        blocks += _about(report)
        data["report"] = without_paths(asdict(report))
    if pairs is not None:
        more, data["lengths"] = _lengths(pairs)
        blocks += more
        blocks += _subsets(pairs)
        blocks.append(_examples(pairs))
    lead = f"The data hold {plural(num_pairs, 'preference pair')}"
    if report is not None and report.source:
        lead += f" from {without_paths(report.source).removeprefix('…/')}"
    return Section(
        title="The data",
        anchor="data",
        blocks=tuple(blocks),
        data=data,
        lead=lead + ".",
        cards=(Card(count(num_pairs), "preference pairs", _card_detail(report)),),
    )


def _card_detail(report: DataReport | None) -> str:
    if report is None:
        return ""
    num_made = report.num_pairs + report.num_dropped
    return f"{count(report.num_dropped)} of {count(num_made)} dropped" if report.num_dropped else ""


def _about(report: DataReport) -> list[Block]:
    sentences = [
        f"{plural(report.num_rows, 'source row')} gave {plural(report.num_pairs, 'pair')}"
        + (f" over {plural(report.num_groups, 'prompt group')}." if report.num_groups else ".")
    ]
    if report.splits:
        parts = ", ".join(f"{name or 'unnamed'} {count(n)}" for name, n in report.splits.items())
        sentences.append(f"Split: {parts}.")
    known = [
        name
        for name, there in (("people's votes", report.has_votes), ("gold labels", report.has_gold))
        if there
    ]
    if known:
        sentences.append(f"Known beside the label, used only to check: {' and '.join(known)}.")
    if report.length_check:
        sentences.append(f"Check that the texts fit the model: {report.length_check}.")
    return [Text(" ".join(sentences))]


def _lengths(pairs: PairTable) -> tuple[list[Block], dict[str, Any]]:
    chosen_N, rejected_N = answer_lengths(pairs)
    delta_N = chosen_N - rejected_N
    longer_frac = float(np.mean((delta_N > 0) + 0.5 * (delta_N == 0)))
    medians = float(np.median(chosen_N)), float(np.median(rejected_N))
    edges = bin_edges(delta_N)
    seen = (
        f"The chosen answer is the longer one in {percent(longer_frac)} of the pairs (equal "
        f"lengths count half); the median chosen answer has {number(medians[0], digits=0)} "
        f"characters, the median rejected one {number(medians[1], digits=0)}."
    )
    picture = histogram(
        [Layer("pairs", delta_N, RULE)],
        style=HistogramStyle(
            name="lengths",
            alt=f"Histogram of the difference in length between the two answers. {seen}",
            xlabel="characters: chosen − rejected answer",
        ),
    )
    reading = (
        "Right of zero the chosen answer is longer. A lopsided picture means that the rule "
        "“always the longer” (or the shorter) goes far without reading a word, so a reward "
        "model has to beat that rule. The outermost bars also hold what lies beyond them."
    )
    data = {
        "chosen_longer_frac": longer_frac,
        "median_chosen_chars": medians[0],
        "median_rejected_chars": medians[1],
        "difference_histogram": {
            "edges": edges.tolist(),
            "counts": counts_in(delta_N, edges=edges).tolist(),
        },
    }
    return [Picture(picture, caption=seen, reading=reading)], data


def _subsets(pairs: PairTable) -> list[Block]:
    counted = pc.value_counts(pairs.column("subset")).to_pylist()
    ranked = sorted(counted, key=lambda item: (-item["counts"], item["values"] or ""))
    if len(ranked) < 2:
        return []
    rows = [
        (item["values"] or "unnamed", share(item["counts"], of=len(pairs)))
        for item in ranked[:NUM_SUBSETS]
    ]
    rest = len(ranked) - len(rows)
    caption = f"The largest of {len(ranked)} subsets" if rest > 0 else "Subsets"
    table = Table(caption, ("subset", "pairs"), tuple(rows))
    return [Fold(f"{plural(len(ranked), 'subset')}", (table,))]


def _examples(pairs: PairTable) -> Block:
    rows = pairs[:NUM_EXAMPLES]
    items = tuple(exhibit(row, title=f"Pair {place}") for place, row in enumerate(rows, start=1))
    return Fold(
        f"The first {plural(len(items), 'pair')}, as stored",
        (Text("User text is shown as is and may offend.", tone="quiet"), Exhibits(items)),
    )
