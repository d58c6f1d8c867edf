"""Take the soft label from the people who voted on the pair, where several did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamis.denoise import keep
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength

PRIOR_VOTES = 1.0  # of either side, which keep two equal votes from being a certainty


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target (c + 1) / (c + r + 2) where c people preferred chosen and r rejected.

    That is the mean of the share of all people who prefer chosen, under a uniform prior; a tie
    counts half for each side. Where P(label wrong) is known, the two votes of the prior are split
    by it instead of evenly. Pairs without votes of people keep their label.

    Ours; "annotator-aware soft labels" are common practice, without one source.
    """
    kept = keep.decide(strength, config=config)
    if strength.people_N2 is None:
        return kept
    right_N = 0.5 if strength.wrong_N is None else 1.0 - strength.wrong_N
    chosen_N, rejected_N = strength.people_N2.T
    known_N = np.isfinite(chosen_N) & (chosen_N + rejected_N > 0)
    total_N = np.where(known_N, chosen_N + rejected_N, 0.0)
    share_N = (np.where(known_N, chosen_N, 0.0) + 2 * PRIOR_VOTES * right_N) / (
        total_N + 2 * PRIOR_VOTES
    )
    return replace(kept, target_N=np.where(known_N, share_N, 1.0), acted_N=known_N, reason="people")
