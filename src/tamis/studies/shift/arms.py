"""The arms of the shift study: what each changes of plain training, with the published settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tamis.errors import ConfigError
from tamis.train.config import ObjectiveConfig, TrainConfig

PLAIN, METARM, METARM_OUTER, COMBINED = "plain", "metarm", "metarm-outer", "combined"
MEMBER = "member"
# the last three as in metrics.ensemble
How = Literal["one", "member", "average", "mean", "min", "lower"]
Meta = Literal["none", "published", "outer"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train.

    Attributes:
        name: short, for files and options.
        title: for tables.
        what: what it changes of plain training, in a sentence.
        terms: terms of the objective with their settings.
        base_coefficient: of the pair loss.
        meta: what each step moves by first: nothing, the gradient as ``published`` (MetaRM), or the
            same in the metric of the ``outer`` step (see `tamis.train.meta`).
        sampler: how pairs are drawn.
        how: ``one`` model; or of several with rates and head dropouts of their own, the first
            ``member``, the ``average`` of their weights, the ``mean`` of their scores, or, of
            standardised scores, the ``min`` or the ``lower`` bound of the mean.
    """

    name: str
    title: str
    what: str
    terms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    base_coefficient: float = 1.0
    meta: Meta = "none"
    sampler: Literal["shuffle", "prioritised"] = "shuffle"
    how: How = "one"

    def train(self, plain: TrainConfig, *, responses: Path, ratio: float) -> TrainConfig:
        """Return the settings of the arm, given those of plain training.

        The published inner step of MetaRM is as long as the learning rate; that in the metric of
        the outer step has ``ratio`` of its length.
        """
        objective: dict[str, Any] = {
            "terms": {name: dict(settings) for name, settings in self.terms.items()},
            "base_coefficient": self.base_coefficient,
        }
        if self.meta == "published":
            objective["meta"] = {"path": str(responses), "eta": plain.learning_rate}
        elif self.meta == "outer":
            objective["meta"] = {"path": str(responses), "eta": ratio, "unit": "steps"}
        return TrainConfig.model_validate(
            {
                **plain.model_dump(),
                "objective": ObjectiveConfig.model_validate(objective).model_dump(),
                "sampler": self.sampler,
            }
        )


SIMCSE = {"simcse": {"on": "pairs"}}
SIMCSE_DIFF = {"simcse": {"on": "differences"}}
GRM_SFT = {"grm": {"form": "sft"}}
GRM = 0.99  # published coefficient of the pair loss beside a text regulariser

_ARMS = (
    Arm(PLAIN, "plain", "Bradley-Terry loss alone"),
    Arm("simcse", "SimCSE", "texts told apart from those of the batch", SIMCSE),
    Arm("simcse-diff", "SimCSE on differences", "differences told apart", SIMCSE_DIFF),
    Arm("swav", "SwAV", "texts assigned to 50 prototypes", {"swav": {"on": "pairs"}}),
    Arm(
        "swav-diff",
        "SwAV on differences",
        "differences assigned to 20 prototypes",
        {"swav": {"on": "differences", "coefficient": 0.5}},
    ),
    Arm(
        METARM,
        "MetaRM, as published",
        "the pair loss where a shifted policy's answers differ more, a bare gradient away",
        meta="published",
    ),
    Arm(
        METARM_OUTER,
        "MetaRM",
        "the pair loss where a shifted policy's answers differ more, as far away as a step goes",
        meta="outer",
    ),
    Arm("grm-sft", "GRM, SFT", "the better answer stays likely", GRM_SFT, GRM),
    Arm(
        "grm-dpo",
        "GRM, DPO",
        "the better answer stays the likelier one",
        {"grm": {"form": "dpo"}},
        GRM,
    ),
    Arm(
        "grm-reference",
        "GRM, DPO with reference",
        "the same, compared with the starting model",
        {"grm": {"form": "dpo_reference"}},
        GRM,
    ),
    Arm(
        "prioritised",
        "prioritised sampling",
        "pairs that the model gets wrong come more often and count less",
        sampler="prioritised",
    ),
    Arm(MEMBER, "one of three models", "the first of the next three, alone", how="member"),
    Arm("warm", "WARM", "the average of three models' weights", how="average"),
    Arm("ensemble", "ensemble, mean", "the mean of the same three models' scores", how="mean"),
    Arm("min", "ensemble, min", "the lowest of the same scores, standardised", how="min"),
    Arm(
        "lower",
        "ensemble, mean − std",
        "a lower bound of the same scores, standardised",
        how="lower",
    ),
    Arm(
        COMBINED,
        "prioritised sampling + GRM",
        "both together, which `make bench-methods` chose",
        GRM_SFT,
        GRM,
        sampler="prioritised",
    ),
)
ARMS: Mapping[str, Arm] = {arm.name: arm for arm in _ARMS}
ALL_ARMS = tuple(ARMS)
FULL_ARMS = ("simcse", "swav", METARM, "grm-dpo", "grm-reference")  # dearer, or of less hope
DEFAULT_ARMS = tuple(name for name in ARMS if name not in FULL_ARMS)
QUICK_ARMS = (PLAIN, "simcse-diff", METARM_OUTER, COMBINED)
TOGETHER = ("warm", "ensemble", "min", "lower")  # of the models of which MEMBER is one


def arm_of(name: str) -> Arm:
    """Return an arm.

    Raises:
        ConfigError: there is no such arm.
    """
    if name not in ARMS:
        raise ConfigError(f"no arm {name!r}: expected one of {', '.join(ARMS)}")
    return ARMS[name]
