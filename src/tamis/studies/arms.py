"""The arms that a study compares: what each asks of a reward head, given the same labels.

Shape legend: N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tamis import plugins
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength
from tamis.vote.heads import Labels

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

RAW, ORACLE, AUTO = "raw", "oracle: true labels", "auto"
CONFIDENT = "confident learning: drop"

# the policies as they were before any study was run; auto is the one that a user gets unasked
POLICIES: Mapping[str, DenoiseConfig] = {
    AUTO: DenoiseConfig(policy="auto"),
    "calibrated soft labels": DenoiseConfig(policy="calibrated"),
    "flip 10%": DenoiseConfig(policy="flip"),
    "margin": DenoiseConfig(policy="margin"),
    "flip 10% + margin": DenoiseConfig(policy="flip_margin"),
    "soft below 0": DenoiseConfig(policy="soft"),
    "soft below 0 + margin": DenoiseConfig(policy="soft_margin"),
    "flip 10% + soft": DenoiseConfig(policy="flip_soft"),
    "flip 10% + soft + margin": DenoiseConfig(policy="flip_soft_margin"),
    "constant smoothing 0.1": DenoiseConfig(policy="smooth"),
    "flip below 0": DenoiseConfig(policy="flip", below=0.0),
    "drop 10%": DenoiseConfig(policy="drop"),
    "drop below 0": DenoiseConfig(policy="drop", below=0.0),
}
PRIORS = {"PCRM, length": "length", "PCRM, cosine": "cosine"}
NAMES = (RAW, ORACLE, *POLICIES, *PRIORS, CONFIDENT)


def all_labels(
    strength: Strength, *, right_N: Bools, issue_N: Bools, bounds: Mapping[str, Floats]
) -> dict[str, Labels]:
    """Return what each arm asks of the N pairs, by name, in the order of ``NAMES``.

    ``raw`` believes every label, ``oracle`` knows which are right (``right_N``), the policies read
    the strength, PCRM believes every label and bounds the gaps, and confident learning leaves out
    the issues that cleanlab found.
    """
    raw = _hard(np.ones(len(right_N)))
    found = {RAW: raw, ORACLE: _hard(right_N.astype(np.float64))}
    for name, config in POLICIES.items():
        decision: Decision = plugins.load("denoise", config.policy)(strength, config=config)
        found[name] = Labels(decision.target_N, decision.margin_N, decision.weight_N)
    for name, prior in PRIORS.items():
        found[name] = replace(raw, bound_N=bounds[prior])
    found[CONFIDENT] = replace(raw, weight_N=(~issue_N).astype(np.float64))
    return found


def wrong_frac(labels: Labels, *, wrong_N: Bools, known_N: Bools) -> float:
    """Return the share of wrong labels among the pairs that an arm leaves in, truth known."""
    used_N = (labels.weight_N > 0) & known_N
    believed_wrong_N = labels.target_N < 0.5
    return float((believed_wrong_N != wrong_N)[used_N].mean())


def _hard(target_N: Floats) -> Labels:
    return Labels(target_N, np.zeros(len(target_N)), np.ones(len(target_N)))
