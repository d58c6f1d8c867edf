"""Ask of every pair the gap that the vote saw: the adaptive margin."""

from __future__ import annotations

from dataclasses import replace

from tamis.denoise import keep
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength, adaptive_margin

READS = frozenset({"between", "margin"})  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return the strength as the margin of all pairs, and leave the labels alone.

    Reference: "Secrets of RLHF II" (arXiv 2401.06080), eq. 6; see ``decision.margins``.
    """
    kept = keep.decide(strength, config=config)
    return replace(adaptive_margin(kept, strength, config=config), reason="margin")
