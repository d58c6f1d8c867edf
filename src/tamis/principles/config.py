"""How pairs become examples of principles: the judge, the draw, the layout."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tamis.types import Config


class EndpointConfig(Config):
    """A chat model behind an OpenAI-compatible endpoint, as a judge."""

    url: str | None = Field(
        None, description="address up to and with /v1, such as http://localhost:8000/v1"
    )
    model: str | None = Field(None, description="name of the model that judges")
    api_key_env: str = Field(
        "OPENAI_API_KEY", description="environment variable that holds the key; unset: no key"
    )
    read: Literal["logprobs", "choice"] = Field(
        "logprobs",
        description="logprobs: the log odds of the two options, or the choice where the server "
        "gives none; choice: the option that the model names",
    )
    max_tokens: int = Field(
        8, ge=1, description="tokens of an answer; more for models that think first"
    )
    timeout_s: float = Field(60.0, gt=0, description="seconds to wait for an answer")
    retries: int = Field(5, ge=0, description="further tries after a failed one")
    wait_s: float = Field(
        1.0, ge=0, description="seconds before the second try; each later wait is twice as long"
    )
    workers: int = Field(4, ge=1, description="questions asked at once")
    prompt_price: float = Field(
        0.0, ge=0, description="price of a million tokens read, for the line on costs"
    )
    answer_price: float = Field(
        0.0, ge=0, description="price of a million tokens written, for the line on costs"
    )


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

    @model_validator(mode="after")
    def _check_judge(self) -> PrinciplesConfig:
        if self.judge == "scores" and self.scores is None:
            raise ValueError("judge is scores; name their file as scores")
        if self.judge == "endpoint" and (self.endpoint.url is None or self.endpoint.model is None):
            raise ValueError("judge is endpoint; name its url and model as endpoint")
        return self
