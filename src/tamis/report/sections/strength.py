"""Section "How the voters see the labels": the distribution of the mean strength.

Shape suffix: N pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tamis.report.blocks import Block, Card, Picture, Section, Table, Text
from tamis.report.charts import HistogramStyle, Layer, bin_edges, counts_in, histogram
from tamis.report.numbers import Floats, number, percent, plural, share
from tamis.report.pictures import MUTED, RIGHT, WRONG
from tamis.report.read import PairFacts, Strengths, facts_of, load_record, load_strengths
from tamis.report.records import VoteReport, VoteSide

ORDER = 40
SAME_VOTERS = 0.95


def section(run: Path) -> Section | None:
    """Return the section, or ``None`` where the run has no votes."""
    strengths = load_strengths(run)
    if strengths is None:
        return None
    report = load_record(run / "vote" / "report.json", VoteReport)
    facts = facts_of(strengths, run=run)
    negative_N = strengths.mean_N < 0
    num_negative, num_pairs = int(negative_N.sum()), len(strengths.ids)
    lead = (
        f"The voters together prefer the rejected answer in {share(num_negative, of=num_pairs)} "
        f"of {plural(num_pairs, 'pair')}."
    )
    text, truth = _against_gold(negative_N, facts.gold_N)
    picture, bins = _picture(strengths, facts=facts, seen=f"{lead} {text}".strip())
    blocks: list[Block] = [Text(_explain(report)), picture]
    data: dict[str, Any] = {
        "num_pairs": num_pairs,
        "num_negative": num_negative,
        "negative_frac": num_negative / num_pairs,
        "mean_strength": float(strengths.mean_N.mean()),
        "median_strength": float(np.median(strengths.mean_N)),
        "histogram": bins,
        "wrong_label_frac": truth,
    }
    if report is not None:
        blocks += _sides(report)
        data["voting"] = {"kind": report.kind, "num_voters": report.num_voters}
    card = Card(
        percent(num_negative / num_pairs),
        "pairs the voters would turn round",
        "mean strength below zero",
    )
    return Section("How the voters see the labels", "strength", tuple(blocks), data, lead, (card,))


def _explain(report: VoteReport | None) -> str:
    text = (
        "The strength of a pair is the score of its chosen answer minus the score of its rejected "
        "answer, averaged over the voters. Above zero the voters confirm the label; below zero "
        "they contradict it; near zero they cannot tell."
    )
    if report is None:
        return text
    text += f" Here {plural(report.num_voters, 'reward model')} voted"
    by = f" by {report.fold_by}" if report.fold_by else ""
    if report.headline == "out_of_bag":
        side = report.out_of_bag
        some = "those" if side is None or side.num_votes is None else f"the {side.num_votes}"
        return f"{text}, on each pair {some} that were not trained on it (halves{by})."
    if report.headline == "cross_fitted":
        folds = f" ({report.num_folds} folds{by})" if report.num_folds else ""
        return f"{text}, each only on pairs that it was not trained on{folds}."
    return f"{text} on the pairs that they were trained on, which flatters every label."


def _against_gold(negative_N: np.ndarray, gold_N: Floats) -> tuple[str, dict[str, float] | None]:
    known_N = np.isfinite(gold_N) & (gold_N != 0.5)
    below_N, above_N = known_N & negative_N, known_N & ~negative_N
    if not below_N.any() or not above_N.any():
        return "", None
    below, above = (float((gold_N[part] < 0.5).mean()) for part in (below_N, above_N))
    text = (
        f"By the gold labels, {percent(below)} of the labels below zero are wrong, "
        f"against {percent(above)} of the others."
    )
    return text, {"below_zero": below, "above_zero": above}


def _picture(
    strengths: Strengths, *, facts: PairFacts, seen: str
) -> tuple[Picture, dict[str, list[float]]]:
    mean_N, gold_N = strengths.mean_N, facts.gold_N
    parts = [
        Layer("label wrong (gold)", mean_N[gold_N < 0.5], WRONG),
        Layer("label right (gold)", mean_N[gold_N > 0.5], RIGHT),
        Layer("gold unknown", mean_N[~(np.abs(gold_N - 0.5) > 0)], MUTED),
    ]
    has_gold = len(parts[2].values_N) < len(mean_N)
    layers = [part for part in parts if len(part.values_N)] if has_gold else []
    layers = layers or [Layer("pairs", mean_N, RIGHT)]
    edges = bin_edges(mean_N)
    style = HistogramStyle(
        name="strength",
        alt=f"Histogram of the mean strength of the pairs. {seen}",
        xlabel="mean strength: chosen − rejected score",
        shaded="voters contradict",
        outline="in-sample vote",
    )
    in_sample_N = strengths.in_sample_mean_N
    if in_sample_N is not None and np.array_equal(in_sample_N, mean_N):
        in_sample_N = None  # the headline vote is the in-sample one
    picture = histogram(layers, style=style, outline_N=in_sample_N)
    reading = (
        "Each bar counts pairs. The tinted part, below zero, is where the voters would turn the "
        "label round"
    )
    reading += ": wrong labels should gather there. " if has_gold else ". "
    if in_sample_N is not None:
        reading += (
            "The outline is the vote of models on their own training pairs: it leans to the "
            "right, because a model learns to repeat even a wrong label. "
        )
    reading += "The outermost bars also hold what lies beyond them."
    bins = {"edges": edges.tolist()}
    bins |= {layer.name: counts_in(layer.values_N, edges=edges).tolist() for layer in layers}
    return Picture(picture, caption=seen, reading=reading), bins


def _sides(report: VoteReport) -> list[Block]:
    sides = [
        ("cross-fitted", report.cross_fitted),
        ("out-of-bag", report.out_of_bag),
        ("in-sample", report.in_sample),
    ]
    made = [(name, side) for name, side in sides if side is not None]
    if not made:
        return []
    rows = tuple(
        (
            name,
            str(side.num_votes or report.num_voters),
            percent(side.negative_mean_frac),
            number(side.voter_correlation),
        )
        for name, side in made
    )
    header = ("vote", "voters a pair", "pairs below zero", "correlation between voters")
    blocks: list[Block] = [Table("Votes on seen and on unseen pairs", header, rows)]
    alike = [name for name, side in made if _too_alike(side)]
    if alike:
        blocks.append(
            Text(
                f"The voters of the {' and the '.join(alike)} vote agree almost perfectly "
                f"(correlation above {number(SAME_VOTERS)}): the std of their votes says little "
                "about how sure one can be of a pair.",
                tone="note",
            )
        )
    return blocks


def _too_alike(side: VoteSide) -> bool:
    return side.voter_correlation is not None and side.voter_correlation > SAME_VOTERS
