"""What the noise bench is held against: figures fixed before it was run, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.report.numbers import number, number_interval
from tamis.studies.arms import AUTO
from tamis.studies.cells import CLEANLAB, COMBINED, IDENTITIES, VOTE, VOTE_APART
from tamis.studies.noise_figures import HEADS, as_interval
from tamis.studies.noises import Noise

VOTES, CLEAN, HALF_LOST = (
    Noise("votes").title,
    Noise("uniform").title,
    Noise("uniform", 0.3).title,
)
ALPHA = 0.05
LEAST_JUDGED = 2000

Row = dict[str, Any]


def verdicts(report: Mapping[str, Any]) -> list[Row]:
    """Return one row a figure: what was wanted, what was measured, and whether it was met.

    A figure whose data set or noise is not part of the study is left out.
    """
    rows: list[Row] = []
    for bench, least in (("ukp", 0.90), ("humour", 0.75)):
        rows += _finding(report, bench, least=least)
        rows += _calibration(report, bench)
    rows += _apart(report)
    rows += _training(report)
    return rows


def _finding(report: Mapping[str, Any], bench: str, *, least: float) -> list[Row]:
    rows = []
    found = pick(report["detection"], bench=bench, noise=VOTES, name=COMBINED)
    if found:
        rows.append(
            goal_row(
                f"{bench}: wrong votes found by combined evidence, AUROC",
                f"at least {least:.2f}",
                number_interval(as_interval(found["auroc"])),
                met=found["auroc"]["value"] >= least,
            )
        )
    wanted = (
        (COMBINED, IDENTITIES, "auroc", "above 0, whole interval"),
        (VOTE, CLEANLAB, "average_precision", "not below 0"),
        (COMBINED, CLEANLAB, "average_precision", "above 0, whole interval"),
    )
    for first, second, measure, words in wanted:
        contrast = f"{first} − {second}"
        found = pick(
            report["contrasts"], bench=bench, noise=VOTES, contrast=contrast, measure=measure
        )
        if found:
            gap = found["difference"]
            met = gap["low"] > 0 if words.startswith("above") else gap["value"] >= -1e-6
            name = measure.replace("_", " ").replace("auroc", "AUROC")
            rows.append(
                goal_row(
                    f"{bench}: {contrast}, {name}",
                    words,
                    number_interval(as_interval(gap)),
                    met=met,
                )
            )
    return rows


def _apart(report: Mapping[str, Any]) -> list[Row]:
    found = pick(report["detection"], bench="ukp", noise=VOTES, name=VOTE_APART)
    if not found:
        return []
    value = found["auroc"]
    return [
        goal_row(
            "ukp: vote with whole debates held out, AUROC",
            "above 0.78",
            number_interval(as_interval(value)),
            met=value["value"] > 0.78,
        )
    ]


def _calibration(report: Mapping[str, Any], bench: str) -> list[Row]:
    found = pick(report["calibration"], bench=bench, noise=VOTES, method="trusted")
    if not found or found["num_judged"] < LEAST_JUDGED:
        return []
    what = f"{bench}: P(label wrong) from {report['num_trusted']} trusted pairs"
    return [
        goal_row(
            f"{what}, expected calibration error",
            "at most 0.05",
            f"{found['error']:.3f}",
            met=found["error"] <= 0.05,
        ),
        goal_row(
            f"{what}, Brier skill",
            "at least 0.15",
            f"{found['skill']:.3f}",
            met=found["skill"] >= 0.15,
        ),
    ]


def _training(report: Mapping[str, Any]) -> list[Row]:
    rows = []
    lost = pick(report["training"], bench="ukp", noise=HALF_LOST, arm=AUTO, weights=HEADS)
    if lost:
        share = lost.get("recovered")
        nothing = "true labels are not surely better than flipped ones"
        rows.append(
            goal_row(
                "ukp, 30% flips, heads: share of the lost accuracy that auto recovers",
                "at least 0.60",
                nothing if share is None else number_interval(as_interval(share)),
                met=share is not None and share["value"] >= 0.6,
            )
        )
    clean = pick(report["training"], bench="ukp", noise=CLEAN, arm=AUTO, weights=HEADS)
    if clean:
        gap = clean["minus_raw"]
        rows.append(
            goal_row(
                "ukp, clean labels, heads: auto − raw, accuracy",
                "at least −0.005",
                number_interval(as_interval(gap)),
                met=gap["value"] >= -0.005,
            )
        )
    auto = [row for row in report["training"] if row["arm"] == AUTO and "p_holm" in row]
    worse = [row for row in auto if row["p_holm"] < ALPHA and row["minus_raw"]["value"] < 0]
    if auto:
        least = min(row["minus_raw"]["value"] for row in auto)
        rows.append(
            goal_row(
                f"auto significantly worse than raw, of {len(auto)} noises (Holm over all arms)",
                "never",
                f"{len(worse)} times; largest loss {-100 * min(least, 0):.1f} points",
                met=not worse,
            )
        )
    return rows


def pick(rows: Sequence[Row], **wanted: Any) -> Row:
    """Return the row with these values, an empty one where there is none."""
    return next((r for r in rows if all(r.get(k) == v for k, v in wanted.items())), {})


def goal_row(figure: str, wanted: str, measured: str, *, met: bool) -> Row:
    """Return a row of a table of goals."""
    return {"figure": figure, "wanted": wanted, "measured": measured, "met": bool(met)}


def p_in_words(p: float) -> str:
    """Write a p-value with three digits, and one that rounds to nothing as a bound.

    >>> p_in_words(0.0312), p_in_words(0.0)
    ('0.031', '<0.001')
    """
    return "<0.001" if p < 0.0005 else number(p, digits=3)
