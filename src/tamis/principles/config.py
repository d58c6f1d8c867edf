"""How pairs become examples of principles: the judge, the draw, the layout."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tamis.remote.config import EndpointConfig
from tamis.types import Config


class PrinciplesConfig(Config):
    """How examples of principles are made from pairs; off without a judge."""

    judge: str | None = Field(
        None,
        description="length, scores, endpoint, or a dotted path of a module; unset: no principles",
    )
    scores: str | None = Field(
        None,
        description="file of the judge scores: id, principle, and score_12 and score_21 or margin",
    )
    endpoint: EndpointConfig = Field(
        default_factory=EndpointConfig, description="of the judge endpoint"
    )
    file: str | None = Field(
        None, description="YAML or JSONL file of principles; unset: those that Tamis ships"
    )
    names: tuple[str, ...] = Field((), description="the principles to draw from; empty: all")
    layout: Literal["prompt_first", "answer_first"] = Field(
        "prompt_first",
        description="prompt_first shares prompts and answers in a batch; answer_first is the "
        "published order",
    )
    passes: int = Field(4, ge=1, description="examples of a pair, of different principles")
    most: int = Field(8, ge=1, description="principles of an example at most")
    stop_prob: float = Field(
        0.2, gt=0, le=1, description="of the geometric distribution of their number"
    )
    negate_prob: float = Field(
        0.5, ge=0, le=1, description="probability that a principle is turned into its opposite"
    )
    label_noise: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="share of the training labels that are turned (published: 0.1)",
    )
    bench: tuple[str, ...] = Field(
        (),
        description="names, not:NAME or words of those that benchmarks are judged under; held-out "
        "pairs keep their own",
    )

    @model_validator(mode="after")
    def _check_judge(self) -> PrinciplesConfig:
        if self.judge is None and self.bench:
            raise ValueError(
                "bench names principles and there is no judge, so nothing learns to read any; "
                "name a judge, or leave bench out"
            )
        if self.judge == "scores" and self.scores is None:
            raise ValueError("judge is scores; name their file as scores")
        if self.judge == "endpoint" and (self.endpoint.url is None or self.endpoint.model is None):
            raise ValueError("judge is endpoint; name its url and model as endpoint")
        return self
