"""Settings of a step: AdamW over the run, MetaRM and the prioritised sampler."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tamis.types import Config


class OptimiserConfig(Config):
    """How AdamW moves weights over a run, beside its highest learning rate.

    The rate rises linearly over the warm-up. After it, it falls to 0 at the end of the run, in a
    line or as half a wave of the cosine; or with the inverse square root of the step, counted from
    the warm-up's length on, which does not end at 0.
    """

    schedule: Literal["linear", "cosine", "inverse_sqrt"] = Field(
        "linear", description="how the learning rate falls after the warm-up"
    )
    warmup_frac: float = Field(
        0.1, ge=0, le=1, description="share of the steps that warm up, never all of them"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="how much of the earlier mean gradient, and square, is kept"
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="longest gradient of a step; longer ones are cut to it"
    )


class MetaConfig(Config):
    """The MetaRM step: scores of responses to one prompt stay apart (see `tamis.train.meta`)."""

    path: str = Field(
        min_length=1,
        description="prompts with at least two responses each, unlabelled; JSONL or what else "
        "data.path may be",
    )
    eta: float = Field(5e-6, ge=0, description="length of the inner step, in its unit; 0 = none")
    unit: Literal["gradient", "steps"] = Field(
        "gradient",
        description="of eta: the gradient, as published; or outer steps, so that 1 moves each "
        "weight as AdamW would, by the learning rate at most",
    )
    prompts: int = Field(16, ge=1, description="prompts of a step, on all processes")
    holdout_frac: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the prompts on which the spread of the scores is only measured",
    )


class PriorityConfig(Config):
    """How the prioritised sampler draws pairs (see `tamis.train.priorities`)."""

    alpha: float = Field(
        0.6, ge=0, description="how strongly residuals decide; 0 draws all pairs alike"
    )
    uniform_frac: float = Field(
        0.1, gt=0, le=1, description="share of the draws that any pair is as likely to get"
    )
    least: float = Field(0.05, gt=0, lt=1, description="lowest residual that a pair counts with")
    most: float = Field(
        0.95, gt=0, lt=1, description="highest residual that a pair counts with, and a new pair has"
    )
    beta: float | Literal["annealed", "measured"] = Field(
        1.0,
        description="how much of the unequal draws the weights take back: 1 = all, so that the "
        "loss is unbiased; annealed from beta_start to 1; measured by how far the draws are from "
        "equal ones",
    )
    beta_start: float = Field(
        0.4, ge=0, le=1, description="lowest beta where it is annealed or measured"
    )

    @field_validator("beta", mode="before")
    @classmethod
    def _check_beta(cls, beta: Any) -> Any:
        is_number = isinstance(beta, int | float) and not isinstance(beta, bool)
        if not (0 <= beta <= 1 if is_number else beta in ("annealed", "measured")):
            raise ValueError(f"beta is {beta!r}; expected a number in [0, 1], annealed or measured")
        return beta

    @model_validator(mode="after")
    def _check_range(self) -> PriorityConfig:
        if self.least > self.most:
            raise ValueError(
                f"least is {self.least} and most is {self.most}; choose a least of at most most"
            )
        return self
