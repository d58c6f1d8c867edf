"""Soften the labels of the suspected pairs by a constant."""

from __future__ import annotations

import numpy as np

from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision, Strength, suspects

READS = SUSPECTS | {"alpha"}  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target 1 - alpha for suspected pairs (by default those with a strength below 0).

    ``share: 1.0`` smooths every label, which is ordinary label smoothing.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), eq. 5; alpha is unknown there, 0.1 is ours.
    """
    n = len(strength.mean_N)
    suspect_N = suspects(strength, config=config, default_below=0.0)
    target_N = np.where(suspect_N, 1.0 - config.alpha, 1.0)
    return Decision(target_N, np.zeros(n), np.ones(n), suspect_N, "soft")
