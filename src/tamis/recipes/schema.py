"""The recipe: everything a run needs to know, in one object and one YAML file."""

from __future__ import annotations

from pydantic import Field

from tamis.data import DataConfig
from tamis.denoise.config import DenoiseConfig
from tamis.evaluate.config import BenchmarkConfig
from tamis.merge.config import WarmConfig
from tamis.models.config import ModelConfig
from tamis.principles.config import PrinciplesConfig
from tamis.train.config import TrainConfig
from tamis.types import Config
from tamis.vote.config import VoteConfig


class Recipe(Config):
    """A complete run: data, vote, denoise, train, bench, report."""

    out: str = Field(min_length=1, description="run directory")
    model: ModelConfig = Field(description="the base of voters and of the reward model")
    data: DataConfig = Field(description="where the pairs come from and what is kept of them")
    principles: PrinciplesConfig = Field(
        default_factory=PrinciplesConfig,
        description="labels by principles, which the model reads behind each answer",
    )
    vote: VoteConfig = Field(default_factory=VoteConfig, description="who votes, and on what")
    denoise: DenoiseConfig = Field(
        default_factory=DenoiseConfig, description="what becomes of suspected labels"
    )
    train: TrainConfig = Field(default_factory=TrainConfig, description="how the model is trained")
    warm: WarmConfig = Field(
        default_factory=WarmConfig, description="several models from one head, and their average"
    )
    bench: tuple[BenchmarkConfig, ...] = Field(
        (), description="benchmarks; the held-out test pairs are always one where there are any"
    )
    baseline: bool = Field(
        True, description="also train and bench on the labels as they are, to compare"
    )
    seed: int = Field(0, ge=0, description="seed of folds, orders and heads")
