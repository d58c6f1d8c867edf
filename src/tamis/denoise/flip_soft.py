"""Flip the suspected pairs, and soften what was flipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamis.denoise import flip
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision, Strength

READS = SUSPECTS | {"alpha"}  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target alpha for suspected pairs (by default the lowest 10%).

    Read in its new orientation, a flipped pair has target 1 - alpha.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), section 2.4, "soft label" on the flipped
    lowest 10% (its figure 23); alpha is unknown there, 0.1 is ours.
    """
    flipped = flip.decide(strength, config=config)
    target_N = np.where(flipped.acted_N, config.alpha, flipped.target_N)
    return replace(flipped, target_N=target_N, reason="flip_soft")
