"""Exchange the labels of the suspected pairs."""

from __future__ import annotations

import numpy as np

from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision, Strength, suspects

READS = SUSPECTS  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target 0 for suspected pairs (by default the lowest 10%).

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), section 2.4. The share that the paper flips
    on the whole data set is not stated; 10% is read off the caption of its figure 26.
    """
    n = len(strength.mean_N)
    suspect_N = suspects(strength, config=config, default_share=0.1)
    return Decision(np.where(suspect_N, 0.0, 1.0), np.zeros(n), np.ones(n), suspect_N, "flip")
