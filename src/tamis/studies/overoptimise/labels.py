"""What proxies are told: pairs with a known share of wrong labels, and what they are worth.

Shape legend: N pairs, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis import plugins
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength, to_verdicts
from tamis.models.config import ModelConfig
from tamis.recipes.evidence import by_trusted, evidence_on, wrong_labels
from tamis.strength.summary import summarise
from tamis.strength.wrong import WrongLabels
from tamis.studies.cells import cast_vote
from tamis.studies.demo_data import labelled
from tamis.studies.material import Bench, Features
from tamis.studies.noises import Drawn, Noise, draw
from tamis.studies.overoptimise.arms import NUM_CHECKED, Labels
from tamis.studies.overoptimise.plan import OverPlan
from tamis.types import Pair, Verdict
from tamis.vote.frozen import depth_scales, flatten, frozen_differences

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
DENOISE = DenoiseConfig(policy="auto")
STREAM = 31  # of random numbers: which labels are checked


@dataclass(frozen=True, slots=True)
class Labelled:
    """Training pairs as they are labelled, what each is worth, and the share believed wrong."""

    pairs: Sequence[Pair]
    verdicts: Sequence[Verdict]
    noise_rate: float | None = None

    def weight_on(self, wrong_N: Bools) -> float:
        """Return the share of the weight that lies on these pairs."""
        weight_N = np.array([verdict.weight for verdict in self.verdicts])
        return float(weight_N[wrong_N].sum() / weight_N.sum())

    def largest_change(self) -> float:
        """Return the largest change of a weight or of a target, from 1."""
        told = [(verdict.weight, verdict.target) for verdict in self.verdicts]
        return float(np.abs(np.array(told, np.float64) - 1.0).max())


@dataclass(frozen=True, slots=True)
class Labeller:
    """Labels the same pairs under every seed.

    Attributes:
        truth: N pairs in true orientation.
        diff_ND: differences of their features, chosen minus rejected, for voters.
        plan: of the study.
    """

    truth: Sequence[Pair]
    diff_ND: Features
    plan: OverPlan

    @classmethod
    def of(
        cls, truth: Sequence[Pair], *, model: ModelConfig, plan: OverPlan, cache: Path
    ) -> Labeller:
        """Read the pairs with the model that voters stand on."""
        diff_NLD = frozen_differences(truth, model=model, cache=cache)
        return cls(truth, flatten(diff_NLD, scale_L=depth_scales(diff_NLD)), plan)

    def labels(self, kind: Labels, *, seed: int) -> Labelled:
        """Return the pairs of a seed as an arm gets them; it sees neither margins nor the truth."""
        drawn = self.drawn(seed)
        if kind == "true":
            pairs = [_blind(pair) for pair in self.truth]
            return Labelled(pairs, [Verdict(pair.id) for pair in pairs])
        pairs = [
            labelled(_blind(pair), wrong=bool(turned))
            for pair, turned in zip(self.truth, drawn.turned_N, strict=True)
        ]
        if kind == "given":
            return Labelled(pairs, [Verdict(pair.id) for pair in pairs])
        return self._denoised(pairs, drawn, seed=seed, checked=kind == "trusted")

    def drawn(self, seed: int) -> Drawn:
        """Return which labels are wrong under a seed."""
        noise = Noise(self.plan.noise, self.plan.wrong_frac)
        margins = np.array([pair.margin for pair in self.truth], np.float64)
        bench = Bench("answers", self.truth, (), {}, margins, {})
        return draw(noise, bench, seed=seed)

    def _denoised(
        self, pairs: Sequence[Pair], drawn: Drawn, *, seed: int, checked: bool
    ) -> Labelled:
        ballots = cast_vote(pairs, self.diff_ND * drawn.signs(), vote=self.plan.vote, seed=seed)
        summary = summarise(ballots.headline_NK)
        found = self._wrong(pairs, summary.mean_N, seed=seed, known=drawn if checked else None)
        strength = Strength(summary.mean_N, summary.std_N, found.wrong_N)
        decision: Decision = plugins.load("denoise", DENOISE.policy)(strength, config=DENOISE)
        verdicts = to_verdicts([pair.id for pair in pairs], decision)
        return Labelled(pairs, verdicts, float(found.wrong_N.mean()))

    def _wrong(
        self, pairs: Sequence[Pair], mean_N: Floats, *, seed: int, known: Drawn | None
    ) -> WrongLabels:
        """Estimate P(label wrong), on some labels whose truth is known or on none."""
        evidence = evidence_on(pairs, mean_N=mean_N, seed=seed)
        if known is None:
            return wrong_labels(pairs, evidence, trusted=None)
        rng = np.random.default_rng([seed, STREAM])
        checked = rng.permutation(len(pairs))[: min(NUM_CHECKED, len(pairs) // 2)]
        return by_trusted(evidence, trusted=checked, is_wrong_T=known.wrong_N[checked])


def _blind(pair: Pair) -> Pair:
    return replace(pair, margin=None, gold=None)
