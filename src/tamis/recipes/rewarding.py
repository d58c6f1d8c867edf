"""Responses that were sampled before, rewarded as `tamis rl` rewards the answers it samples.

Shapes: R responses of all prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tamis.errors import DataError
from tamis.evaluate.scorers.opening import silent
from tamis.policy.rl.config import RewardConfig, ShapingConfig
from tamis.policy.rl.rewards import HELD_OUT, Asked, Bools, Floats, Shape
from tamis.policy.sampling.best_of import Rewards
from tamis.policy.sampling.responses import Sampled
from tamis.recipes.reinforcing import guide_of, reward_score
from tamis.types import Message

NOTHING = (Message("assistant", ""),)


def rewards_as_rl(
    reward: RewardConfig,
    *,
    clip: float | None,
    seed: int,
    prompts: Path | None = None,
    notice: Callable[[str], None] = silent,
) -> Rewards:
    """Return what rewards responses: ensemble, unit, principles and shape are those of ``reward``.

    Principles are drawn by the place of a prompt, so that responses of two policies to the same
    prompts are scored under the same words. Models are in memory during a call alone, and what was
    rewarded once is remembered as long as the function is kept.

    Args:
        reward: as for `rl_stage`.
        clip: ``reward_clip`` of the run, or ``None``.
        seed: of drawn principles.
        prompts: the file that they are of; see `guide_of`.
        notice: takes lines for the user.

    The function that is returned raises:
        ConfigError: a model cannot be loaded, or see `reward_score`.
        DataError: a response cannot be scored, or its shape counts and is not known.
    """
    guide = guide_of(reward, seed=seed, prompts=prompts)
    shape = Shape(reward.shaping, clip)
    known: dict[int, tuple[Sequence[Sampled], Floats]] = {}

    def rewards(answers: Sequence[Sampled]) -> Floats:
        if id(answers) not in known:
            asked = [
                Asked(one.prompt, response or NOTHING, guide.texts(HELD_OUT, number, one.prompt))
                for number, one in enumerate(answers)
                for response in one.responses
            ]
            score = reward_score(reward, notice=notice)
            found_R = score(asked).score_N if asked else np.empty(0)
            shaped_R = _shaped(found_R, answers, shape=shape)
            known[id(answers)] = answers, shaped_R  # the object is kept, and so is its number
        return known[id(answers)][1]

    return rewards


def alone(reward: RewardConfig, scorer: str) -> RewardConfig:
    """Return the reward of one scorer: raw scores, under the same principles, without a shape."""
    own = {"ensemble": "mean", "penalty": 1.0, "which": "raw", "shaping": ShapingConfig()}
    return reward.model_copy(update={"scorers": (scorer,), **own})


def _shaped(score_R: Floats, answers: Sequence[Sampled], *, shape: Shape) -> Floats:
    if shape.config == ShapingConfig():
        nothing_R = np.zeros(len(score_R))
        return shape.rewards(score_R, num_tokens_N=nothing_R, finished_N=nothing_R == 0)
    return shape.rewards(score_R, num_tokens_N=_num_tokens(answers), finished_N=_finished(answers))


def _num_tokens(answers: Sequence[Sampled]) -> Floats:
    ids = [one.ids for one in answers]
    if any(each is None for each in ids):
        raise DataError("reward.shaping counts tokens, and of some responses they are not known")
    return np.array([float(len(own)) for each in ids for own in each or ()])


def _finished(answers: Sequence[Sampled]) -> Bools:
    ended = [one.finished for one in answers]
    if any(each is None for each in ended):
        raise DataError("reward.shaping asks which responses ended, and of some it is not known")
    return np.array([own for each in ended for own in each or ()], bool)
