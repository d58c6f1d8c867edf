"""Soften each label by the estimated probability that it is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamis.denoise import keep
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength, wrong_of

READS: frozenset[str] = frozenset()  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target 1 - P(label wrong) for all pairs.

    With Bradley-Terry the expected loss of a pair is then that of its unknown true label. A label
    more likely wrong than right is turned by it, as softly as the estimate is unsure. Ours; the
    published soft label is a constant (see ``soft``).

    Raises:
        ConfigError: P(label wrong) was not estimated.
    """
    wrong_N = wrong_of(strength, policy="calibrated")
    kept = keep.decide(strength, config=config)
    acted_N = np.ones(len(wrong_N), dtype=bool)
    return replace(kept, target_N=1.0 - wrong_N, acted_N=acted_N, reason="calibrated")
