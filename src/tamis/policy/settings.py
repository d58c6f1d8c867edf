"""What all ways to train a policy have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tamis.train.config import AdapterConfig, Tracker
from tamis.train.step_config import OptimiserConfig
from tamis.types import Config


class PolicyCompute(Config):
    """How a step is computed: none of this changes what is learnt, beyond rounding."""

    micro_batch_size: int | None = Field(
        None, ge=1, description="items computed at once; None = batch_size"
    )
    autocast: Literal["none", "bfloat16"] = Field(
        "none", description="compute in bfloat16; weights and loss stay float32"
    )
    gradient_checkpointing: bool = Field(
        False, description="keep no activations and compute them again: less memory, more time"
    )
    save_every: int | None = Field(
        None, ge=1, description="steps between the checkpoints that a killed run resumes from"
    )


class PolicyFit(Config):
    """How a policy's weights are moved."""

    learning_rate: float = Field(1e-6, gt=0, description="highest learning rate of AdamW")
    batch_size: int = Field(
        16, ge=1, description="pairs, or sampled responses, of an optimiser step on all processes"
    )
    epochs: float = Field(1.0, gt=0, description="passes over the data; parts of one are allowed")
    max_steps: int | None = Field(
        None, ge=1, description="optimiser steps, whatever epochs says; None = those of the epochs"
    )
    optimiser: OptimiserConfig = Field(
        default_factory=OptimiserConfig, description="schedule, weight decay, clipping"
    )
    lora: AdapterConfig = Field(
        default_factory=AdapterConfig, description="low-rank adapters instead of all weights"
    )
    compute: PolicyCompute = Field(
        default_factory=PolicyCompute, description="how a step is computed; not what is learnt"
    )
    trackers: tuple[Tracker, ...] = Field(
        (), description="where curves are sent while training runs"
    )
    run_name: str | None = Field(None, description="name of the run in the trackers")

    @model_validator(mode="after")
    def _check_adapters(self) -> PolicyFit:
        lora = self.lora
        if lora.quantise != "none":
            raise ValueError(
                f"lora.quantise is {lora.quantise}; policies are trained on weights of full "
                "precision, leave it out"
            )
        if lora.part == "head" or lora.head_dropout:
            raise ValueError("lora.part and head_dropout are for reward heads; leave them out")
        return self
