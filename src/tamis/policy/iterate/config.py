"""Settings of iterated RLHF: which models and data, what a round does, and when rounds stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tamis.evaluate.judging.config import JudgeConfig
from tamis.models.config import ModelConfig
from tamis.policy.align.config import AlignConfig
from tamis.policy.iterate.stopping import StopConfig
from tamis.policy.rl.config import RewardConfig, RLConfig, merged
from tamis.policy.rl.presets import published
from tamis.policy.sampling.config import SampleConfig, Sampling
from tamis.train.config import Tracker, TrainConfig
from tamis.types import Config

ROUND = "round"  # in reward.scorers: the reward models of the round


class IterateData(Config):
    """What the rounds read."""

    pairs: str = Field(
        min_length=1,
        description="preference pairs of the reward model: pairs.parquet, a run directory with "
        "data, or any file that `tamis data` reads",
    )
    verdicts: str | None = Field(
        None,
        min_length=1,
        description="verdicts.parquet on these pairs; unset: of the run directory, if it has one",
    )
    prompts: str = Field(
        min_length=1, description="prompts that are sampled and optimised on, as for `tamis sample`"
    )
    held_out: str = Field(
        min_length=1, description="other prompts, on which policies are only measured"
    )


class MetaSettings(Config):
    """The MetaRM step of each round; its responses are those that the round sampled.

    Its length is not the published one, which does next to nothing beside AdamW.
    """

    eta: float = Field(1.0, ge=0, description="length of the inner step, in its unit; 0 = none")
    unit: Literal["gradient", "steps"] = Field(
        "steps", description="of eta: the optimiser's steps; or the gradient, published with 5e-6"
    )
    prompts: int = Field(16, ge=1, description="prompts of a step, on all processes")
    holdout_frac: float = Field(
        0.1, ge=0, lt=1, description="share of the prompts whose spread is only measured"
    )


class DemonstrationSettings(Config):
    """Demonstrations against what the policy says, as pairs of the reward model (AIHF)."""

    path: str = Field(
        min_length=1, description="prompts with an answer worth imitating, from data.prompts"
    )
    weight: float = Field(1.0, gt=0, description="of a demonstration against a sample")
    preference_weight: float = Field(
        1.0, ge=0, description="factor of the weights of all other pairs; 0 leaves them out"
    )
    samples: Literal["newest", "all"] = Field(
        "newest", description="responses of this round alone, or of all rounds so far"
    )
    form: Literal["logistic", "linear"] = Field(
        "logistic",
        description="the loss of a demonstration against a sample: Bradley-Terry, or minus the "
        "difference of their rewards, which never comes to rest; needs the loss bradley_terry",
    )

    def identity(self) -> dict[str, object]:
        """Return what the pairs depend on beside files."""
        found = self.model_dump(exclude={"path"})
        if self.form == "logistic":
            del found["form"]  # runs from before there was a choice go on
        return found


class AdaptConfig(Config):
    """How the reward models are adapted to what the policy writes."""

    model: ModelConfig = Field(
        description="base model, or reward model, that training starts from in the first round"
    )
    train: TrainConfig = Field(
        default_factory=TrainConfig, description="how it is trained on the pairs; without meta"
    )
    meta: MetaSettings | None = Field(
        default_factory=MetaSettings,
        description="the MetaRM step on the round's responses; null = the pairs alone, once",
    )
    demonstrations: DemonstrationSettings | None = Field(
        None, description="answers that the reward models are to prefer to the policy's"
    )
    start: Literal["base", "previous"] = Field(
        "base", description="what each round's training starts from; the paper does not say"
    )
    members: int = Field(
        1,
        ge=1,
        description="reward models a round, which differ in their seed; their disagreement is "
        "watched, and several reward together as reward.ensemble says",
    )

    @model_validator(mode="after")
    def _check_meta(self) -> Self:
        if self.train.objective.meta is not None:
            raise ValueError(
                "train.objective.meta is set, but every round samples its own responses; give its "
                "settings as meta, beside train"
            )
        return self

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        linear = self.demonstrations is not None and self.demonstrations.form == "linear"
        if linear and self.train.loss != "bradley_terry":
            raise ValueError(
                f"demonstrations.form is linear and train.loss {self.train.loss}; expected "
                "bradley_terry, of which a large margin makes a straight line"
            )
        return self

    @property
    def is_fixed(self) -> bool:
        """Whether all rounds would train the very same reward models, so that one does it."""
        return self.meta is None and self.demonstrations is None and self.start == "base"


class ImproveConfig(Config):
    """How the policy is optimised; only the part of the chosen way is read."""

    by: Literal["rl", "align", "best_of"] = Field(
        "rl",
        description="rl: `tamis rl`; align: DPO and its kin on the best against the worst of the "
        "round's responses; best_of: plain fine-tuning on the best of them",
    )
    start: Literal["previous", "start"] = Field(
        "previous", description="what each round optimises: the policy before it, or the first one"
    )
    rl: RLConfig = Field(default_factory=RLConfig, description="of `rl`")
    reward: RewardConfig = Field(
        default_factory=lambda: RewardConfig(scorers=(ROUND,)),
        description="what scores responses, whichever way; the scorer `round` stands for the "
        "reward models of the round, and others may stand beside it; gold, held_out and every are "
        "of `rl` alone",
    )
    align: AlignConfig = Field(
        default_factory=AlignConfig,
        description="of `align`; of `best_of` max_length and fit alone",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_reward(cls, given: Any) -> Any:
        """Put the scorer of the round, and what a preset of RL says of rewards, below the rest."""
        if not isinstance(given, Mapping):
            return given
        reward, rl = given.get("reward", {}), given.get("rl")
        if not isinstance(reward, Mapping):
            return given
        name = rl.get("preset") if isinstance(rl, Mapping) else getattr(rl, "preset", None)
        is_rl = given.get("by", "rl") == "rl" and name is not None
        base = dict(published(str(name)).reward) if is_rl else {}
        return {**given, "reward": merged({"scorers": (ROUND,), **base}, reward)}

    @model_validator(mode="after")
    def _check_reward(self) -> Self:
        if ROUND not in self.reward.scorers:
            raise ValueError(
                f"reward.scorers is {list(self.reward.scorers)}; expected {ROUND!r} among them, "
                "the reward models of the round"
            )
        return self


class MeasureConfig(Config):
    """How policies are measured on the held-out prompts, after every round and at the start."""

    sampling: Sampling = Field(
        default_factory=Sampling,
        description="how they answer; temperature 1 and no cuts, or the KL is that of another "
        "policy",
    )
    limit: int | None = Field(None, ge=1, description="held-out prompts at most; null = all")
    judge: JudgeConfig | None = Field(
        None,
        description="compares each policy with the start; as for `tamis judge`, but pairing is "
        "all unless it says otherwise",
    )
    gold: tuple[str, ...] = Field(
        (), description="scorers that nothing is optimised with; several: their mean"
    )

    @field_validator("judge", mode="before")
    @classmethod
    def _every_response(cls, given: Any) -> Any:
        """Let the judge see all responses that are sampled for it."""
        if isinstance(given, JudgeConfig) and "pairing" not in given.model_fields_set:
            return given.model_copy(update={"pairing": "all"})
        return {"pairing": "all", **given} if isinstance(given, Mapping) else given


class IterateConfig(Config):
    """A whole run of iterated RLHF."""

    out: str = Field(min_length=1, description="run directory")
    policy: ModelConfig = Field(description="the chat model that the first round starts from")
    data: IterateData = Field(description="pairs and prompts")
    reward_model: AdaptConfig = Field(description="the reward models, adapted in every round")
    rounds: int = Field(3, ge=1, description="rounds at most")
    sample: SampleConfig = Field(
        default_factory=SampleConfig,
        description="what each round samples before anything is trained",
    )
    improve: ImproveConfig = Field(
        default_factory=ImproveConfig, description="how the policy is optimised"
    )
    measure: MeasureConfig = Field(
        default_factory=MeasureConfig, description="how policies are measured"
    )
    stop: StopConfig = Field(
        default_factory=StopConfig, description="what ends the rounds before all are run"
    )
    seed: int = Field(0, ge=0, description="seed of samples, orders and heads")
    trackers: tuple[Tracker, ...] = Field(
        (),
        description="where the figures of each round are sent; curves of steps go where "
        "improve.rl.fit.trackers and reward_model.train.watch.trackers say",
    )
    run_name: str | None = Field(None, description="name of the run in the trackers")

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        num = self.sample.sampling.num
        needs = self.reward_model.meta is not None or self.improve.by != "rl"
        if needs and num < 2:
            raise ValueError(
                f"sample.sampling.num is {num}; expected 2 or more, so that responses to a prompt "
                "can be told apart"
            )
        if self.sample.best_of is not None:
            raise ValueError(
                f"sample.best_of is {self.sample.best_of}: a round samples before there is a "
                "reward model that could pick; leave it out (improve.by best_of trains on the best "
                "of all responses)"
            )
        if self.sample.endpoint is not None:
            raise ValueError("sample.endpoint serves one policy, and every round has another")
        return self
