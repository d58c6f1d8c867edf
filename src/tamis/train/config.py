"""How to train."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tamis.train.step_config import MetaConfig, OptimiserConfig, PriorityConfig
from tamis.types import Config

Tracker = Literal["tensorboard", "trackio", "wandb"]
TermValue = bool | int | float | str | None


# keys that were added later, those of adapters among them, and values at which they change nothing
LATER: dict[str, Any] = {"schedule": "linear", "betas": (0.9, 0.999), "max_grad_norm": 1.0}
LATER_OF_LORA: dict[str, Any] = {"top_layers": None, "targets": "all", "dropout": 0.0}


class ViewsConfig(Config):
    """Two views of each text, for terms that compare them; nothing else reads this."""

    dropout: float = Field(0.05, gt=0, lt=1, description="share of the numbers that is dropped out")
    where: Literal["read", "inside"] = Field(
        "read",
        description="read: of the vector that the head reads; inside: by the model's own dropout "
        "modules, in two passes",
    )


class ObjectiveConfig(Config):
    """What is minimised: settings of the base loss, and terms beside it."""

    base_coefficient: float = Field(1.0, ge=0, description="what the base loss is multiplied with")
    loss_settings: dict[str, float] = Field(
        default_factory=dict, description="settings of the base loss, such as gamma of focal"
    )
    terms: dict[str, dict[str, TermValue]] = Field(
        default_factory=dict,
        description="terms to add, each with its coefficient and settings; a module of "
        "tamis.terms, or a dotted path of a module",
    )
    form: Literal["sequence", "token"] = Field(
        "sequence",
        description="token compares answers at every token from the first that differs, not at "
        "their last alone; decoders only, rows padded",
    )
    views: ViewsConfig = Field(
        default_factory=ViewsConfig,
        description="how terms that compare two views of a text get them",
    )
    meta: MetaConfig | None = Field(
        None, description="the MetaRM step: keeps the scores of unlabelled responses apart"
    )
    priorities: PriorityConfig | None = Field(
        None, description="settings of the sampler prioritised; None = its defaults"
    )

    @model_validator(mode="after")
    def _check_something(self) -> ObjectiveConfig:
        if self.base_coefficient == 0 and not self.terms:
            raise ValueError(
                "base_coefficient is 0 and there are no terms, so nothing is minimised; "
                "name a term, or choose a base_coefficient above 0"
            )
        return self


class AdapterConfig(Config):
    """Which weights are trained: all, low-rank adapters (LoRA), or the head alone."""

    rank: int = Field(
        0, ge=0, description="rank of LoRA on all linear layers; 0 = all weights are trained"
    )
    alpha: int | None = Field(
        None, ge=1, description="scale of the adapters, divided by the rank; None = 2 x rank"
    )
    top_layers: int | None = Field(
        None,
        ge=1,
        description="adapters in the last so many layers alone (and the trained head); None = all",
    )
    targets: Literal["all", "attention"] = Field(
        "all", description="adapters on all linear layers, or on those of the attention alone"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of what adapters read that is zeroed while training"
    )
    quantise: Literal["none", "nf4"] = Field(
        "none", description="nf4 keeps the frozen trunk in 4 bits (QLoRA); needs bitsandbytes"
    )
    part: Literal["all", "head"] = Field(
        "all",
        description="what is trained without LoRA; head = the head alone, on a frozen trunk (a "
        "linear probe)",
    )
    head_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the head's inputs that is zeroed while training"
    )

    @model_validator(mode="after")
    def _check_rank(self) -> AdapterConfig:
        if self.rank == 0 and self.quantise != "none":
            raise ValueError(
                f"quantise is {self.quantise} and rank is 0; 4-bit weights cannot be trained, "
                "choose a rank above 0"
            )
        if self.rank > 0 and self.part == "head":
            raise ValueError(f"part is head and rank is {self.rank}; choose one of the two")
        if self.rank == 0 and self.top_layers is not None:
            raise ValueError(
                f"top_layers is {self.top_layers} and rank is 0, which makes no adapters; choose a "
                "rank above 0"
            )
        if self.rank == 0 and (self.targets != "all" or self.dropout > 0):
            raise ValueError(
                f"targets is {self.targets}, dropout is {self.dropout:g} and rank is 0, which "
                "makes no adapters; choose a rank above 0"
            )
        return self


class ComputeConfig(Config):
    """How a step is computed, which changes what is learnt by rounding alone.

    The exception is ``micro_batch_size`` where a term compares the texts of a batch (simcse, swav):
    it compares those of one micro-batch.
    """

    micro_batch_size: int | None = Field(
        None,
        ge=1,
        description="pairs computed at once; None = batch_size; the result is the same, but with "
        "simcse and swav, which compare the texts of these alone",
    )
    autocast: Literal["none", "bfloat16"] = Field(
        "none", description="compute the trunk in bfloat16; weights, head and loss stay float32"
    )
    gradient_checkpointing: bool = Field(
        False, description="keep no activations and compute them again: less memory, more time"
    )
    rows: Literal["auto", "shared", "packed", "padded"] = Field(
        "auto",
        description="how a batch is laid out; auto = prompts computed once where the model "
        "allows it",
    )
    fsdp: Literal["none", "full_shard"] = Field(
        "none", description="full_shard spreads weights and gradients over the processes (FSDP2)"
    )
    save_every: int | None = Field(
        None, ge=1, description="steps between the checkpoints that a killed run resumes from"
    )


class WatchConfig(Config):
    """What is watched while training, and when training stops early."""

    trackers: tuple[Tracker, ...] = Field(
        (), description="where curves are sent while training runs"
    )
    run_name: str | None = Field(None, description="name of the run in the trackers")
    holdout_frac: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the pairs, by whole groups, that is not trained on but evaluated; "
        "the weights of the best evaluation are kept",
    )
    eval_every: int | None = Field(
        None, ge=1, description="steps between evaluations; None = a tenth of the run, at least 50"
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="stop after so many evaluations without a lower loss; None = never",
    )

    @model_validator(mode="after")
    def _check_holdout(self) -> WatchConfig:
        if self.holdout_frac == 0 and (self.patience or self.eval_every):
            raise ValueError(
                "patience and eval_every need held-out pairs; choose a holdout_frac above 0"
            )
        return self


class TrainConfig(Config):
    """Settings of one training run; the model and the data are named elsewhere."""

    loss: str = Field(
        "bradley_terry", description="module of tamis.losses, or a dotted path of a module"
    )
    objective: ObjectiveConfig = Field(
        default_factory=ObjectiveConfig, description="settings of the loss, and terms beside it"
    )
    epochs: float = Field(1.0, gt=0, description="passes over the pairs; parts of one are allowed")
    max_steps: int | None = Field(None, ge=1, description="stop after so many optimiser steps")
    batch_size: int = Field(16, ge=1, description="pairs of an optimiser step, on all processes")
    learning_rate: float = Field(2e-5, gt=0, description="highest learning rate of AdamW")
    optimiser: OptimiserConfig = Field(
        default_factory=OptimiserConfig, description="schedule, weight decay, clipping"
    )
    sampler: Literal["shuffle", "group", "length", "prioritised"] = Field(
        "shuffle",
        description="group fills a batch from few prompts, so that repeated texts are scored "
        "once; length fills it with pairs of similar length, so that less is padding; prioritised "
        "draws pairs that the model is wrong about more often, and weighs them less",
    )
    lora: AdapterConfig = Field(
        default_factory=AdapterConfig, description="low-rank adapters instead of all weights"
    )
    compute: ComputeConfig = Field(
        default_factory=ComputeConfig,
        description="how a step is computed; beside rounding it matters to simcse and swav alone",
    )
    watch: WatchConfig = Field(
        default_factory=WatchConfig, description="curves, held-out pairs and early stopping"
    )

    @model_validator(mode="after")
    def _check_together(self) -> TrainConfig:
        if self.watch.holdout_frac > 0 and self.compute.save_every is not None:
            raise ValueError(
                "with held-out pairs a checkpoint is written at every evaluation; "
                "leave out save_every and choose eval_every"
            )
        if self.compute.fsdp != "none" and self.lora.quantise != "none":
            raise ValueError(
                f"fsdp is {self.compute.fsdp} and quantise is {self.lora.quantise}; choose one"
            )
        if self.objective.priorities is not None and self.sampler != "prioritised":
            raise ValueError(
                f"objective.priorities is set and sampler is {self.sampler}; choose sampler "
                "prioritised, or leave the priorities out"
            )
        if self.objective.form == "token" and self.compute.rows not in ("auto", "padded"):
            raise ValueError(
                f"form is token and rows is {self.compute.rows}; tokens are scored in padded rows "
                "alone, leave rows out"
            )
        if self.objective.form == "token" and self.compute.fsdp != "none":
            raise ValueError(f"form is token and fsdp is {self.compute.fsdp}; choose one")
        return self

    def identity(self) -> dict[str, Any]:
        """Return all settings but those that say where curves are sent, or where a file lies.

        A key that was added later is left out where it changes nothing, so that what was computed
        before is still known.
        """
        settings = self.model_dump(
            exclude={"watch": {"trackers", "run_name"}, "objective": {"meta": {"path"}}}
        )
        settings |= settings.pop("optimiser")
        for some, later in ((settings["lora"], LATER_OF_LORA), (settings, LATER)):
            for key, plain in later.items():
                if some[key] == plain:
                    del some[key]
        return settings
