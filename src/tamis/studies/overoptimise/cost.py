"""How long the over-optimisation study takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tamis.studies.overoptimise.arms import RAW
from tamis.studies.overoptimise.cells import distinct_arms, members_score
from tamis.studies.overoptimise.material import Material
from tamis.studies.overoptimise.plan import OverPlan
from tamis.studies.plan import CHARACTERS, EXTRA, MAX_TOKENS, TOKEN_S, in_words
from tamis.types import Conversation, Pair

# seconds on two cores: a token sampled, a token of a proxy that is scored and one that is trained
# on, an optimiser step, a step of reinforcement learning for a token of an answer, loading a model
# and keeping it, and the intervals of an arm
SAMPLE_S, SCORE_S, TRAIN_S, STEP_S = 3e-3, 6e-5, 2e-4, 0.15
RL_TOKEN_S, LOAD_S, ARM_S = 15.0 / 48, 4.0, 4.0
HEAD_SHARE = 1 / 3  # of a training step, where the head alone is trained


def over_estimate(material: Material, plan: OverPlan) -> str:
    """Say how long the study takes at most, on two cores."""
    parts = over_seconds(material, plan)
    words = ", ".join(f"{name} {in_words(seconds)}" for name, seconds in parts.items() if seconds)
    return f"estimate on two cores: {in_words(sum(parts.values()))} ({words})"


def over_seconds(material: Material, plan: OverPlan) -> dict[str, float]:
    """Return the seconds of each phase at most."""
    pools = plan.pools
    answers = {
        "train": pools.num_train * pools.per_prompt,
        "held out": pools.num_held_out * pools.num_best,
        "meta": pools.num_meta * pools.meta_best * 2,
    }
    own = _mean_tokens(material.train) + pools.max_new_tokens
    judged = _tokens(material.gold_train)
    judged += sum(_tokens(pairs) for pairs in material.gold_test.values())
    judged += (answers["train"] + answers["held out"]) * own
    num_pairs = pools.num_train * math.comb(pools.per_prompt, 2)
    # all pairs of a prompt are in a batch, which reads its answers once
    once_s = answers["train"] * own * TRAIN_S + num_pairs * STEP_S / plan.train.batch_size
    cells = distinct_arms(plan)
    starts = len({arm.labels for arm in cells})
    trained = starts * (HEAD_SHARE * plan.warm.probe_epochs * once_s + LOAD_S)
    scored = 0.0
    pass_s = plan.train.epochs * once_s
    for arm in cells:
        num_trained, num_scored, texts = 1, 1, answers["held out"]
        if arm.how != "one":
            num_trained = plan.warm.num_members
            num_scored += num_trained if members_score(arm) else 0
            texts += pools.num_scale * pools.per_prompt
        if arm.name == RAW:
            texts += answers["meta"]
        # a step of MetaRM reads two answers to each of 16 prompts, then its pairs
        passes = 2 if arm.meta else 1
        trained += num_trained * (passes * pass_s + LOAD_S)
        scored += num_scored * (texts * own * SCORE_S + LOAD_S)
    seconds = {
        "sampling": sum(answers.values()) * pools.max_new_tokens * SAMPLE_S,
        "the gold judge": judged * TOKEN_S["SmolLM2"],
        "training": len(plan.seeds) * trained + answers["train"] * own * TOKEN_S["MiniLM"],
        "scoring": len(plan.seeds) * scored,
        "intervals": ARM_S * len(plan.arms),
    }
    if plan.rl is not None:
        runs = len(plan.seeds) * len(plan.rl.arms)
        run_s = plan.rl.steps * pools.max_new_tokens * RL_TOKEN_S
        seconds["reinforcement learning"] = runs * (run_s + 3 * pass_s)
    return seconds


def _tokens(pairs: Sequence[Pair]) -> float:
    texts = {pair.prompt + side for pair in pairs for side in (pair.chosen, pair.rejected)}
    return sum(min(MAX_TOKENS, _length(text)) for text in texts)


def _mean_tokens(pairs: Sequence[Pair]) -> float:
    return sum(_length(pair.prompt) for pair in pairs) / len(pairs)


def _length(text: Conversation) -> float:
    return sum(len(message.content) for message in text) / CHARACTERS + EXTRA
