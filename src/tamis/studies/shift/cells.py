"""One cell of the shift study: train an arm under a seed, and score everything with it.

All arms of a seed start from the same model, whose head alone was trained (the probe), so that they
differ in what comes after it. The layers below those that are trained are frozen in every arm, so
their states of all texts are computed once (see `tamis.models.rows.memory`). What a cell scored is
kept in one file.

Shape legend: N sequences, T training texts, K models.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tamis.metrics.ensemble import Ensemble, ensemble_scores, measured_scale
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.models.rows.memory import StateMemory, use_memory
from tamis.models.score import pair_sequences, score_sequences
from tamis.models.tokenise import load_tokenizer, pad_id_of
from tamis.recipes.warm import probe_plan
from tamis.studies.fitted import (
    Lesson,
    fit_members,
    fit_once,
    kept_rewards,
    precision_of,
    probed,
)
from tamis.studies.outcome import cell_path
from tamis.studies.shift.arms import Arm
from tamis.studies.shift.plan import ShiftPlan
from tamis.studies.shift.records import Floats, Scores
from tamis.studies.shift.texts import Ids, Texts
from tamis.train.config import TrainConfig
from tamis.types import Pair, Verdict

PROBED = ".probe"


@dataclass(frozen=True, slots=True)
class Lab:
    """What all cells share.

    Attributes:
        plan: of the study.
        model: what is trained.
        texts: the sequences of test sets and levels.
        memory: states of all texts below the trained layers.
        responses: file of the shifted policy's answers that MetaRM reads.
        draw: the training pairs of a seed.
        folder: where cells are kept, and where a training that was killed goes on.
        identity: what every cell depends on beside its own settings.
    """

    plan: ShiftPlan
    model: ModelConfig
    texts: Texts
    memory: StateMemory
    responses: Path
    draw: Callable[[int], Sequence[Pair]]
    folder: Path
    identity: Mapping[str, Any]

    def scores(self, arm: Arm, *, seed: int) -> Scores:
        """Return what an arm under a seed says; it is trained once.

        Ensembles are those of the product: the mean is of scores as they are; for the others those
        of each member are standardised, with the mean and the standard deviation that it has on
        training texts.

        Raises:
            ConfigError: the training diverged, or a file cannot be written.
        """
        num_texts, settings = len(self.texts.sequences), self._settings(arm)
        if arm.how == "one":
            reward_KN = kept_rewards(
                self.path(arm, seed=seed),
                lambda work: self._alone(settings, work=work, seed=seed),
            )
            return self.texts.scores(reward_KN[0])
        reward_KN = kept_rewards(
            self.path(arm, seed=seed), lambda work: self._several(settings, work=work, seed=seed)
        )
        members_KN, on_training_KT = reward_KN[:-1, :num_texts], reward_KN[:-1, num_texts:]
        if arm.how == "average":
            return self.texts.scores(reward_KN[-1, :num_texts])
        if arm.how == "member":
            return self.texts.scores(members_KN[0])
        ensemble = Ensemble(arm.how)
        scale = measured_scale(on_training_KT) if ensemble.members == "standardised" else None
        return self.texts.scores(ensemble_scores(members_KN, ensemble=ensemble, scale=scale))

    def path(self, arm: Arm, *, seed: int) -> Path:
        """Return the file of a cell; arms that are made of the same models share theirs."""
        start, plan = self._probe_plan().identity(), self.plan
        own: dict[str, Any] = {"train": self._settings(arm).identity()}
        if arm.how != "one":
            own |= {"warm": plan.warm.model_dump(), "scale_pairs": plan.scale_pairs}
        return self._path(start=start, **own, seed=seed).with_suffix(".npy")

    def probe(self, *, seed: int) -> None:
        """Train the probe that all arms of a seed start from; it is trained once."""
        self._lesson(seed)

    def forget(self, *, seed: int) -> None:
        """Remove the probe of a seed, once all its arms are there: it is half a gigabyte."""
        shutil.rmtree(self._probe_folder(seed), ignore_errors=True)

    def _settings(self, arm: Arm) -> TrainConfig:
        return arm.train(self.plan.train, responses=self.responses, ratio=self.plan.meta_ratio)

    def _path(self, **identity: Any) -> Path:
        return cell_path(self.folder, **self.identity, **identity)

    def _probe_plan(self) -> TrainConfig:
        return probe_plan(self.plan.train, self.plan.warm)

    def _probe_folder(self, seed: int) -> Path:
        return self._path(probe=self._probe_plan().identity(), seed=seed).with_suffix(PROBED)

    def _alone(self, train: TrainConfig, *, work: Path, seed: int) -> Floats:
        """Train one model; its rewards [1, N]."""
        checkpoint = fit_once(self._lesson(seed), train=train, work=work)
        return self._rewards(checkpoint, self.texts.sequences)[None]

    def _several(self, train: TrainConfig, *, work: Path, seed: int) -> Floats:
        """Train models; rewards of each and of their average on texts, then training texts."""
        members, average = fit_members(
            self._lesson(seed), train=train, warm=self.plan.warm, work=work
        )
        some = self.draw(seed)
        rng = np.random.default_rng(seed)
        places = rng.permutation(len(some))[: self.plan.scale_pairs]
        tokenizer = load_tokenizer(self.model)
        max_length = int(tokenizer.model_max_length)
        rows, _ = pair_sequences(tokenizer, [some[at] for at in places], max_length=max_length)
        sequences = [*self.texts.sequences, *(tuple(ids) for ids in rows)]
        return np.stack([self._rewards(path, sequences) for path in (*members, average)])

    def _lesson(self, seed: int) -> Lesson:
        """Return what all arms of a seed are trained on, from the probe that it has in common."""
        pairs = self.draw(seed)
        verdicts = [Verdict(pair.id) for pair in pairs]
        lesson = Lesson(pairs, verdicts, self.model, seed, self.memory)
        return probed(
            lesson, train=self.plan.train, warm=self.plan.warm, work=self._probe_folder(seed)
        )

    def _rewards(self, checkpoint: Path, sequences: Sequence[Ids]) -> Floats:
        """Return the reward of each text [N]."""
        scorer = load_scorer(str(checkpoint))
        scorer.model.requires_grad_(requires_grad=False)
        use_memory(scorer.model, self.memory)
        with precision_of(self.plan.train, scorer.model.device.type):
            found = score_sequences(scorer.model, sequences, pad_id=pad_id_of(scorer.tokenizer))
        return found.astype(np.float64)
