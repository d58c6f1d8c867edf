"""Does denoising help? Raw, denoised and gold labels on real votes and with further flips.

Everything is trained on the training debates with labels whose truth is known, and tested on
debates that no voter, policy or head has seen. The reward models compared are heads on frozen
features, so that many seeds cost seconds; they differ in their labels alone.

Shape legend: N pairs, S seeds, K voters, A arms, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis import plugins
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Decision, Strength
from tamis.metrics import (
    cluster_bootstrap,
    detection,
    length_delta,
    pair_credit,
    paired_difference,
    text_ids,
)
from tamis.recipes.evidence import evidence_on, wrong_labels
from tamis.strength.summary import summarise
from tamis.studies.demo_data import extra_flips, labelled, one_vote_is_wrong
from tamis.types import Config, Pair
from tamis.vote.ballots import Ballots, collect, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.heads import Labels, head_votes, train_heads
from tamis.vote.table import suspicions

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Features = NDArray[np.float32]

POLICIES: Mapping[str, DenoiseConfig] = {
    "flip 10%": DenoiseConfig(policy="flip", share=0.1),
    "flip below 0": DenoiseConfig(policy="flip", below=0.0),
    "soft + margin": DenoiseConfig(policy="soft_margin"),
    "drop below 0": DenoiseConfig(policy="drop", below=0.0),
    "calibrated": DenoiseConfig(policy="calibrated"),
    "auto": DenoiseConfig(policy="auto"),
}


class StudyConfig(Config):
    """What the study repeats and compares."""

    seeds: tuple[int, ...] = (0, 1, 2)
    flips: tuple[float, ...] = (0.0, 0.3)
    denoised: str = "drop below 0"
    vote: VoteConfig = VoteConfig()


@dataclass(frozen=True, slots=True)
class Material:
    """Pairs in gold orientation, their feature differences, and which of them train."""

    pairs: Sequence[Pair]
    diff_ND: Features
    train_N: Bools

    def part(self, mask_N: Bools) -> tuple[list[Pair], Features]:
        """Return the pairs and feature differences that the mask marks."""
        chosen = [pair for pair, used in zip(self.pairs, mask_N, strict=True) if used]
        return chosen, np.ascontiguousarray(self.diff_ND[mask_N])


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One seed under one noise: suspicion scores, truth, and each arm's credit on the test."""

    suspicion: dict[str, Floats]
    wrong_N: Bools
    wrong_after: dict[str, float]
    credit: dict[str, Floats]


