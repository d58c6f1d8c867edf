"""Every preference file at hand, judged by two small reward models and by rules that read nothing.

Run with `make bench-offline`. Two reward models are trained as `tamis train` does, on the training
parts of a few files (``SOURCES``): MiniLM with all its weights, and SmolLM2's first 8 layers with
adapters, whose checkpoint is a plain transformers model like any third party's. Then
`tamis compare` judges them beside the longest, the shortest, a random and a constant score, on the
evaluation sets whole and on a draw of the test part of every other file. All is kept in ``--out``;
what was interrupted goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from shared import model_of, parser_of
from tamis.cli.compare import comparison_tables
from tamis.cli.screen import show_path, show_tables
from tamis.data import DataConfig, prepare, read_pairs, write_pairs
from tamis.evaluate import BenchmarkConfig
from tamis.evaluate.scorers import ScorerOptions, scorer_from
from tamis.models.config import ModelConfig
from tamis.recipes.comparing import PAGE, comparison_stage
from tamis.recipes.stages import CHECKPOINT, REPORT, train_stage
from tamis.runs import read_json
from tamis.runs.memory import keep_freed_memory
from tamis.studies.demo import DEMO_MODEL
from tamis.train.config import AdapterConfig, ComputeConfig, TrainConfig
from tamis.types import Pair

# the evaluation sets, by the benchmark that reads them
SETS = {
    "eval_biasbench": "evalbiasbench",
    "eval_faireval_human": "pairs",
    "eval_hhh_alignment": "hhh",
    "eval_llmbar_natural": "llmbar",
    "eval_llmeval2_human": "pairs",
    "eval_mt_bench_human": "mt_bench_human",
    "eval_rm_bench_code": "rm_bench",
    "eval_rm_bench_safety": "rm_bench",
    "eval_rmb_helpful_bon": "rmb",
    "eval_rmb_helpful_pairs": "rmb",
    "eval_xstest": "xstest",
}
# what is trained on: English and of several kinds, so many pairs of each at most
SOURCES = ("hh_helpful_base", "hh_harmless_base", "ultrafeedback_subset", "webgpt_comparisons")
SOURCES += ("pandalm_human", "autoj_human", "ukp_convarg1")
MOST = 500
TRAINS = {
    "MiniLM": TrainConfig(batch_size=32, learning_rate=1e-4, epochs=2.0, sampler="length"),
    "SmolLM2": TrainConfig(
        batch_size=32,
        learning_rate=5e-4,
        sampler="length",
        lora=AdapterConfig(rank=8),
        compute=ComputeConfig(autocast="bfloat16"),
    ),
}
RULES = ("longest", "shortest", "random", "constant")


def main() -> None:
    """Train what is not trained yet, compare on all sets, and print the tables."""
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/offline"))
    parser.add_argument("--test", type=int, default=300, help="pairs of each other test part")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16, to score in")
    options = parser.parse_args()
    keep_freed_memory()
    pairs = options.out / "train.parquet"
    write_pairs(pairs, _training(options.data))
    models = {
        "MiniLM": ModelConfig(path=DEMO_MODEL, max_length=options.max_length),
        "SmolLM2": model_of(options),
    }
    scorers = [f"{name}={_trained(name, models[name], pairs, options)}" for name in models]
    result = comparison_stage(
        options.out,
        scorers=[
            scorer_from(text, options=ScorerOptions(dtype=options.dtype), notice=print)
            for text in (*scorers, *RULES)
        ],
        benchmarks=_benchmarks(options),
        notice=print,
    )
    show_tables(comparison_tables(read_json(result.directory / REPORT)))
    show_path("page:", (result.directory / PAGE).resolve())


def _training(data: Path) -> list[Pair]:
    """Return at most ``MOST`` training pairs of each source, drawn."""
    return [pair for name in SOURCES for pair in _drawn(data, name, num=MOST)]


def _benchmarks(options: argparse.Namespace) -> list[BenchmarkConfig]:
    """Return all sets; the test part of a file that is no benchmark is drawn and written."""
    found = []
    for path in sorted(options.data.glob("*.jsonl.gz")):
        name = path.name.removesuffix(".jsonl.gz")
        if name in SETS:
            found.append(BenchmarkConfig(name=SETS[name], path=str(path)))
            continue
        pairs = _spread(options.data, name, num=options.test)
        if pairs:  # one file is for training alone
            own = options.out / "sets" / f"{name}.parquet"
            write_pairs(own, pairs)
            found.append(BenchmarkConfig(name="pairs", path=str(own)))
    return found


def _drawn(data: Path, name: str, *, num: int) -> Sequence[Pair]:
    """Return so many training pairs of a file, by whole groups, the same each time."""
    groups = _groups(data, name, split="train")
    keys = sorted(groups)
    order = np.random.default_rng(0).permutation(len(keys))
    return [pair for place in order for pair in groups[keys[place]]][:num]


def _spread(data: Path, name: str, *, num: int) -> Sequence[Pair]:
    """Return so many test pairs of a file, of as many groups as can be, the same each time."""
    rng = np.random.default_rng(0)
    groups = _groups(data, name, split="test")
    shuffled = [[some[row] for row in rng.permutation(len(some))] for some in groups.values()]
    turns = zip_longest(*(shuffled[place] for place in rng.permutation(len(shuffled))))
    return [pair for turn in turns for pair in turn if pair is not None][:num]


def _groups(data: Path, name: str, *, split: str) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in prepare(DataConfig(path=str(data / f"{name}.jsonl.gz"))).pairs:
        if pair.split == split:
            groups.setdefault(pair.group, []).append(pair)
    return groups


def _trained(name: str, model: ModelConfig, pairs: Path, options: argparse.Namespace) -> Path:
    run = options.out / name
    train_stage(run, pairs=pairs, verdicts=None, model=model, config=TRAINS[name], seed=0)
    print(f"{name}: trained on {len(read_pairs(pairs))} pairs")
    return run / "train" / CHECKPOINT


if __name__ == "__main__":
    main()
