"""Section "What denoising changed": the policy's verdicts, and what they did to wrong labels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.report.blocks import Block, Card, Code, Fold, Picture, Section, Table, Text
from tamis.report.charts import Bar, share_bars
from tamis.report.numbers import count, number, percent, plural, share, without_paths
from tamis.report.pictures import WRONG
from tamis.report.read import load_record, load_table
from tamis.report.records import DenoiseReport, RepairTruth, WrongReport
from tamis.report.sections.made import as_yaml

ORDER = 90


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where nothing was denoised."""
    report = load_record(run / "denoise" / "report.json", DenoiseReport)
    if report is None:
        return None
    columns = ["id", "target", "margin", "weight", "reason"]
    verdicts = load_table(run / "denoise" / "verdicts.parquet", columns=columns)
    lead = (
        f"The policy “{report.policy}” changed {share(report.num_changed, of=report.num_pairs)} "
        f"of {plural(report.num_pairs, 'pair')}."
    )
    blocks: list[Block] = [Text(_explain(report, lead=lead))]
    cards: tuple[Card, ...] = ()
    if report.against_gold is not None:
        blocks.append(_repair(report.against_gold))
        lead += " " + _repair_sentence(report.against_gold)
        cards = (_card(report.against_gold),)
    blocks.append(_reasons(report, verdicts))
    if report.wrong is not None:
        blocks.append(Text(_expected(report.wrong)))
    if report.settings:
        blocks.append(Fold("Settings of the policy", (Code(as_yaml(report.settings)),)))
    data: dict[str, Any] = without_paths(asdict(report))
    return Section("What denoising changed", "denoise", tuple(blocks), data, lead, cards)


def _explain(report: DenoiseReport, *, lead: str) -> str:
    text = (
        f"{lead} Each pair now carries three numbers into training: a target (how probable it is "
        "that the chosen answer is better), a margin (by how much it should win) and a weight."
    )
    if report.mean_weight is not None:
        text += f" The mean weight is {number(report.mean_weight)}."
    return text


def _expected(wrong: WrongReport) -> str:
    if wrong.method == "trusted":
        basis = f"fitted on {plural(wrong.num_trusted, 'trusted label')}"
    else:
        basis = "estimated without trusted labels"
    text = (
        f"By the estimated probabilities, {percent(wrong.expected_wrong_frac)} of the labels are "
        f"wrong ({basis}, from {', '.join(wrong.evidence)}). This takes for granted that "
        f"{wrong.assumption}."
    )
    return text if wrong.warning is None else f"{text} Beware: {wrong.warning}."


def _card(truth: RepairTruth) -> Card:
    before = percent(truth.wrong_before_frac).removesuffix("%")
    return Card(
        f"{before} → {percent(truth.wrong_after_frac)}",
        "wrong labels, before → after",
        "by the gold labels",
    )


def _repair_sentence(truth: RepairTruth) -> str:
    text = (
        f"By the gold labels, wrong ones went from {percent(truth.wrong_before_frac)} to "
        f"{percent(truth.wrong_after_frac)}: {count(truth.num_repaired)} repaired, "
        f"{count(truth.num_broken)} broken"
    )
    wrong, right = truth.num_wrong_dropped, truth.num_right_dropped
    if wrong + right:
        text += f", {count(wrong)} wrong and {count(right)} right ones left out"
    return f"{text}."


def _repair(truth: RepairTruth) -> Picture:
    bars = [
        Bar(f"{name}: {percent(value)}", [("wrong labels", value, WRONG)])
        for name, value in (
            ("before denoising", truth.wrong_before_frac),
            ("after denoising", truth.wrong_after_frac),
        )
    ]
    seen = _repair_sentence(truth)
    reading = (
        "A shorter second bar means cleaner labels. A policy also turns round labels that were "
        "right (broken); it pays when it repairs more than it breaks."
    )
    picture = share_bars(bars, name="repair", alt=f"Wrong labels before and after. {seen}")
    return Picture(picture, caption=seen, reading=reading)


def _reasons(report: DenoiseReport, verdicts: pa.Table | None) -> Table:
    ranked = sorted(report.reasons.items(), key=lambda item: (-item[1], item[0]))
    base = [(reason, share(n, of=report.num_pairs)) for reason, n in ranked]
    if verdicts is None:
        return Table("Verdicts by reason", ("reason", "pairs"), tuple(base))
    reason_N = np.array(verdicts["reason"].to_pylist(), dtype=object)
    columns = [np.asarray(verdicts[name].to_numpy()) for name in ("target", "margin", "weight")]
    rows = []
    for reason, pairs in base:
        chosen_N = reason_N == reason
        means = [number(float(c[chosen_N].mean())) if chosen_N.any() else "–" for c in columns]
        rows.append((reason, pairs, *means))
    header = ("reason", "pairs", "mean target", "mean margin", "mean weight")
    return Table("Verdicts by reason", header, tuple(rows))
