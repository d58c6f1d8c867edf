"""Flip the suspected pairs and give every pair its adaptive margin."""

from __future__ import annotations

from dataclasses import replace

from tamis.denoise import flip
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision, Strength, adaptive_margin

READS = SUSPECTS | {"margin"}  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target 0 for suspected pairs and margin mu for all.

    A flipped pair, read in its new orientation, has target 1 and margin -mu = abs(mu).

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), section 2.5, arm "Flip + Margin".
    """
    flipped = flip.decide(strength, config=config)
    return replace(adaptive_margin(flipped, strength, config=config), reason="flip_margin")
