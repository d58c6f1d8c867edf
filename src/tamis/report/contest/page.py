"""Assembling the page that compares reward models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tamis.errors import DataError
from tamis.report.blocks import Block, Code, Fold, Section, Table, Text
from tamis.report.contest.by_benchmark import benchmark_section
from tamis.report.contest.examples import agreement_section, example_section
from tamis.report.contest.length import length_section
from tamis.report.contest.records import ContestReport, Example
from tamis.report.contest.standings import standings_section
from tamis.report.contest.trust import best_of_section, difficulty_section, probability_section
from tamis.report.numbers import count, without_paths
from tamis.report.page import write_sections
from tamis.report.read import load_record
from tamis.report.sections.made import as_yaml

TITLE = "Reward models compared"
SUBTITLE = "Which of these reward models is better, is it real, and is it length?"
REPORT, EXAMPLES = "report.json", "examples.json"
VERSION_CHARS = 12


def write_comparison(folder: Path, *, out: Path) -> Path:
    """Write the page of a comparison stage's folder to ``out``, and its numbers beside it as JSON.

    Equal comparisons give identical pages.

    Raises:
        DataError: there is no comparison in the folder, or it is damaged.
    """
    report = load_record(folder / REPORT, ContestReport)
    if report is None:
        raise DataError(f"{folder / REPORT}: no such file")
    examples = load_record(folder / EXAMPLES, list[Example]) or []
    found = [
        standings_section(report),
        benchmark_section(report),
        length_section(report),
        difficulty_section(report),
        probability_section(report),
        best_of_section(report),
        agreement_section(report),
        example_section(report, examples),
        _made(report),
    ]
    sections = [section for section in found if section is not None]
    return write_sections(sections, out=out, title=TITLE, subtitle=SUBTITLE)


def _made(report: ContestReport) -> Section:
    """Return what the comparison rests on: versions of the benchmarks, identities of scorers."""
    benches = next(iter(report.bench.values()), [])
    rows = tuple(
        (
            report.title_of(item.name),
            count(item.num_items),
            count(item.num_dropped),
            item.version[:VERSION_CHARS],
            item.fingerprint[:VERSION_CHARS] or "–",
            (item.commit or "–")[:VERSION_CHARS],
        )
        for item in benches
    )
    header = ("benchmark", "pairs", "dropped rows", "version", "items", "commit")
    identities = [
        Fold(contestant.name, (Code(as_yaml(without_paths(contestant.identity))),))
        for contestant in report.contestants
    ]
    blocks: list[Block] = [
        Text(
            "Intervals are 95% percentile intervals of a cluster bootstrap over prompts, or over "
            "texts where there are fewer than 20 prompts and texts recur; pairs of a single prompt "
            "without such texts are taken for independent. A tie counts half."
        ),
        Table(
            "Benchmarks: the beginning of the SHA-256 of their data (version), of that of their "
            "items as they were read, and of the commit on the hub",
            header,
            rows,
        ),
        Text("What the scores of each model depend on:", tone="quiet"),
        *identities,
    ]
    data = {
        "contestants": [without_paths(asdict(contestant)) for contestant in report.contestants],
        "versions": {item.name: item.version for item in benches},
        "fingerprints": {item.name: item.fingerprint for item in benches},
        "commits": {item.name: item.commit for item in benches},
    }
    return Section("How this was made", "made", tuple(blocks), data)
