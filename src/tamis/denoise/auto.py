"""What Tamis does when nobody says what to do: fixed beforehand, blind to the truth."""

from __future__ import annotations

from dataclasses import replace

from tamis.denoise import confidence, keep
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength

READS: frozenset[str] = frozenset()  # of the settings


def decide(strength: Strength, *, config: DenoiseConfig) -> Decision:
    """Weigh each pair by the confidence in its label (see ``confidence``).

    Chosen on held-out training debates, where it is the best of the arms at 30% flipped labels and
    costs nothing at 0% (``make bench-settings``; the log has the table). P(label wrong) carries
    the amount: where the surest votes agree with their labels hardly anything changes. Every label
    is kept where there are too few pairs to estimate it.
    """
    if strength.wrong_N is None:
        return keep.decide(strength, config=config)
    return replace(confidence.decide(strength, config=config), reason="auto")
