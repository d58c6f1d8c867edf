"""The levels of the shift study: what a policy answers as it moves away from where it began.

Shape legend: P prompts, K responses to each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tamis.metrics import length_delta, pair_credit
from tamis.models.config import ModelConfig
from tamis.policy.sampling.best_of import Places, best_places
from tamis.studies.judges import Judge, fit_judge
from tamis.studies.shift.gold import gold_pairs, unseen_pairs
from tamis.studies.shift.material import Material
from tamis.studies.shift.policy import best_of, keep_answers, sample_answers, write_answers
from tamis.studies.shift.records import LONGER, Answers, Floats, Level, answer_lengths
from tamis.types import Conversation

FEATURES, META = "features", "meta-responses.jsonl"
BASE = 1.0  # temperature of the policy that is shifted
SEED = 0


@dataclass(frozen=True, slots=True)
class Shifts:
    """How the policy moves away from itself at temperature 1, which is a level too.

    Attributes:
        temperatures: at which it is sampled.
        best: numbers n > 1, of which the best response is kept.
        num: responses to each prompt at each level.
        meta_best: the n of the meta set's answers.
        max_new_tokens: tokens of a response at most.
    """

    temperatures: tuple[float, ...] = (0.7, 1.3)
    best: tuple[int, ...] = (2, 4)
    num: int = 4
    meta_best: int = 2
    max_new_tokens: int = 48


DEFAULT = Shifts()


@dataclass(frozen=True, slots=True)
class Judges:
    """The gold judge, and the proxy judge that best of n picks by."""

    gold: Judge
    proxy: Judge


def shifted_levels(
    material: Material,
    *,
    model: ModelConfig,
    judges: Judges,
    folder: Path,
    shifts: Shifts = DEFAULT,
) -> tuple[list[Level], Path]:
    """Sample all levels, and the file of answers of a shifted policy that MetaRM trains with.

    Temperatures come first, from the lowest, then best of n. The best of n are picked by the proxy
    judge among ``n * num`` responses at temperature 1, the first of those that the largest n needs;
    the first ``num`` are the level of temperature 1. A response has the same gold reward at each.

    Args:
        material: whose prompts are answered.
        model: the policy, a chat model.
        judges: of the responses.
        folder: where samples are kept.
        shifts: how the policy moves.

    Raises:
        ConfigError: a model is not there.
    """

    answers = sample_levels(material, model=model, folder=folder, shifts=shifts)
    levels: list[Level] = []
    for degree, some in answers.of_degree.items():
        levels += _levels(some, judges, shifts=shifts, temperature=degree)
    levels.sort(key=lambda level: level.name.startswith("best"))
    path, meta = folder / META, answers.meta
    write_answers(path, best_of(meta, judges.proxy.rewards(meta), shifts.meta_best))
    return levels, path


@dataclass(frozen=True, slots=True)
class LevelAnswers:
    """What the policy answers: at each temperature, from the lowest, and to MetaRM's prompts."""

    of_degree: Mapping[float, Sequence[Answers]]
    meta: Sequence[Answers]


def sample_levels(
    material: Material, *, model: ModelConfig, folder: Path, shifts: Shifts = DEFAULT
) -> LevelAnswers:
    """Sample all answers that `shifted_levels` judges, or read those that were sampled before.

    Raises:
        ConfigError: a model is not there.
    """

    def sample(prompts: Sequence[Conversation], *, temperature: float, num: int) -> list[Answers]:
        return sample_answers(
            model,
            prompts,
            temperature=temperature,
            num=num,
            max_new_tokens=shifts.max_new_tokens,
            seed=SEED,
            folder=folder,
        )

    of_degree: dict[float, list[Answers]] = {}
    for degree in sorted({*shifts.temperatures, BASE}):
        num = shifts.num * (max((1, *shifts.best)) if degree == BASE else 1)
        of_degree[degree] = sample(material.shift_prompts, temperature=degree, num=num)
    num = shifts.num * shifts.meta_best
    return LevelAnswers(of_degree, sample(material.meta_prompts, temperature=BASE, num=num))


def fit_judges(
    material: Material, *, model: ModelConfig, folder: Path, data: Path | None
) -> Judges:
    """Train the judges, on different pairs; the texts are read once, and kept in ``folder``.

    Raises:
        ConfigError: a data set or the model is not there.
    """
    gold, proxy = (
        fit_judge(pairs, model=model, cache=folder / FEATURES, seed=SEED)
        for pairs in (gold_pairs(material, data), material.proxy)
    )
    return Judges(gold, proxy)


def judge_accuracy(
    material: Material, *, judges: Judges, data: Path | None
) -> dict[str, dict[str, float]]:
    """Return the accuracy of both judges, and of the longer answer, on held-out pairs.

    It is by judge and data set.

    Raises:
        ConfigError: a data set is not there.
    """
    held_out = {
        "HH-RLHF": [pair for one in material.sets if not one.is_out for pair in one.pairs],
        "AlpacaEval, graded": unseen_pairs(data),
    }
    both = {"gold": judges.gold, "proxy": judges.proxy}
    found = {
        name: {title: judge.accuracy(pairs) for title, pairs in held_out.items()}
        for name, judge in both.items()
    }
    found[LONGER] = {
        title: float(pair_credit(length_delta(pairs)).mean()) for title, pairs in held_out.items()
    }
    return found


def judge_likeness(levels: Sequence[Level], *, judges: Judges) -> dict[str, float]:
    """Return how gold's rewards of the answers to one prompt go with the proxy's, and with length.

    Each is the correlation over the answers at temperature 1, all less their prompt's mean.
    """
    base = next(level for level in levels if level.distance == 0.0)
    others = {
        "the proxy": judges.proxy.rewards(base.answers),
        "length": answer_lengths(base.answers),
    }
    gold_R = _centred(base.gold_PK)
    return {
        name: float(np.corrcoef(gold_R, _centred(other_PK))[0, 1])
        for name, other_PK in others.items()
    }


def _centred(rewards_PK: Floats) -> Floats:
    centred_PK: Floats = rewards_PK - rewards_PK.mean(axis=1, keepdims=True)
    return centred_PK.ravel()


def _levels(
    answers: Sequence[Answers], judges: Judges, *, shifts: Shifts, temperature: float
) -> list[Level]:
    """Return the level of a temperature, and at temperature 1 those of best of n."""
    gold_PK = judges.gold.rewards(answers)
    own_PK = np.tile(np.arange(shifts.num), (len(answers), 1))
    kept: dict[str, tuple[Places, float | None]] = {}
    kept[f"temperature {float(temperature)}"] = (own_PK, 0.0 if temperature == BASE else None)
    if temperature == BASE and shifts.best:
        proxy_PK = judges.proxy.rewards(answers)
        for n in shifts.best:
            best_PK = best_places(proxy_PK[:, : n * shifts.num], n=n)
            kept[f"best of {n}"] = (best_PK, math.log(n) - (n - 1) / n)
    return [
        Level(
            name=name,
            answers=keep_answers(answers, places_PK),
            gold_PK=np.take_along_axis(gold_PK, places_PK, axis=1),
            distance=distance,
        )
        for name, (places_PK, distance) in kept.items()
    ]
