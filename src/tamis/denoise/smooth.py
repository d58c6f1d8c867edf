"""Soften every label by a constant: ordinary label smoothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamis.denoise import keep
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength

READS = frozenset({"alpha"})  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target 1 - alpha for all pairs, whatever the vote says.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), eq. 5, the instance-independent baseline.
    """
    kept = keep.decide(strength, config=config)
    n = len(strength.mean_N)
    target_N = np.full(n, 1.0 - config.alpha)
    return replace(kept, target_N=target_N, acted_N=np.ones(n, dtype=bool), reason="smooth")
