"""Running benchmarks: does a scorer give the better answer the higher score?

Accuracy is the mean credit (a tie counts half) with a 95% cluster-bootstrap interval over groups,
that is prompts (see `tamis.evaluate.clusters`). Beside it stand the rules "always the longer" and
"always the shorter": on several published subsets length alone comes close to perfect, so an
accuracy says nothing without them (RewardBench issues 267 and 268). ``beats_longest`` is the
accuracy minus that of the better of the two rules on the same items; choosing the rule after the
fact favours the rule.

Shapes: N items of one benchmark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.errors import ConfigError, DataError
from tamis.evaluate.clusters import item_clusters
from tamis.evaluate.config import BenchmarkConfig
from tamis.evaluate.loading import Benchmark, benchmark_source, load_benchmark
from tamis.metrics import (
    cluster_bootstrap,
    length_delta,
    pair_credit,
    paired_difference,
    text_ids,
)
from tamis.types import Pair

FloatArray = npt.NDArray[np.float64]

ITEM_SCHEMA = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("text_chosen", pa.int64(), nullable=False),
        pa.field("text_rejected", pa.int64(), nullable=False),
        pa.field("score_chosen", pa.float64(), nullable=False),
        pa.field("score_rejected", pa.float64(), nullable=False),
        pa.field("credit", pa.float64(), nullable=False),
        pa.field("longer_credit", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class GapScores:
    """The scores of the two answers of each pair, in the scorer's unit."""

    chosen_N: npt.NDArray[np.floating[Any]]
    rejected_N: npt.NDArray[np.floating[Any]]


PairScorer = Callable[[Sequence[Pair]], GapScores]
"""Scores the chosen and the rejected answers of pairs; it must not look at which is which."""


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One row per item (`ITEM_SCHEMA`), and the JSON-safe report."""

    items: pa.Table
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Credits:
    """What the scorer and the two length rules earn on some items, and the items' clusters."""

    scorer_N: FloatArray
    longest_N: FloatArray
    clusters_N: npt.NDArray[np.int64]  # [N], or [N, 2] where texts are resampled

    def of(self, rows_N: npt.NDArray[np.bool_]) -> _Credits:
        return _Credits(self.scorer_N[rows_N], self.longest_N[rows_N], self.clusters_N[rows_N])


def bench(benchmarks: Sequence[BenchmarkConfig], *, score: PairScorer, seed: int) -> BenchResult:
    """Score benchmarks and report accuracy with intervals, length rules and subsets.

    Args:
        benchmarks: what to run; a name that is there twice is told apart by its file name.
        score: the scorer, called once per benchmark.
        seed: of the bootstrap.

    Raises:
        ConfigError: no or an unknown benchmark, one without a file, or the same one twice.
        DataError: a benchmark cannot be read, or a score is NaN or infinite.
    """
    if not benchmarks:
        raise ConfigError("no benchmark to run: expected at least one")
    names = _distinct_names(benchmarks)
    loaded = [load_benchmark(c, name=n) for c, n in zip(benchmarks, names, strict=True)]
    tables, reports = [], []
    for benchmark in loaded:
        scores = score(benchmark.pairs)
        table = _items(benchmark, scores)
        tables.append(table)
        reports.append(_report(benchmark, table, seed=seed))
    return BenchResult(pa.concat_tables(tables), {"benchmarks": reports})


def check_benchmarks(benchmarks: Sequence[BenchmarkConfig]) -> None:
    """Refuse benchmarks that `bench` would refuse before it reads one.

    Raises:
        ConfigError: an unknown benchmark, one without a file, or the same one twice.
        DataError: a file is not there.
    """
    _distinct_names(benchmarks)
    for config in benchmarks:
        benchmark_source(config)


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


def _items(benchmark: Benchmark, scores: GapScores) -> pa.Table:
    pairs = benchmark.pairs
    columns = {}
    for side, values in (("chosen", scores.chosen_N), ("rejected", scores.rejected_N)):
        score_N = np.asarray(values, dtype=np.float64)
        if score_N.shape != (len(pairs),):
            raise ValueError(f"scores of shape {score_N.shape} for {len(pairs)} {side} answers")
        bad_N = np.flatnonzero(~np.isfinite(score_N))
        if bad_N.size:
            raise DataError(
                f"benchmark {benchmark.name!r}, item {pairs[bad_N[0]].id}: the score of the "
                f"{side} answer is {score_N[bad_N[0]]}, expected a finite number "
                f"({bad_N.size} of {len(pairs)} are not)"
            )
        columns[f"score_{side}"] = score_N
    texts_N2 = text_ids(pairs)
    return pa.table(
        {
            "benchmark": [benchmark.name] * len(pairs),
            "id": [pair.id for pair in pairs],
            "subset": [pair.subset for pair in pairs],
            "group": [pair.group or pair.id for pair in pairs],
            "text_chosen": texts_N2[:, 0],
            "text_rejected": texts_N2[:, 1],
            **columns,
            "credit": pair_credit(columns["score_chosen"] - columns["score_rejected"]),
            "longer_credit": pair_credit(length_delta(pairs)),
        },
        schema=ITEM_SCHEMA,
    )


def _report(benchmark: Benchmark, items: pa.Table, *, seed: int) -> dict[str, Any]:
    credits_N = _Credits(
        items["credit"].to_numpy(),
        items["longer_credit"].to_numpy(),
        item_clusters(items),
    )
    subset_N = np.asarray(items["subset"].to_pylist())
    names = sorted(set(subset_N.tolist()))
    longest, shortest = credits_N.longest_N, 1.0 - credits_N.longest_N
    rule = "longest" if longest.mean() >= shortest.mean() else "shortest"
    beats = paired_difference(
        credits_N.scorer_N,
        longest if rule == "longest" else shortest,
        clusters=credits_N.clusters_N,
        seed=seed,
    )
    kinds = Counter(drop.kind for drop in benchmark.dropped)
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "source": benchmark.source,
        "version": benchmark.version,
        **_summary(credits_N, seed=seed),
        "num_groups": len({pair.group or pair.id for pair in benchmark.pairs}),
        "clusters": "groups" if credits_N.clusters_N.ndim == 1 else "texts",
        "ties_frac": float(np.mean(credits_N.scorer_N == 0.5)),
        "length_rule": rule,
        "beats_longest": asdict(beats),
        "num_dropped": len(benchmark.dropped),
        "dropped": dict(sorted(kinds.items())),
        "subsets": [
            {"name": name, **_summary(credits_N.of(subset_N == name), seed=seed)}
            for name in names
            if len(names) > 1
        ],
    }


def _summary(credits_N: _Credits, *, seed: int) -> dict[str, Any]:
    def interval(values_N: FloatArray) -> dict[str, Any]:
        return asdict(cluster_bootstrap(values_N, clusters=credits_N.clusters_N, seed=seed))

    return {
        "num_items": credits_N.scorer_N.size,
        "accuracy": interval(credits_N.scorer_N),
        "baselines": {
            "longest": interval(credits_N.longest_N),
            "shortest": interval(1.0 - credits_N.longest_N),
            "random": 0.5,
        },
    }
