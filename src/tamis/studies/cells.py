"""One cell of the noise bench: corrupt labels, suspect them, repair them, train, and test.

The reward models are linear heads on frozen features. All arms of a cell are trained together, in
the same order, and differ in their labels alone.

Shape legend: N training pairs, M test pairs, A arms, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamis.denoise.decision import Strength
from tamis.errors import DataError
from tamis.metrics import brier_skill, expected_calibration_error, pair_credit
from tamis.recipes.evidence import Evidence, by_trusted, evidence_on
from tamis.strength.summary import summarise
from tamis.strength.wrong import wrong_by_mixture
from tamis.studies.arms import AUTO, ORACLE, RAW, all_labels, wrong_frac
from tamis.studies.confident import Confident, confident_learning
from tamis.studies.demo_data import labelled
from tamis.studies.material import Bench, Features
from tamis.studies.noises import Drawn, Noise, draw
from tamis.studies.outcome import Outcome
from tamis.types import Pair
from tamis.vote.ballots import Ballots, collect, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.heads import Labels, head_votes, train_voter

VOTE, VOTE_APART, IDENTITIES = "vote", "vote, groups held out", "Bradley-Terry on identities"
LENGTH, COMBINED, CLEANLAB = "always the longer", "combined evidence", "cleanlab label quality"
TUNED = (RAW, AUTO, ORACLE)  # the arms that are fine-tuned as well
TRUSTED_STREAM = 6
LEAST_JUDGED = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ground:
    """What the cells of a data set share: its features as one matrix, and how close pairs are."""

    bench: Bench
    train_ND: Features
    test_MD: Features
    distance_N: Floats | None

    @classmethod
    def of(cls, bench: Bench, *, vote: VoteConfig) -> Ground:
        """Prepare a data set; without margins, the vote on true labels says what is close."""
        train_ND, test_MD = bench.joined()
        distance_N = bench.distance_N
        if distance_N is None:
            distance_N = np.abs(
                cast_vote(bench.train, train_ND, vote=vote, seed=0).headline_NK.mean(1)
            )
        return cls(bench, train_ND, test_MD, distance_N)


def run_cell(
    ground: Ground, noise: Noise, *, vote: VoteConfig, seed: int, num_trusted: int
) -> Outcome:
    """Run one noise under one seed.

    Raises:
        DataError: the data set lacks what the noise needs.
    """
    bench = ground.bench
    drawn = draw(noise, bench, seed=seed, distance_N=ground.distance_N)
    pairs = [labelled(p, wrong=bool(t)) for p, t in zip(bench.train, drawn.turned_N, strict=True)]
    sign_N1 = drawn.signs()
    diff_ND = ground.train_ND * sign_N1
    summary = summarise(cast_vote(pairs, diff_ND, vote=vote, seed=seed).headline_NK)
    evidence = evidence_on(pairs, mean_N=summary.mean_N, seed=seed)
    confident = confident_learning(summary.mean_N, seed=seed)
    suspicion = _suspicions(evidence, confident)
    if noise.kind == "votes":
        suspicion |= _further_votes(bench, pairs, sign_N1, vote=vote, seed=seed)
    mixture = wrong_by_mixture(evidence.odds_N)
    strength = Strength(summary.mean_N, summary.std_N, mixture.wrong_N)
    right_N = np.where(drawn.known_N, ~drawn.wrong_N, ~drawn.turned_N)
    labels = all_labels(strength, right_N=right_N, issue_N=confident.issue_N, bounds=bench.bounds)
    figures = {
        f"wrong labels, {name}": wrong_frac(asked, wrong_N=drawn.wrong_N, known_N=drawn.known_N)
        for name, asked in labels.items()
    }
    scores = _train(diff_ND, ground.test_MD, labels=labels, vote=vote, seed=seed)
    figures |= {f"mean gap, {name}": float(np.abs(gap_M).mean()) for name, gap_M in scores.items()}
    chance_N = None
    if _enough(drawn, num_trusted=num_trusted):
        chance_N = _trusted_chance(evidence, drawn, num_trusted=num_trusted, seed=seed)
        figures |= _calibration("trusted", chance_N, drawn)
        figures |= _calibration("mixture", np.where(drawn.known_N, mixture.wrong_N, np.nan), drawn)
    return Outcome(
        wrong_N=drawn.wrong_N,
        known_N=drawn.known_N,
        turned_N=drawn.turned_N,
        suspicion=suspicion,
        credit={name: pair_credit(gap_M) for name, gap_M in scores.items()},
        figures=figures,
        chance_N=chance_N,
        labels={name: labels[name] for name in TUNED},
    )


def cast_vote(pairs: Sequence[Pair], diff_ND: Features, *, vote: VoteConfig, seed: int) -> Ballots:
    """Let heads vote on pairs by the differences of their features, as labelled [N, D]."""
    members = voting_members(pairs, config=vote, seed=seed)
    return collect(members, head_votes(diff_ND, members=members, config=vote, seed=seed))


def _suspicions(evidence: Evidence, confident: Confident) -> dict[str, Floats]:
    found = {VOTE: -evidence.kinds["vote"], COMBINED: -evidence.odds_N}
    if "identity" in evidence.kinds:
        found[IDENTITIES] = -evidence.kinds["identity"]
    found[CLEANLAB] = -confident.quality_N
    found[LENGTH] = -evidence.kinds["length"]
    return found


def _further_votes(
    bench: Bench,
    pairs: Sequence[Pair],
    sign_N1: Features,
    *,
    vote: VoteConfig,
    seed: int,
) -> dict[str, Floats]:
    """Return the votes of each model alone, and the one with whole groups held out."""
    found = {}
    if len(bench.features) > 1:
        for label, (train_ND, _) in bench.features.items():
            ballots = cast_vote(pairs, train_ND * sign_N1, vote=vote, seed=seed)
            found[f"{VOTE}, {label} alone"] = -ballots.headline_NK.mean(axis=1)
    if bench.has_groups:
        apart = vote.model_copy(update={"fold_by": "group"})
        ballots = cast_vote(pairs, bench.joined()[0] * sign_N1, vote=apart, seed=seed)
        found[VOTE_APART] = -ballots.headline_NK.mean(axis=1)
    return found


def _train(
    diff_ND: Features,
    test_MD: Features,
    *,
    labels: Mapping[str, Labels],
    vote: VoteConfig,
    seed: int,
) -> dict[str, Floats]:
    """Train one reward head an arm on all pairs, and return its score gaps on the test pairs."""
    weights_AD = train_voter(
        diff_ND,
        trains_NH=np.ones((len(diff_ND), len(labels)), dtype=bool),
        config=vote,
        seed=seed,
        voter=0,
        labels=list(labels.values()),
    )
    scores_MA = test_MD @ weights_AD.T
    return {name: scores_MA[:, arm].astype(np.float64) for arm, name in enumerate(labels)}


def _enough(drawn: Drawn, *, num_trusted: int) -> bool:
    num_known, num_wrong = drawn.known_N.sum(), (drawn.wrong_N & drawn.known_N).sum()
    return bool(num_known >= num_trusted + LEAST_JUDGED and 0 < num_wrong < num_known)


def _trusted_chance(evidence: Evidence, drawn: Drawn, *, num_trusted: int, seed: int) -> Floats:
    """Fit P(label wrong) on a few pairs drawn at random; NaN there and where nothing is known."""
    rng = np.random.default_rng([seed, TRUSTED_STREAM])
    trusted = rng.choice(np.flatnonzero(drawn.known_N), num_trusted, replace=False)
    try:
        fitted = by_trusted(evidence, trusted=trusted, is_wrong_T=drawn.wrong_N[trusted])
    except DataError:  # hardly a label is wrong, so that 200 of them show none
        return np.full(len(drawn.known_N), np.nan)
    judged_N = drawn.known_N.copy()
    judged_N[trusted] = False
    return np.where(judged_N, fitted.wrong_N, np.nan)


def _calibration(name: str, chance_N: Floats, drawn: Drawn) -> dict[str, float]:
    judged_N = np.isfinite(chance_N)
    if not judged_N.any():
        return {}
    chance, wrong = chance_N[judged_N], drawn.wrong_N[judged_N]
    return {
        f"{name}: expected calibration error": expected_calibration_error(chance, wrong),
        f"{name}: Brier skill": brier_skill(chance, wrong),
        f"{name}: pairs judged": float(judged_N.sum()),
    }
