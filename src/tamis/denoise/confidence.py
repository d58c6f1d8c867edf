"""Weigh each pair by how sure its label is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamis.denoise import keep
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength, mean_one, wrong_of

READS: frozenset[str] = frozenset()  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return weight max(0, 1 - 2 P(label wrong)), scaled to the mean 1 over the pairs left in.

    At a gap of 0, 1 - 2 P(wrong) is the factor by which the expected gradient of a symmetric loss
    under the true label is smaller than under the given one. Labels more likely wrong than right
    are left out. Ours.

    Raises:
        ConfigError: P(label wrong) was not estimated.
    """
    wrong_N = wrong_of(strength, policy="confidence")
    kept = keep.decide(strength, config=config)
    weight_N = mean_one(np.maximum(0.0, 1.0 - 2.0 * wrong_N))
    acted_N = np.ones(len(wrong_N), dtype=bool)
    return replace(kept, weight_N=weight_N, acted_N=acted_N, reason="confidence")
