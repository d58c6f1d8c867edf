"""What `tamis align` minimises, and the published objectives by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from tamis.errors import ConfigError
from tamis.policy.settings import PolicyFit
from tamis.train.config import TermValue
from tamis.types import Config

CORRECTED = "noise_corrected"


class AlignConfig(Config):
    """How a policy is trained on judged pairs."""

    beta: float = Field(
        0.1, gt=0, description="what log ratios are multiplied with; the implied reward's scale"
    )
    loss: str = Field(
        "bradley_terry", description="module of tamis.losses, or a dotted path of a module"
    )
    loss_settings: dict[str, float] = Field(
        default_factory=dict, description="settings of the loss, such as flip_rate"
    )
    base_coefficient: float = Field(
        1.0, ge=0, description="what the loss on pairs is multiplied with"
    )
    terms: dict[str, dict[str, TermValue]] = Field(
        default_factory=dict,
        description="terms to add, each with its coefficient and settings; a module of "
        "tamis.policy.terms, one of tamis.terms that reads scores alone, or a dotted path",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="share of the labels believed wrong (cDPO); for certain targets alone",
    )
    max_length: int = Field(
        1024, ge=8, description="tokens of prompt and answer; what is over is cut at the end"
    )
    reference: str | None = Field(
        None, description="policy that log ratios are taken against; None = the start"
    )
    fit: PolicyFit = Field(default_factory=PolicyFit, description="how the weights are moved")

    @model_validator(mode="after")
    def _check_together(self) -> AlignConfig:
        if self.base_coefficient == 0 and not self.terms:
            raise ValueError(
                "base_coefficient is 0 and there are no terms, so nothing is minimised; name a "
                "term, or choose a base_coefficient above 0"
            )
        if self.label_smoothing and self.loss == CORRECTED:
            raise ValueError(
                f"label_smoothing is {self.label_smoothing:g} and loss is {CORRECTED}: both allow "
                "for wrong labels; choose one"
            )
        return self


COSINE = {"schedule": "cosine"}
# those of PCRM's released code for reward models and DPO: no warm-up
PCRM = {"schedule": "cosine", "warmup_frac": 0.0, "betas": (0.9, 0.95)}
# name -> settings on top of the defaults, as published where there is a publication
OBJECTIVES: Mapping[str, Mapping[str, Any]] = {
    "dpo": {},
    "cdpo": {"label_smoothing": 0.1},
    "robust": {"loss": CORRECTED, "loss_settings": {"flip_rate": 0.1}},
    "soft": {},
    "pcrm": {"terms": {"pcrm": {"prior": "length"}}, "fit": {"optimiser": PCRM}},
    "pcrm-cosine": {"terms": {"pcrm": {"prior": "cosine"}}, "fit": {"optimiser": PCRM}},
    "rpo": {
        "beta": 0.01,
        "terms": {"rpo": {"reduction": "sum", "coefficient": 0.005}},
        "fit": {"learning_rate": 5e-7, "optimiser": COSINE},
    },
    "rpo-mean": {
        "beta": 0.5,
        "terms": {"rpo": {"reduction": "mean", "coefficient": 0.2}},
        "fit": {"learning_rate": 5e-7, "optimiser": COSINE},
    },
    "spo": {"terms": {"spo": {}}},
    "spo-random": {"terms": {"spo": {"delete": "random"}}},
    "aihf": {"terms": {"demonstrations": {}}, "fit": {"learning_rate": 5e-7}},
}
READS_TARGETS = frozenset({"soft"})  # these say nothing without a file of verdicts


def preset(name: str) -> dict[str, Any]:
    """Return the settings of a named objective, to be changed and completed.

    Raises:
        ConfigError: there is none of that name.

    >>> preset("cdpo")
    {'label_smoothing': 0.1}
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"unknown objective {name!r}; expected one of {', '.join(OBJECTIVES)}")
    return {key: _copied(value) for key, value in OBJECTIVES[name].items()}


def _copied(value: Any) -> Any:
    return {key: _copied(part) for key, part in value.items()} if isinstance(value, dict) else value
