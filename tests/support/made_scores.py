"""Hand-made test sets, levels and scores of the shift study, whose figures are known."""

from __future__ import annotations

import numpy as np

from tamis.studies.shift.records import Answers, Level, Scores, TestSet
from tamis.types import Message, Pair

NUM_PAIRS, NUM_PROMPTS, NUM_RESPONSES = 60, 24, 4
HELD_OUT, HELPFUL, CODE = "HH-RLHF, held out", "HHH", "code"
HARD = tuple(f"{CODE}, {how}" for how in ("easy", "normal", "hard"))
ALL_SETS = (HELD_OUT, HELPFUL, *HARD)
LEVELS = ("temperature 0.7", "best of 1", "best of 4")


def made_sets():
    """Return one set in distribution, and out of it one alone and three of shared prompts."""
    return [
        TestSet(HELD_OUT, "HH-RLHF", False, made_pairs("hh")),
        TestSet(HELPFUL, HELPFUL, True, made_pairs("hhh")),
        *(TestSet(name, CODE, True, made_pairs("code", answer=name)) for name in HARD),
    ]


def made_pairs(prompt, *, answer="answer"):
    """Return pairs of two to a prompt; the chosen answer is longer in a quarter of them."""

    def text(number, extra):
        return (Message("assistant", f"{answer} {number:02d}{extra}"),)

    return [
        Pair(
            id=f"{prompt} {answer} {number}",
            prompt=(Message("user", f"{prompt} {number // 2}"),),
            chosen=text(number, " and more" if number % 4 == 0 else "+"),
            rejected=text(number, "-...") if number % 4 else text(number, "-"),
        )
        for number in range(NUM_PAIRS)
    ]


def made_clusters():
    """Return the prompt of each pair, as a number."""
    return {name: np.arange(NUM_PAIRS) // 2 for name in ALL_SETS}


def made_levels():
    """Return levels whose gold rewards rise by one from each response to the next."""
    gold_PK = np.tile(np.arange(NUM_RESPONSES, dtype=np.float64), (NUM_PROMPTS, 1))
    answers = [
        Answers(
            (Message("user", f"prompt {prompt}"),),
            tuple((Message("assistant", f"response {k}"),) for k in range(NUM_RESPONSES)),
        )
        for prompt in range(NUM_PROMPTS)
    ]
    distances = (None, 0.0, 0.64)
    return [
        Level(name, answers, gold_PK, distance)
        for name, distance in zip(LEVELS, distances, strict=True)
    ]


def made_run(*, right=None, level=None, scale=1.0):
    """Return scores: gaps of ``scale``, right where it is said by set, and rewards of levels."""
    rewards_PK = made_levels()[0].gold_PK if level is None else level
    gaps = {name: np.ones(NUM_PAIRS, bool) for name in ALL_SETS} | (right or {})
    return Scores(
        gap={name: np.where(right_M, scale, -scale) for name, right_M in gaps.items()},
        level=dict.fromkeys(LEVELS, scale * rewards_PK),
    )


def chance_run(rng, *, accuracy, inside=0.6, noise=1.0):
    """Return scores that are right by chance; ``inside`` is the accuracy in distribution."""
    rights = {name: rng.random(NUM_PAIRS) < accuracy for name in ALL_SETS}
    rights[HELD_OUT] = rng.random(NUM_PAIRS) < inside
    gold_PK = made_levels()[0].gold_PK
    return made_run(right=rights, level=gold_PK + noise * rng.normal(size=gold_PK.shape))
