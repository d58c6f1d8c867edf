"""Settings of the vote stage."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tamis.types import Config

Estimator = Literal["cross_fitted", "in_sample", "out_of_bag"]

DEFAULT_ESTIMATORS: dict[str, tuple[Estimator, ...]] = {
    "head": ("cross_fitted", "in_sample"),
    "branch": ("out_of_bag",),
    "full": ("cross_fitted", "in_sample"),
}
HEAD_SETTINGS = {"epochs", "learning_rate", "batch_size", "l2"}


class BranchConfig(Config):
    """How `branch` voters are trained: all together, in one pass over the pairs."""

    num_layers: int = Field(
        2, ge=1, description="top blocks of the model that a voter updates, beside its head"
    )
    rank: int = Field(8, ge=1, description="rank of the updates")
    epochs: float = Field(1.0, gt=0, description="passes over the pairs; parts of one are allowed")
    batch_size: int = Field(16, ge=1, description="pairs of a step")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate of AdamW")


class VoteConfig(Config):
    """Who votes, how often, and on which pairs.

    ``in_sample`` votes are cast by voters on the pairs they were trained on (the published
    procedure); ``cross_fitted`` votes by further voters that have not seen the pair; ``out_of_bag``
    votes by the half of the voters that was not trained on the pair.
    """

    kind: Literal["head", "branch", "full"] = Field(
        "head",
        description="head: linear heads on frozen features; branch: heads and low-rank updates of "
        "the top blocks, in one pass; full: all weights are trained",
    )
    num_voters: int = Field(10, ge=1, le=1000, description="reward models in the ensemble")
    estimators: tuple[Estimator, ...] | None = Field(
        None,
        min_length=1,
        description="which votes to cast; strength is read from cross_fitted, else out_of_bag, "
        "else in_sample; None = out_of_bag for branch, cross_fitted and in_sample for the others",
    )
    num_folds: int = Field(5, ge=2, description="folds of the cross-fitted votes")
    fold_by: Literal["pair", "group"] = Field(
        "pair",
        description="hold out pair by pair, or by whole groups (prompts, debates, documents)",
    )
    epochs: int = Field(5, ge=1, description="passes of a head over its pairs")
    learning_rate: float = Field(0.02, gt=0, description="AdamW step of a head")
    batch_size: int = Field(256, ge=1, description="pairs in one step of a head")
    l2: float = Field(0.3, ge=0, description="penalty l2/2 * |w|^2 on a head's weights")
    branch: BranchConfig = Field(
        default_factory=BranchConfig, description="training of branch voters"
    )
    allow_slow: bool = Field(
        False, description="train `full` voters on more than 1,000 pairs without an accelerator"
    )

    @property
    def estimators_cast(self) -> tuple[Estimator, ...]:
        """The estimators asked for, or those that the kind of voter has by default."""
        return DEFAULT_ESTIMATORS[self.kind] if self.estimators is None else self.estimators

    @model_validator(mode="after")
    def _check_estimators(self) -> VoteConfig:
        cast = self.estimators_cast
        if len(set(cast)) < len(cast):
            raise ValueError(f"estimators are {', '.join(cast)}; expected each at most once")
        if self.kind == "branch" and cast != ("out_of_bag",):
            raise ValueError(
                f"estimators are {', '.join(cast)} and kind is branch; branch voters cast "
                "out_of_bag votes alone, and the in-sample votes come with them"
            )
        if "out_of_bag" in cast and self.num_voters % 2:
            raise ValueError(
                f"num_voters is {self.num_voters}; out_of_bag votes need an even number, "
                "since half of the voters hold out a pair"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Return all settings that the votes of this kind of voter depend on."""
        of_heads = set() if self.kind == "head" else HEAD_SETTINGS
        settings = self.model_dump(exclude={"allow_slow", "branch"} | of_heads)
        settings["estimators"] = sorted(self.estimators_cast)
        if self.kind == "branch":
            settings["branch"] = self.branch.model_dump()
        return settings

    def voter_identity(self) -> dict[str, Any]:
        """Return the settings that each voter depends on: all but how many there are."""
        settings = self.identity()
        del settings["num_voters"]
        return settings
