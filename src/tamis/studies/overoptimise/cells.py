"""One cell of the over-optimisation study: train an arm under a seed, and score the pool with it.

What a cell scored is kept in one file under all that it depends on. Arms that ask the same of a
model share a cell: WARM, the ensemble and one member are the same three models. Arms with the same
labels start from the same model, whose head alone was trained on them (the probe).

Shape legend: N texts, K models, P prompts, M answers to each.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.merge.config import WarmConfig
from tamis.metrics.ensemble import Ensemble, ensemble_scores, measured_scale
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_sequences
from tamis.models.tokenise import encode_conversations, pad_id_of
from tamis.policy.sampling.best_of import best_places
from tamis.policy.sampling.responses import Sampled, texts_of, write_responses
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
from tamis.studies.overoptimise.arms import ARMS, RAW, Arm, arm_of
from tamis.studies.overoptimise.labels import Labeller
from tamis.studies.overoptimise.plan import OverPlan
from tamis.studies.overoptimise.pools import Pools
from tamis.train.config import TrainConfig
from tamis.types import content_id

Floats = NDArray[np.float64]
KEPT_MODEL = ".model"
PROBES = "probes"


@dataclass(frozen=True, slots=True)
class _Task:
    """One cell: what is trained on what, the folder of its start, and the file of its scores."""

    lesson: Lesson
    train: TrainConfig
    warm: WarmConfig | None
    probe: Path
    path: Path


@dataclass(frozen=True, slots=True)
class Lab:
    """What all cells share.

    Attributes:
        plan: of the study.
        model: what proxies are fine-tuned from.
        labeller: gives training pairs.
        pools: what is scored.
        folder: where cells are kept, and where a training that was killed goes on.
        identity: what every cell depends on beside its own settings.
    """

    plan: OverPlan
    model: ModelConfig
    labeller: Labeller
    pools: Pools
    folder: Path
    identity: Mapping[str, Any]

    def scores(self, arm: Arm, *, seed: int) -> Floats:
        """Return what the proxy of an arm under a seed says of the held-out answers [P, M].

        Where an arm is one of several models, it is what each of them says [K, P, M].
        The scores of an ensemble's members are standardised, with the mean and the standard
        deviation that each has on answers to training prompts.

        Raises:
            ConfigError: the training diverged, or a file cannot be written.
        """
        held_out = self.pools.held_out
        if arm.how == "length":
            reward_N = np.array([len(text) for text in texts_of(held_out)], np.float64)
        else:
            num, reward_KN = _num_answers(held_out), self._rewards(arm, seed=seed)
            reward_N = reward_KN[-1, :num]
            if arm.how == "member":
                return reward_KN[:-1, :num].reshape(len(reward_KN) - 1, len(held_out), -1)
            if arm.how == "lower":
                members_KN, others_KM = reward_KN[:-1, :num], reward_KN[:-1, num:]
                reward_N = ensemble_scores(
                    members_KN, ensemble=Ensemble("lower"), scale=measured_scale(others_KM)
                )
        return reward_N.reshape(len(held_out), -1)

    def checkpoint(self, arm: Arm, *, seed: int) -> Path:
        """Return the trained proxy of an arm of one model, or of an average.

        It is trained for this, to the weights that scored, and kept: scores alone are kept of the
        other arms.
        """
        task = self._task(arm, seed=seed)
        model = task.path.with_suffix(KEPT_MODEL)
        if not model.is_dir():
            work = task.path.with_suffix(".again")
            self._trained(task, work=work)[-1].replace(model)
            shutil.rmtree(work)
        return model

    def probe(self, arm: Arm, *, seed: int) -> None:
        """Train what all arms with the labels of this one start from; it is trained once."""
        task = self._task(arm, seed=seed)
        self._start(task)

    def is_kept(self, arm: Arm, *, seed: int) -> bool:
        """Tell whether the scores of an arm are there, without computing any."""
        if arm.how == "length":
            return True
        if arm.meta and not self.is_kept(arm_of(RAW), seed=seed):
            return False
        return self._task(arm, seed=seed).path.is_file()

    def forget(self, *, seed: int) -> None:
        """Remove the probes of a seed, once its arms are there; they would be made again."""
        shutil.rmtree(self.folder / f"{PROBES}-{seed}", ignore_errors=True)

    def _rewards(self, arm: Arm, *, seed: int) -> Floats:
        """Return the rewards of the held-out answers [K, N], that of an average last.

        Those of the raw proxy are followed by its rewards of the answers for MetaRM, those of
        several models by their rewards of answers to training prompts.
        """
        task = self._task(arm, seed=seed)
        answers = [*self.pools.held_out, *self._others(arm)]

        def compute(work: Path) -> Floats:
            trained = self._trained(task, work=work)
            if not members_score(arm):
                trained = trained[-1:]
            return np.stack([score_answers(path, answers, train=task.train) for path in trained])

        return kept_rewards(task.path, compute)

    def _others(self, arm: Arm) -> Sequence[Sampled]:
        """Return what else is scored for the sake of other arms."""
        if arm.name == RAW:
            return self.pools.meta
        return self.pools.train[: self.plan.pools.num_scale] if members_score(arm) else ()

    def _task(self, arm: Arm, *, seed: int) -> _Task:
        labels = self.labeller.labels(arm.labels, seed=seed)
        train = self._train(arm, seed=seed)
        start = probe_plan(self.plan.train, self.plan.warm).identity()
        told = _digest(
            f"{content_id(pair.prompt, pair.chosen, pair.rejected)} {verdict}"
            for pair, verdict in zip(labels.pairs, labels.verdicts, strict=True)
        )
        warm = None if arm.how == "one" else self.plan.warm
        own: dict[str, Any] = {
            "train": train.identity(),
            "warm": None if warm is None else warm.model_dump(),
            "start": start,
            "labels": told,
            "also": _digest(texts_of(self._others(arm))),
            "seed": seed,
        }
        if train.objective.meta is not None:
            own["meta"] = Path(train.objective.meta.path).name  # a hash of what it says
        path = cell_path(self.folder, **self.identity, **own).with_suffix(".npy")
        probes = self.folder / f"{PROBES}-{seed}"
        probe = cell_path(probes, **self.identity, start=start, labels=told).with_suffix("")
        lesson = Lesson(labels.pairs, labels.verdicts, self.model, seed)
        return _Task(lesson, train, warm, probe, path)

    def _trained(self, task: _Task, *, work: Path) -> list[Path]:
        """Return the checkpoints of a cell's models, the one that stands for them last."""
        start = self._start(task)
        if task.warm is None:
            return [fit_once(start, train=task.train, work=work)]
        members, average = fit_members(start, train=task.train, warm=task.warm, work=work)
        return [*members, average]

    def _start(self, task: _Task) -> Lesson:
        return probed(task.lesson, train=self.plan.train, warm=self.plan.warm, work=task.probe)

    def _train(self, arm: Arm, *, seed: int) -> TrainConfig:
        plain = self.plan.train
        if not arm.meta:
            return arm.train(plain)
        path = str(self._best_by_raw(seed))
        return arm.train(plain, meta={"path": path, "eta": self.plan.meta_ratio, "unit": "steps"})

    def _best_by_raw(self, seed: int) -> Path:
        """Return the file of the best answers by the raw proxy, two to each prompt of the meta set.

        They stand for a policy that has moved to where this proxy sends it.
        """
        meta = self.pools.meta
        reward_N = self._rewards(arm_of(RAW), seed=seed)[0, _num_answers(self.pools.held_out) :]
        places_P2 = best_places(reward_N.reshape(len(meta), -1), n=self.plan.pools.meta_best)
        best = [
            (one.prompt, [one.responses[at] for at in places_2])
            for one, places_2 in zip(meta, places_P2.tolist(), strict=True)
        ]
        path = self.folder / f"meta-{_digest(map(str, best))}.jsonl"
        if not path.is_file():
            write_responses(path, best)
        return path


