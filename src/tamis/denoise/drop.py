"""Leave the suspected pairs out of training."""

from __future__ import annotations

import numpy as np

from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision, Strength, suspects

READS = SUSPECTS  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return weight 0 for suspected pairs (by default the lowest 10%)."""
    n = len(strength.mean_N)
    suspect_N = suspects(strength, config=config, default_share=0.1)
    return Decision(np.ones(n), np.zeros(n), np.where(suspect_N, 0.0, 1.0), suspect_N, "drop")
