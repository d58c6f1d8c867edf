"""Soften the suspected pairs and give every pair its adaptive margin."""

from __future__ import annotations

from dataclasses import replace

from tamis.denoise import soft
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision, Strength, adaptive_margin

READS = SUSPECTS | {"alpha", "margin"}  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target 1 - alpha for suspected pairs (strength below 0) and margin mu for all.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), section 2.5, arm "Soft Label + Margin".
    """
    softened = soft.decide(strength, config=config)
    return replace(adaptive_margin(softened, strength, config=config), reason="soft_margin")
