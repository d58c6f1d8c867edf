"""The decile study: what reward models learn from a tenth of the data, sorted by strength.

One reward head is trained on each tenth of the pairs, from the weakest to the strongest, and on
growing parts from either end. Published for fine-tuned models on HH-RLHF: below chance at the
bottom, about 0.5 in the ambiguous middle, the top tenth good but not the best ("Secrets of RLHF
II", arXiv 2401.06080, section 2.3 and appendix C.1).

Voters and reward heads read different models where there are two. A head on the voters' own
features learns what the voters thought: the pairs that they were against teach it the opposite,
whatever their labels.

Shape legend: N training pairs, M test pairs, H heads (parts of the data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tamis.metrics import cluster_bootstrap, pair_credit, paired_difference
from tamis.runs import progress
from tamis.studies.cells import Ground
from tamis.studies.demo_data import labelled
from tamis.studies.material import Bench, Features, Name, make_bench
from tamis.studies.noise import FEATURES, Site
from tamis.studies.noises import Noise, draw
from tamis.studies.plan import INTERVALS_S, StudyPlan, cell_s, in_words, reading_s
from tamis.types import Pair
from tamis.vote.ballots import collect, voting_members
from tamis.vote.heads import head_votes, train_voter

NUM_PARTS = 10
DECILE, WEAKEST, STRONGEST = "decile", "weakest first", "strongest first"
CHANCE = 0.5

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the pairs, in order of strength: shares ``low`` to ``high`` of them."""

    curve: str
    low: float
    high: float

    def mask(self, rank_N: NDArray[np.int64]) -> Bools:
        """Mark the pairs of the part, given the rank of each pair's strength [N].

        >>> Part(DECILE, 0.0, 0.5).mask(np.array([3, 0, 1, 2])).tolist()
        [False, True, True, False]
        """
        num_pairs = len(rank_N)
        start, end = round(num_pairs * self.low), round(num_pairs * self.high)
        return np.asarray((rank_N >= start) & (rank_N < end))


def all_parts() -> list[Part]:
    """Return the tenths, and the parts that grow from either end up to all pairs."""
    steps = [round(step / NUM_PARTS, 3) for step in range(NUM_PARTS + 1)]
    parts = [Part(DECILE, low, high) for low, high in pairwise(steps)]
    parts += [Part(WEAKEST, 0.0, high) for high in steps[1:]]
    return parts + [Part(STRONGEST, low, 1.0) for low in reversed(steps[:-1])]


def decile_noises(bench: str) -> list[Noise]:
    """Return the labels that are sorted: people's votes, or the data set's own, with 30% flips."""
    if bench in ("humour", "pandalm"):
        return [Noise("votes")]
    first = Noise("votes") if bench == "ukp" else Noise("uniform")
    return [first, Noise("uniform", 0.3)]


def decile_estimate(pairs: Mapping[Name, Sequence[Pair]], plan: StudyPlan) -> str:
    """Say how long the study takes at most, on two cores."""
    seconds = 0.0
    for name, some in pairs.items():
        num_train = sum(pair.split == "train" for pair in some)
        each = len(plan.seeds) * cell_s(num_train, plan, num_heads=len(all_parts())) + INTERVALS_S
        seconds += reading_s(some, plan) + len(decile_noises(name)) * each
    return f"estimate on two cores: {in_words(seconds)}"


def run_decile_study(
    plan: StudyPlan, pairs: Mapping[Name, Sequence[Pair]], *, site: Site
) -> dict[str, Any]:
    """Train on every part, under all seeds, and return the report, JSON-safe."""
    report: dict[str, Any] = {
        "study": "deciles",
        "tier": plan.tier,
        "seeds": list(plan.seeds),
        "models": list(site.models),
        "parts": [],
        "shapes": [],
    }
    for name, some in pairs.items():
        site.notice(f"{name}: reading {len(some):,} pairs")
        bench = make_bench(name, some, models=site.models, cache=site.run / FEATURES)
        ground = Ground.of(bench, vote=plan.vote)
        noises = decile_noises(name)
        with progress(f"{name}: deciles", total=len(noises) * len(plan.seeds)) as advance:
            for noise in noises:
                sorted_runs = []
                for seed in plan.seeds:
                    sorted_runs.append(_one_seed(ground, noise, plan=plan, seed=seed))
                    advance(1)
                report["parts"] += _part_rows(bench, noise, sorted_runs)
                report["shapes"].append(_shape(bench, noise, sorted_runs))
    return report


