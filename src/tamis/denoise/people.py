"""Take the soft label from the people who voted on the pair, where several did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamis.denoise import keep
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength

READS: frozenset[str] = frozenset()  # of the settings

PRIOR_VOTES = 1.0  # of either side, which keep two equal votes from being a certainty


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Return target (c + 1) / (c + r + 2) where c people preferred chosen and r rejected.

    That is the mean of the share of all people who prefer chosen, under a uniform prior; a tie
    counts half for each side. Pairs without votes of people keep their label. The vote of the
    reward models is not read.

    Ours; "annotator-aware soft labels" are common practice, without one source.
    """
    kept = keep.decide(strength, config=config)
    if strength.people_N2 is None:
        return kept
    chosen_N, rejected_N = strength.people_N2.T
    known_N = np.isfinite(chosen_N) & (chosen_N + rejected_N > 0)
    total_N = np.where(known_N, chosen_N + rejected_N, 0.0)
    share_N = (np.where(known_N, chosen_N, 0.0) + PRIOR_VOTES) / (total_N + 2 * PRIOR_VOTES)
    return replace(kept, target_N=np.where(known_N, share_N, 1.0), acted_N=known_N, reason="people")
