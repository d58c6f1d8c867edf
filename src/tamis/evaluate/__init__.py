"""Benchmarks: which of two answers a scorer prefers, with intervals and length baselines."""

from tamis.evaluate.bench import BenchResult, GapScores, PairScorer, bench, check_benchmarks
from tamis.evaluate.compare import compare_items
from tamis.evaluate.config import BenchmarkConfig

__all__ = [
    "BenchResult",
    "BenchmarkConfig",
    "GapScores",
    "PairScorer",
    "bench",
    "check_benchmarks",
    "compare_items",
]
