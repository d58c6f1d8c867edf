"""Flip the suspected pairs, soften what was flipped, and give every pair its adaptive margin."""

from __future__ import annotations

from dataclasses import replace

from tamis.denoise import flip_soft
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision, Strength, adaptive_margin

READS = SUSPECTS | {"alpha", "margin"}  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target alpha for suspected pairs (by default the lowest 10%) and margin mu for all.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), section 2.4, "soft label + margin" on the
    flipped lowest 10% (its figure 23, where it is the best treatment).
    """
    flipped = flip_soft.decide(strength, config=config)
    return replace(adaptive_margin(flipped, strength, config=config), reason="flip_soft_margin")
