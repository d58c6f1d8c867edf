"""Reward models of a study whose weights are all fine-tuned, each kept once it is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.metrics import pair_credit
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_pairs
from tamis.studies.cells import TUNED
from tamis.studies.demo_data import labelled
from tamis.studies.fitted import kept_rewards, precision_of
from tamis.studies.material import Bench
from tamis.studies.outcome import Outcome, bench_identity, cell_path, model_identity
from tamis.train.config import ComputeConfig, TrainConfig
from tamis.train.fit import fit
from tamis.types import Verdict
from tamis.vote.heads import Labels

FINE_TUNED = "all weights fine-tuned"
SAVED = ComputeConfig(save_every=20, autocast="bfloat16")
# the demo's settings for the data that it runs on, one pass elsewhere; chosen before any study
TRAINS: Mapping[str, TrainConfig] = {
    "ukp": TrainConfig(
        batch_size=128, learning_rate=1e-4, sampler="group", max_steps=60, compute=SAVED
    ),
    "hh": TrainConfig(batch_size=64, learning_rate=1e-4, sampler="length", compute=SAVED),
}
TENTH = TrainConfig(batch_size=32, learning_rate=1e-4, epochs=2.0, compute=SAVED)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tuner:
    """Fine-tunes models on the training pairs of one data set, and keeps what they reach.

    Attributes:
        bench: the data set.
        model: what is fine-tuned.
        folder: where credit is kept, and where a training that was killed goes on.
        identity: what every model depends on beside its labels: the pairs, and the model that
            is fine-tuned; not the frozen models, whose part is in the labels.
        advance: told of each model.
    """

    bench: Bench
    model: ModelConfig
    folder: Path
    identity: Mapping[str, object]
    advance: Callable[[int], None] | None = None

    @classmethod
    def of(
        cls, bench: Bench, model: ModelConfig, *, folder: Path, advance: Callable[[int], None]
    ) -> Tuner:
        """Fine-tune ``model`` on a data set."""
        identity = {**bench_identity(bench), "fine_tuned": model_identity(model)}
        return cls(bench, model, folder, identity, advance)

    def credit(self, labels: Labels, turned_N: Bools, *, train: TrainConfig, seed: int) -> Floats:
        """Return the credit on the test pairs [M] of one model; the same labels train one model.

        ``labels`` are about pairs as they are labelled, ``turned_N`` says which of them are
        labelled against the stored orientation; pairs of no weight are left out.
        """
        digest = hashlib.sha256(np.packbits(turned_N).tobytes())
        for values_N in (labels.target_N, labels.margin_N, labels.weight_N):
            digest.update(values_N.astype(np.float32).tobytes())
        path = cell_path(
            self.folder,
            **self.identity,
            labels=digest.hexdigest(),
            train=train.identity(),
            seed=seed,
        ).with_suffix(".npy")
        credit_M = kept_rewards(
            path, lambda work: self._trained(labels, turned_N, train=train, seed=seed, work=work)
        )
        if self.advance is not None:
            self.advance(1)
        return credit_M

    def _trained(
        self, labels: Labels, turned_N: Bools, *, train: TrainConfig, seed: int, work: Path
    ) -> Floats:
        kept = np.flatnonzero(labels.weight_N > 0).tolist()
        # a data set may have two judgements of the same texts, which have one id
        pairs = [
            replace(labelled(self.bench.train[row], wrong=bool(turned_N[row])), id=str(row))
            for row in kept
        ]
        verdicts = [
            Verdict(pair.id, float(target), float(margin), float(weight))
            for pair, target, margin, weight in zip(
                pairs,
                labels.target_N[kept],
                labels.margin_N[kept],
                labels.weight_N[kept],
                strict=True,
            )
        ]
        out = work / "checkpoint"
        fit(
            pairs,
            verdicts,
            model=self.model,
            train=train,
            seed=seed,
            work=work / "train",
            out=out,
        )
        scorer = load_scorer(str(out))
        with precision_of(train, scorer.model.device.type):
            scores = score_pairs(
                scorer.model, scorer.tokenizer, self.bench.test, max_length=scorer.max_length
            )
        return pair_credit(scores.chosen_N - scores.rejected_N)


def tuned_outcome(tuner: Tuner, outcome: Outcome, *, train: TrainConfig, seed: int) -> Outcome:
    """Fine-tune one model for each arm whose labels ``outcome`` kept, and return their credit."""
    credit = {
        arm: tuner.credit(outcome.labels[arm], outcome.turned_N, train=train, seed=seed)
        for arm in TUNED
    }
    return replace(outcome, suspicion={}, credit=credit, chance_N=None, labels={})
