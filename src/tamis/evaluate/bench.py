"""Running benchmarks: does a scorer give the better answer the higher score?

Accuracy is the mean credit (a tie counts half) with a 95% cluster-bootstrap interval over groups,
that is prompts (see `tamis.evaluate.clusters`). Beside it stand the rules "always the longer" and
"always the shorter": on several published subsets length alone comes close to perfect, so an
accuracy says nothing without them (RewardBench issues 267 and 268). ``beats_longest`` is the
accuracy minus that of the better of the two rules on the same items; choosing the rule after the
fact favours the rule. What else a report holds is in `tamis.evaluate.details` and
`tamis.evaluate.health`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis import plugins
from tamis.errors import ConfigError
from tamis.evaluate.config import BenchmarkConfig
from tamis.evaluate.items import ITEM_SCHEMA, GapScores, PairScorer, make_items
from tamis.evaluate.loading import Benchmark, benchmark_source, load_benchmark
from tamis.evaluate.report import benchmark_report
from tamis.evaluate.rules import MakeFigures, rule_values

FORM = 2
"""The form of reports, raised with every change of how benchmarks are read or reported."""

__all__ = [
    "FORM",
    "ITEM_SCHEMA",
    "BenchResult",
    "GapScores",
    "LoadedBenchmark",
    "PairScorer",
    "bench",
    "bench_loaded",
    "check_benchmarks",
    "load_benchmarks",
]


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One row per item (`ITEM_SCHEMA`), and the JSON-safe report."""

    items: pa.Table
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadedBenchmark:
    """A benchmark with the configuration that it was loaded by.

    ``rules`` is what rules that read nothing reach on its own figures (`rule_values`).
    """

    config: BenchmarkConfig
    benchmark: Benchmark
    rules: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def figures(self) -> MakeFigures | None:
        """What makes its own figures from scored items, where it has any."""
        make: MakeFigures | None = plugins.offered("benchmark", self.config.name, "figures")
        return make

    @property
    def is_whole(self) -> bool:
        """Whether it has all rows that were published, as far as that is known."""
        benchmark = self.benchmark
        published = plugins.offered("benchmark", self.config.name, "NUM_ROWS")
        num_rows = len(benchmark.pairs) + len(benchmark.dropped)
        return self.config.limit is None and published in (None, num_rows)


def bench(
    benchmarks: Sequence[BenchmarkConfig],
    *,
    score: PairScorer,
    seed: int,
    of_pairs: bool = False,
) -> BenchResult:
    """Score benchmarks and report accuracy with intervals, length rules and subsets.

    Args:
        benchmarks: what to run; a name that is there twice is told apart by its file name.
        score: the scorer, called once per benchmark.
        seed: of the bootstrap.
        of_pairs: whether the scorer compares pairs and has no score of an answer by itself.

    Raises:
        ConfigError: no or an unknown benchmark, one without a file, or the same one twice.
        DataError: a benchmark cannot be read, or a score is NaN or infinite.
    """
    return bench_loaded(load_benchmarks(benchmarks), score=score, seed=seed, of_pairs=of_pairs)


def load_benchmarks(benchmarks: Sequence[BenchmarkConfig]) -> list[LoadedBenchmark]:
    """Load benchmarks, so that several scorers are asked about the same items.

    Raises:
        ConfigError: no or an unknown benchmark, one without a file, or the same one twice.
        DataError: a benchmark cannot be read.
    """
    if not benchmarks:
        raise ConfigError("no benchmark to run: expected at least one")
    names = _distinct_names(benchmarks)
    return [_loaded(config, name=name) for config, name in zip(benchmarks, names, strict=True)]


def bench_loaded(
    benchmarks: Sequence[LoadedBenchmark],
    *,
    score: PairScorer,
    seed: int,
    of_pairs: bool = False,
) -> BenchResult:
    """Score loaded benchmarks, see `bench`.

    Raises:
        DataError: a score is NaN or infinite.
    """
    tables, reports = [], []
    for loaded in benchmarks:
        scores = score(loaded.benchmark.pairs)
        table = make_items(loaded.benchmark, scores)
        report = benchmark_report(
            loaded.benchmark,
            table,
            figures=() if loaded.figures is None else loaded.figures(table),
            rules=loaded.rules,
            is_whole=loaded.is_whole,
            of_pairs=of_pairs,
            num_unread=scores.num_unread,
            seed=seed,
        )
        tables.append(table)
        reports.append(report)
    return BenchResult(pa.concat_tables(tables), {"form": FORM, "benchmarks": reports})


def check_benchmarks(benchmarks: Sequence[BenchmarkConfig]) -> None:
    """Refuse benchmarks that `bench` would refuse before it reads one.

    Raises:
        ConfigError: an unknown benchmark, one without a file, or the same one twice.
        DataError: a file is not there.
    """
    _distinct_names(benchmarks)
    for config in benchmarks:
        benchmark_source(config)


def _loaded(config: BenchmarkConfig, *, name: str) -> LoadedBenchmark:
    found = LoadedBenchmark(config, load_benchmark(config, name=name))
    if found.figures is None:
        return found
    nothing = np.zeros(len(found.benchmark.pairs))
    items = make_items(found.benchmark, GapScores(nothing, nothing))
    return replace(found, rules=rule_values(found.figures, items))


def _distinct_names(benchmarks: Sequence[BenchmarkConfig]) -> list[str]:
    counts = Counter(config.name for config in benchmarks)
    names = [
        config.name
        if counts[config.name] == 1 or config.path is None
        else f"{config.name} ({Path(config.path).name})"
        for config in benchmarks
    ]
    repeated = next((name for name, count in Counter(names).items() if count > 1), None)
    if repeated is not None:
        raise ConfigError(
            f"benchmark {repeated!r} is there twice; expected files with different names"
        )
    return names