def distinct_arms(plan: OverPlan) -> list[Arm]:
    """Return one arm for each cell of a seed: the first of those that share it."""
    found: dict[tuple[object, ...], Arm] = {}
    for arm in map(arm_of, plan.arms):
        if arm.how != "length":
            found.setdefault((arm.labels, arm.how == "one", arm.meta, *arm.terms), arm)
    return list(found.values())


def members_score(arm: Arm) -> bool:
    """Tell whether the members of an average are asked as well, for an arm that shares its cell."""
    return arm.how != "one" and any(
        other.how == "lower" and other.labels == arm.labels for other in ARMS.values()
    )


def score_answers(checkpoint: Path, answers: Sequence[Sampled], *, train: TrainConfig) -> Floats:
    """Return the reward of each answer, prompt by prompt [N]."""
    scorer = load_scorer(str(checkpoint))
    whole = [one.prompt + response for one in answers for response in one.responses]
    ids = encode_conversations(scorer.tokenizer, whole, max_length=scorer.max_length)
    with precision_of(train, scorer.model.device.type):
        found = score_sequences(scorer.model, ids, pad_id=pad_id_of(scorer.tokenizer))
    return found.astype(np.float64)


def _num_answers(answers: Sequence[Sampled]) -> int:
    return sum(len(one.responses) for one in answers)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]