def parts_table(report: Mapping[str, Any]) -> pa.Table:
    """Return one row a part and seed, with its accuracy."""
    return pa.Table.from_pylist(
        [
            {
                **{name: row[name] for name in ("bench", "noise", "curve", "low", "high")},
                "strength": row["strength"],
                "wrong_frac": row["wrong_frac"],
                "seed": seed,
                "accuracy": value,
            }
            for row in report["parts"]
            for seed, value in zip(report["seeds"], row["per_seed"], strict=True)
        ]
    )


@dataclass(frozen=True, slots=True)
class _Sorted:
    """One seed: credit of every part [H, M], its mean strength [H] and share of wrong labels."""

    credit_HM: Floats
    strength_H: Floats
    wrong_H: Floats


def _one_seed(ground: Ground, noise: Noise, *, plan: StudyPlan, seed: int) -> _Sorted:
    bench = ground.bench
    drawn = draw(noise, bench, seed=seed, distance_N=ground.distance_N)
    pairs = [labelled(p, wrong=bool(t)) for p, t in zip(bench.train, drawn.turned_N, strict=True)]
    sign_N1 = np.where(drawn.turned_N, -1, 1).astype(np.float32)[:, None]
    voted_ND, (train_ND, test_MD) = _readings(bench)
    members = voting_members(pairs, config=plan.vote, seed=seed)
    votes = head_votes(voted_ND * sign_N1, members=members, config=plan.vote, seed=seed)
    mean_N = collect(members, votes).headline_NK.mean(axis=1)
    rank_N = np.argsort(np.argsort(mean_N, kind="stable"), kind="stable")
    masks_NH = np.stack([part.mask(rank_N) for part in all_parts()], axis=1)
    diff_ND = train_ND * sign_N1
    weights_HD = train_voter(diff_ND, trains_NH=masks_NH, config=plan.vote, seed=seed, voter=0)
    credit_HM = pair_credit(test_MD @ weights_HD.T).T
    wrong_N, known_N = drawn.wrong_N, drawn.known_N
    return _Sorted(
        credit_HM,
        np.array([mean_N[mask_N].mean() for mask_N in masks_NH.T]),
        np.array([_share(wrong_N[mask_N & known_N]) for mask_N in masks_NH.T]),
    )


def _readings(bench: Bench) -> tuple[Features, tuple[Features, Features]]:
    """Return what voters read of the training pairs, and what heads read of train and test."""
    (first, (voted_ND, _)), *others = bench.features.items()
    learners = dict(others) or {first: bench.features[first]}
    return voted_ND, replace(bench, features=learners).joined()


def _share(marked: Bools) -> float:
    return float(marked.mean()) if len(marked) else 0.0


def _part_rows(bench: Bench, noise: Noise, runs: Sequence[_Sorted]) -> list[Row]:
    rows = []
    credit_SHM = np.stack([run.credit_HM for run in runs])
    for number, part in enumerate(all_parts()):
        credit_SM = credit_SHM[:, number]
        accuracy = cluster_bootstrap(credit_SM, clusters=bench.test_clusters, seed=0)
        rows.append(
            {
                "bench": bench.name,
                "noise": noise.title,
                **asdict(part),
                "strength": float(np.mean([run.strength_H[number] for run in runs])),
                "wrong_frac": float(np.mean([run.wrong_H[number] for run in runs])),
                "accuracy": asdict(accuracy),
                "per_seed": credit_SM.mean(axis=1).tolist(),
            }
        )
    return rows


def _shape(bench: Bench, noise: Noise, runs: Sequence[_Sorted]) -> Row:
    """Compare the ends of the curve of tenths with chance and with the best tenth."""
    credit_SHM = np.stack([run.credit_HM[:NUM_PARTS] for run in runs])
    best = int(credit_SHM.mean(axis=(0, 2)).argmax())
    clusters = bench.test_clusters
    chance_M = np.full(credit_SHM.shape[2], CHANCE)
    bottom = paired_difference(credit_SHM[:, 0], chance_M, clusters=clusters, seed=0)
    top = paired_difference(credit_SHM[:, -1], credit_SHM[:, best], clusters=clusters, seed=0)
    return {
        "bench": bench.name,
        "noise": noise.title,
        "bottom_minus_chance": asdict(bottom),
        "best_decile": best + 1,
        "top_minus_best": asdict(top),
        "nearest_to_chance": int(np.abs(credit_SHM.mean(axis=(0, 2)) - CHANCE).argmin()) + 1,
    }
