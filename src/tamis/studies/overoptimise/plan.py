"""What the over-optimisation study runs in each tier, on which models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tamis.merge.config import WarmConfig
from tamis.models.config import ModelConfig
from tamis.studies.decoder import smollm2_checkpoint
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.overoptimise.arms import ALL_ARMS, ARMS, COMBINED, QUICK_ARMS, RAW
from tamis.studies.plan import LAYERS, MAX_TOKENS, Tier
from tamis.train.config import ComputeConfig, TrainConfig
from tamis.types import Config
from tamis.vote.config import VoteConfig

POLICY, GOLD, PROXY = "SmolLM2 (policy)", "SmolLM2, 8 layers (gold)", "MiniLM (proxy)"
PROXY_TOKENS = 192  # a short question and the longest answer
LEAST_SEEDS, FULL_SEEDS = 3, 5
RL_ARMS = (RAW, COMBINED)
SINGLE = ("one", "average")


class PoolPlan(Config):
    """How many prompts are answered, and how often."""

    num_train: int = Field(150, ge=2, description="prompts whose answers proxies are trained on")
    per_prompt: int = Field(4, ge=2, description="answers to each, compared with each other")
    num_held_out: int = Field(36, ge=2, description="prompts that proxies pick answers to")
    num_best: int = Field(64, ge=4, description="answers to each that they pick from")
    num_meta: int = Field(20, ge=2, description="prompts of the answers that MetaRM reads")
    meta_best: int = Field(
        8, ge=1, description="of so many answers, MetaRM reads the best by the raw proxy"
    )
    num_scale: int = Field(
        50, ge=2, description="training prompts whose answers standardise the scores of an ensemble"
    )
    max_new_tokens: int = Field(96, ge=1, description="tokens of an answer at most")


class RLPlan(Config):
    """A short run of GRPO against some of the proxies."""

    arms: tuple[str, ...] = Field(description="proxies that reward a policy")
    steps: int = Field(30, ge=1, description="optimiser steps")
    every: int = Field(6, ge=1, description="steps between two looks at held-out prompts")
    batch_size: int = Field(16, ge=2, description="answers of a step")
    num_generations: int = Field(4, ge=2, description="answers to each prompt")
    learning_rate: float = Field(1e-4, gt=0, description="of LoRA adapters of rank 16")
    rank: int = Field(16, ge=1, description="of the adapters")


class OverPlan(Config):
    """What the study is made of; the tiers differ in numbers, and full has the RL run unasked."""

    tier: Tier = Field("default", description="quick, default or full")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="flips, heads and orders")
    arms: tuple[str, ...] = Field(ALL_ARMS, min_length=1, description="proxies")
    noise: Literal["longer", "uniform", "near"] = Field(
        "longer",
        description="wrong labels: most likely where the worse answer is the longer, any of them, "
        "or those of the closest answers by gold first",
    )
    wrong_frac: float = Field(0.25, ge=0, lt=0.5, description="share of labels that are wrong")
    pools: PoolPlan = Field(default_factory=PoolPlan, description="what is sampled")
    num_gold: int = Field(
        1500,
        ge=20,
        description="pairs of each data set that gold is trained on, at most; the longer is the "
        "better in half of them",
    )
    train: TrainConfig = Field(
        default_factory=lambda: TrainConfig(
            batch_size=32,
            learning_rate=1e-4,
            epochs=2.0,
            sampler="group",  # the answers to a prompt are read once for all their pairs
            compute=ComputeConfig(autocast="bfloat16"),
        ),
        description="how a proxy is trained, but for what makes it an arm",
    )
    meta_ratio: float = Field(
        3.0, ge=0, description="the inner step of MetaRM, in outer steps; not as published"
    )
    warm: WarmConfig = Field(
        default_factory=lambda: WarmConfig(
            num_members=3, learning_rates=(5e-5, 1e-4, 2e-4), rate_draws="in_turn"
        ),
        description="the head that arms start from, and members that are averaged",
    )
    vote: VoteConfig = Field(
        default_factory=lambda: VoteConfig(num_voters=4, estimators=("cross_fitted",)),
        description="the vote that denoises labels",
    )
    rl: RLPlan | None = Field(None, description="reinforcement learning; None = best of n alone")

    @model_validator(mode="after")
    def _check_arms(self) -> Self:
        unknown = [name for name in self.arms if name not in ARMS]
        if unknown or RAW not in self.arms:
            raise ValueError(f"arms are {', '.join(self.arms)}; expected raw, and known others")
        if self.rl is not None and not set(self.rl.arms) <= set(self.arms):
            raise ValueError(f"rl.arms are {', '.join(self.rl.arms)}; expected some of the arms")
        several = [n for n in (self.rl.arms if self.rl else ()) if ARMS[n].how not in SINGLE]
        if several:
            raise ValueError(
                f"rl.arms has {several[0]}, which is no single model; a policy needs one"
            )
        return self


def over_plan(tier: Tier, *, num_seeds: int = FULL_SEEDS) -> OverPlan:
    """Return what a tier runs: under at most 3 seeds, and 5 with ``full``.

    ``quick`` has the arms of one training each; ``full`` has more prompts, 256 longer answers to
    each that proxies pick from, and the RL run against raw labels and what was combined beforehand.
    """
    seeds = tuple(range(num_seeds if tier == "full" else min(LEAST_SEEDS, num_seeds)))
    if tier == "quick":
        pools = PoolPlan(
            num_train=40,
            num_held_out=12,
            num_best=32,
            num_meta=8,
            meta_best=4,
            num_scale=10,
            max_new_tokens=48,
        )
        return OverPlan(tier=tier, seeds=seeds, arms=QUICK_ARMS, pools=pools, num_gold=150)
    if tier == "full":
        pools = PoolPlan(
            num_train=400,
            num_held_out=64,
            num_best=256,
            num_meta=48,
            meta_best=16,
            max_new_tokens=128,
        )
        return OverPlan(tier=tier, seeds=seeds, pools=pools, rl=RLPlan(arms=RL_ARMS))
    return OverPlan(tier=tier, seeds=seeds)


def over_models(plan: OverPlan, *, folder: Path) -> dict[str, ModelConfig]:  # noqa: ARG001
    """Return the policy, the trunk of the gold judge, and what proxies are fine-tuned from.

    SmolLM2 is unpacked into ``folder`` once.

    Raises:
        ConfigError: a model's package is not installed.
    """
    path = str(smollm2_checkpoint(folder))
    return {
        POLICY: ModelConfig(path=path, max_length=512, dtype="bfloat16"),
        GOLD: ModelConfig(path=path, max_length=MAX_TOKENS, num_layers=LAYERS, dtype="bfloat16"),
        PROXY: ModelConfig(path=DEMO_MODEL, max_length=PROXY_TOKENS),
    }