def run_study(
    material: Material,
    *,
    config: StudyConfig,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Run all seeds and noises and return the study's report (see ``tamis.report``).

    Intervals are cluster bootstraps over arguments (a pair joins two of them); they do not include
    the spread between seeds, which is listed beside them.
    """
    test_pairs, _ = material.part(~material.train_N)
    train_pairs, _ = material.part(material.train_N)
    report: dict[str, Any] = {
        "title": "Does denoising help?",
        "seeds": list(config.seeds),
        "num_seeds": len(config.seeds),
        "denoised": config.denoised,
        "num_train_pairs": len(train_pairs),
        "num_test_pairs": len(test_pairs),
        "noise_frac": {},
        "detection": [],
        "arms": [],
        "differences": [],
    }
    test_ids_N2, train_ids_N2 = text_ids(test_pairs), text_ids(train_pairs)
    for flipped_frac in config.flips:
        noise = "real votes" if flipped_frac == 0 else f"real votes + {flipped_frac:.0%} flips"
        outcomes = []
        for seed in config.seeds:
            outcomes.append(_run(material, seed=seed, flipped_frac=flipped_frac, config=config))
            if advance is not None:
                advance(1)
        report["noise_frac"][noise] = float(np.mean([o.wrong_N.mean() for o in outcomes]))
        report["detection"] += _detection_rows(outcomes, noise=noise, clusters=train_ids_N2)
        report["arms"] += _arm_rows(outcomes, noise=noise, clusters=test_ids_N2)
        report["differences"] += _difference_rows(
            outcomes, noise=noise, clusters=test_ids_N2, denoised=config.denoised
        )
    longer = cluster_bootstrap(pair_credit(length_delta(test_pairs)), clusters=test_ids_N2, seed=0)
    report["baselines"] = [{"name": "always the longer", "accuracy": asdict(longer)}]
    report["findings"] = findings(report)
    return report


def _run(material: Material, *, seed: int, flipped_frac: float, config: StudyConfig) -> _Outcome:
    gold_pairs, gold_diff_ND = material.part(material.train_N)
    _, test_diff_ND = material.part(~material.train_N)
    vote_wrong_N = one_vote_is_wrong(material.pairs, seed=seed)[material.train_N]
    wrong_N = vote_wrong_N ^ extra_flips(len(gold_pairs), flipped_frac=flipped_frac, seed=seed)
    pairs = [labelled(p, wrong=bool(w)) for p, w in zip(gold_pairs, wrong_N, strict=True)]
    diff_ND = gold_diff_ND * np.where(wrong_N, -1, 1).astype(np.float32)[:, None]

    by_pair = config.vote
    by_debate = by_pair.model_copy(update={"fold_by": "group", "estimators": ("cross_fitted",)})
    ballots = _vote(pairs, diff_ND, config=by_pair, seed=seed)
    apart = _vote(pairs, diff_ND, config=by_debate, seed=seed)
    scores = suspicions(pairs, ballots=ballots, config=by_pair, seed=seed)
    summary = summarise(ballots.headline_NK)
    evidence = evidence_on(pairs, mean_N=summary.mean_N, seed=seed)
    wrong = wrong_labels(pairs, evidence, trusted=None)
    suspicion = {
        "vote, cross-fitted by pair": scores["cross-fitted vote"],
        "vote, cross-fitted by debate": -apart.headline_NK.mean(axis=1),
        "vote, in-sample": scores["in-sample vote"],
        "Bradley-Terry on identities": scores["Bradley-Terry on identities"],
        "vote, identities and length": -evidence.odds_N,
        "always the longer": scores["always the longer"],
    }
    strength = Strength(summary.mean_N, summary.std_N, wrong.wrong_N)
    labels = {"raw": _hard(~np.zeros_like(wrong_N)), "gold": _hard(~wrong_N)}
    wrong_after = {"raw": float(wrong_N.mean()), "gold": 0.0}
    for name, policy in POLICIES.items():
        decision: Decision = plugins.load("denoise", policy.policy)(strength, config=policy)
        labels[name] = Labels(decision.target_N, decision.margin_N, decision.weight_N)
        wrong_after[name] = _wrong_frac(decision, wrong_N)
    scores_NA = test_diff_ND @ _train_arms(
        diff_ND, labels=list(labels.values()), config=by_pair, seed=seed
    )
    credit = {name: pair_credit(scores_NA[:, arm]) for arm, name in enumerate(labels)}
    return _Outcome(suspicion, wrong_N, wrong_after, credit)


def _vote(pairs: Sequence[Pair], diff_ND: Features, *, config: VoteConfig, seed: int) -> Ballots:
    members = voting_members(pairs, config=config, seed=seed)
    return collect(members, head_votes(diff_ND, members=members, config=config, seed=seed))


def _hard(right_N: Bools) -> Labels:
    n = len(right_N)
    return Labels(right_N.astype(np.float64), np.zeros(n), np.ones(n))


def _wrong_frac(decision: Decision, wrong_N: Bools) -> float:
    """Return the share of wrong labels among the pairs that a decision leaves in."""
    used_N = decision.weight_N > 0
    believed_wrong_N = decision.target_N < 0.5
    return float((believed_wrong_N != wrong_N)[used_N].mean())


def _train_arms(
    diff_ND: Features, *, labels: Sequence[Labels], config: VoteConfig, seed: int
) -> NDArray[np.float32]:
    """Train one reward head an arm on all pairs, in the same order; return weights [D, A]."""
    weights_1AD = train_heads(
        diff_ND,
        trains_NKH=np.ones((len(diff_ND), 1, len(labels)), dtype=bool),
        config=config,
        seed=seed,
        labels=labels,
    )
    return np.asarray(weights_1AD[0].T)


def _detection_rows(
    outcomes: Sequence[_Outcome], *, noise: str, clusters: NDArray[np.int64]
) -> list[dict[str, Any]]:
    rows = []
    wrong_SN = np.stack([o.wrong_N for o in outcomes])
    for name in outcomes[0].suspicion:
        suspicion_SN = np.stack([o.suspicion[name] for o in outcomes])
        found = detection(suspicion_SN, wrong_SN, clusters=clusters, seed=0)
        rows.append(
            {
                "arm": noise,
                "name": name,
                "auroc": asdict(found.auroc),
                "average_precision": asdict(found.average_precision),
                "chance_average_precision": found.chance_average_precision,
                "per_seed": list(found.auroc_per_seed),
            }
        )
    return rows


def _arm_rows(
    outcomes: Sequence[_Outcome], *, noise: str, clusters: NDArray[np.int64]
) -> list[dict[str, Any]]:
    rows = []
    for name in outcomes[0].credit:
        credit_SN = np.stack([o.credit[name] for o in outcomes])
        rows.append(
            {
                "noise": noise,
                "labels": name,
                "wrong_frac": float(np.mean([o.wrong_after[name] for o in outcomes])),
                "accuracy": asdict(cluster_bootstrap(credit_SN, clusters=clusters, seed=0)),
                "per_seed": credit_SN.mean(axis=1).tolist(),
            }
        )
    return rows


def _difference_rows(
    outcomes: Sequence[_Outcome], *, noise: str, clusters: NDArray[np.int64], denoised: str
) -> list[dict[str, Any]]:
    rows = []
    for name in outcomes[0].credit:
        if name == "raw":
            continue
        one, other = (np.stack([o.credit[arm] for o in outcomes]) for arm in (name, "raw"))
        difference = paired_difference(one, other, clusters=clusters, seed=0)
        rows.append(
            {
                "noise": noise,
                "contrast": f"{name} - raw",
                "is_denoised": name == denoised,
                "difference": asdict(difference),
            }
        )
    return rows


def findings(report: Mapping[str, Any]) -> list[str]:
    """Say in sentences what the figures show, whichever way they point."""
    sentences = []
    for row in report["detection"]:
        if row["name"] == "vote, cross-fitted by pair":
            sentences.append(
                f"On {row['arm']}, the cross-fitted vote finds the wrong labels with AUROC "
                f"{row['auroc']['value']:.3f} (chance 0.5) and average precision "
                f"{row['average_precision']['value']:.3f} "
                f"(chance {row['chance_average_precision']:.3f})."
            )
    for row in report["differences"]:
        if row["is_denoised"] or row["contrast"] == "gold - raw":
            sentences.append(_sentence(row))
    return sentences


def _sentence(row: Mapping[str, Any]) -> str:
    difference = row["difference"]
    name = row["contrast"].removesuffix(" - raw")
    points = f"{100 * difference['value']:+.1f} points"
    interval = f"95% interval {100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}"
    if difference["low"] > 0:
        verdict = "more accurate than"
    elif difference["high"] < 0:
        verdict = "less accurate than"
    else:
        verdict = "not distinguishable in accuracy from"
    what = "gold labels" if name == "gold" else f"labels denoised by “{name}”"
    return (
        f"On {row['noise']}, a model trained on {what} is {verdict} one trained on raw labels: "
        f"{points} ({interval})."
    )
