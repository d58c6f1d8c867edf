"""The answers of the policy, and what gold thinks of them.

Shape legend: P prompts, K answers to each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.data.build import prompt_hash
from tamis.errors import DataError
from tamis.models.config import ModelConfig
from tamis.policy.sampling.config import Sampling
from tamis.policy.sampling.responses import Sampled
from tamis.policy.sampling.sample import sample_responses
from tamis.studies.judges import Judge
from tamis.studies.overoptimise.material import Material, prompts_of
from tamis.studies.overoptimise.plan import PoolPlan
from tamis.types import Conversation, Pair, content_id

SEED = 0  # of all draws: every arm and every seed picks from the same answers
PROMPT_TOKENS = 256

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pools:
    """All that the policy answered.

    Attributes:
        train: a few answers to each training prompt.
        train_gold_PK: their gold rewards, from a zero point of each prompt's own.
        held_out: many answers to each held-out prompt.
        gold_PK: their gold rewards, standardised (see `standardised`).
        gold_std: the gold reward that is 1 there.
        meta: answers to other prompts, of which MetaRM reads the best.
    """

    train: Sequence[Sampled]
    train_gold_PK: Floats
    held_out: Sequence[Sampled]
    gold_PK: Floats
    gold_std: float
    meta: Sequence[Sampled]


def sample_pools(
    material: Material, *, policy: ModelConfig, gold: Judge, plan: PoolPlan, folder: Path
) -> Pools:
    """Sample all answers at temperature 1 and judge them; what is kept in ``folder`` is not new.

    Raises:
        ConfigError: a model cannot be loaded.
        DataError: gold finds all answers to each held-out prompt alike.
    """

    def sample(pairs: Sequence[Pair], num: int) -> list[Sampled]:
        return sample_answers(pairs, num, policy=policy, plan=plan, folder=folder)

    train = sample(material.train, plan.per_prompt)
    held_out = sample(material.held_out, plan.num_best)
    meta = sample(material.meta, 2 * plan.meta_best)
    gold_PK = gold.rewards(held_out)
    return Pools(
        train=train,
        train_gold_PK=gold.rewards(train),
        held_out=held_out,
        gold_PK=standardised(gold_PK),
        gold_std=within_std(gold_PK),
        meta=meta,
    )


def sample_answers(
    pairs: Sequence[Pair], num: int, *, policy: ModelConfig, plan: PoolPlan, folder: Path
) -> list[Sampled]:
    """Sample so many answers to the prompt of each pair at temperature 1.

    Raises:
        ConfigError: the model cannot be loaded.
    """
    how = Sampling(
        num=num,
        min_new_tokens=1,
        max_new_tokens=plan.max_new_tokens,
        max_prompt_tokens=PROMPT_TOKENS,
    )
    return sample_responses(policy, prompts_of(pairs), how=how, seed=SEED, folder=folder)


def within_std(reward_PK: Floats) -> float:
    """Return the standard deviation of rewards within prompts: the root of their mean variance.

    >>> within_std(np.array([[0.0, 2.0], [5.0, 5.0]])) == 0.5**0.5
    True
    """
    return float(np.sqrt(reward_PK.var(axis=1).mean()))


def standardised(reward_PK: Floats) -> Floats:
    """Return rewards minus the mean of their prompt, over the standard deviation within prompts.

    A Bradley-Terry model says nothing of how two prompts compare, so each has its own zero, which
    is the reward expected of one answer; a prompt whose answers differ more counts for more.

    Raises:
        DataError: all rewards of each prompt are equal, or one is not finite.

    >>> standardised(np.array([[0.0, 2.0], [5.0, 9.0]])).round(2).tolist()
    [[-0.63, 0.63], [-1.26, 1.26]]
    """
    std = within_std(reward_PK)
    if not (np.isfinite(std) and std > 0):
        raise DataError(
            f"the rewards of answers have a standard deviation of {std} within prompts; expected "
            "finite ones that differ"
        )
    centred_PK: Floats = (reward_PK - reward_PK.mean(axis=1, keepdims=True)) / std
    return centred_PK


def preferences(answers: Sequence[Sampled], gold_PK: Floats) -> list[Pair]:
    """Compare the answers to each prompt with each other; the one with more gold is chosen.

    Equal answers, and equal rewards, make no pair, and an answer that was given twice makes none
    that is there. ``margin`` is the difference of gold, ``group`` the prompt.
    """
    found: dict[str, Pair] = {}
    for one, gold_K in zip(answers, gold_PK, strict=True):
        for first, second in combinations(range(len(one.responses)), 2):
            sides = (one.responses[first], one.responses[second])
            pair = _better(one.prompt, sides, gold_K[[first, second]])
            if pair is not None:
                found.setdefault(pair.id, pair)
    return list(found.values())


def _better(prompt: Conversation, sides: Sequence[Conversation], gold_2: Floats) -> Pair | None:
    gap = float(gold_2[0] - gold_2[1])
    if gap == 0.0 or sides[0] == sides[1]:
        return None
    chosen, rejected = sides if gap > 0 else sides[::-1]
    return Pair(
        id=content_id(prompt, chosen, rejected),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        group=prompt_hash(prompt),
        margin=abs(gap),
    )
