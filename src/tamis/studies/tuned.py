"""Cells whose reward models are fine-tuned, all weights, on labels that head cells made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.metrics import pair_credit
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_pairs
from tamis.runs import write_array
from tamis.studies.cells import TUNED
from tamis.studies.demo_data import labelled
from tamis.studies.material import Bench
from tamis.studies.outcome import Outcome, cell_path
from tamis.train.config import ComputeConfig, TrainConfig
from tamis.train.fit import fit
from tamis.types import Pair, Verdict
from tamis.vote.heads import Labels

FINE_TUNED = "all weights fine-tuned"
TRAIN = TrainConfig(
    batch_size=128,
    learning_rate=1e-4,
    sampler="group",
    max_steps=60,
    compute=ComputeConfig(save_every=20),
)

Floats = NDArray[np.float64]


def tuned_outcome(
    bench: Bench,
    outcome: Outcome,
    *,
    model: ModelConfig,
    seed: int,
    folder: Path,
    identity: dict[str, object],
    train: TrainConfig = TRAIN,
    advance: Callable[[int], None] | None = None,
) -> Outcome:
    """Fine-tune one model for each arm whose labels ``outcome`` kept, and return their credit.

    Each model is trained once and its credit kept in ``folder``; a training that was killed goes on
    from its last checkpoint. ``identity`` says what the labels depend on.
    """
    pairs = [labelled(p, wrong=bool(t)) for p, t in zip(bench.train, outcome.turned_N, strict=True)]
    credit = {}
    for arm in TUNED:
        own = {**identity, "arm": arm, "train": train.identity(), "model": model.model_dump()}
        path = cell_path(folder, **own).with_suffix(".npy")
        if not path.is_file():
            work = path.with_suffix(".work")
            credit_M = _train(
                pairs,
                outcome.labels[arm],
                test=bench.test,
                model=model,
                train=train,
                seed=seed,
                work=work,
            )
            write_array(path, credit_M)
            shutil.rmtree(work)
        credit[arm] = np.load(path, allow_pickle=False)
        if advance is not None:
            advance(1)
    return replace(outcome, suspicion={}, credit=credit, chance_N=None, labels={})


def _train(
    pairs: Sequence[Pair],
    labels: Labels,
    *,
    test: Sequence[Pair],
    model: ModelConfig,
    train: TrainConfig,
    seed: int,
    work: Path,
) -> Floats:
    verdicts = [
        Verdict(pair.id, float(target), float(margin), float(weight))
        for pair, target, margin, weight in zip(
            pairs, labels.target_N, labels.margin_N, labels.weight_N, strict=True
        )
    ]
    out = work / "checkpoint"
    fit(pairs, verdicts, model=model, train=train, seed=seed, work=work / "train", out=out)
    scorer = load_scorer(str(out))
    scores = score_pairs(scorer.model, scorer.tokenizer, test, max_length=scorer.max_length)
    return pair_credit(scores.chosen_N - scores.rejected_N)
