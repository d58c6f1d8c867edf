"""Settings of the denoise stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tamis.types import Config


class DenoiseConfig(Config):
    """Which policy decides, which pairs it suspects, and how hard it acts.

    Suspected are the ``share`` of pairs with the lowest strength, those with a strength ``below`` a
    value, or those of a slice ``between`` two shares. At most one of the three may be given;
    without any, each policy takes its published choice (flip and drop: the lowest 10%; soft labels:
    strength below 0). Stages refuse a setting that the policy does not read.
    """

    policy: str = Field("auto", description="module in tamis.denoise, or a dotted path")
    share: float | None = Field(None, ge=0, le=1, description="suspect this lowest share of pairs")
    below: float | None = Field(None, description="suspect pairs with a strength below this value")
    between: tuple[float, float] | None = Field(
        None, description="suspect the pairs between these shares of the strengths, ascending"
    )
    outside: Literal["keep", "drop"] = Field(
        "keep", description="what becomes of the pairs that are not suspected"
    )
    alpha: float = Field(0.1, ge=0, le=0.5, description="soft label: target 1 - alpha")
    margin: Literal["raw", "clipped"] = Field(
        "raw", description="margin policies: strength as it is, or never below 0 once oriented"
    )
    trusted: str | None = Field(
        None,
        description="what P(label wrong) is fitted on: gold, votes (of at least 3 people), or a "
        "file with id and gold; None = a mixture that needs no trusted labels",
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> DenoiseConfig:
        given = [name for name in ("share", "below", "between") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give {' or '.join(f'`{name}`' for name in given)}, not both")
        if self.outside == "drop" and not given:
            raise ValueError(
                "outside is drop and nothing says which pairs are suspected; give `share`, "
                "`below` or `between`"
            )
        if self.between is not None and not 0 <= self.between[0] < self.between[1] <= 1:
            raise ValueError(
                f"between is {list(self.between)}; expected two shares in [0, 1], rising"
            )
        return self
