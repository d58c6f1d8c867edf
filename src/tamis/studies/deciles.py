"""The decile study: what reward models learn from a tenth of the data, sorted by strength.

One reward head is trained on each tenth of the pairs, from the weakest to the strongest, and on
growing parts from either end; the largest tier fine-tunes a model on each tenth. Published for
fine-tuned models on HH-RLHF: below chance at the bottom, about 0.5 in the ambiguous middle, the top
tenth good but not the best ("Secrets of RLHF II", arXiv 2401.06080, section 2.3 and appendix C.1).

Voters and reward models read different trunks where there are two. A head on the voters' own
features learns what the voters thought: the pairs that they were against teach it the opposite,
whatever their labels. Another trunk lessens that and does not end it, since both see much the same:
where all labels are right, the weakest tenth is below chance as well.

Shape legend: S seeds, N training pairs, M test pairs, H parts of the data, D feature dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tamis.metrics import cluster_bootstrap, pair_credit, paired_difference
from tamis.runs import progress
from tamis.studies.cells import cast_vote
from tamis.studies.demo_data import labelled
from tamis.studies.material import Bench, Features, Name
from tamis.studies.noise import CELLS, Site, benches_of, opening
from tamis.studies.noise_figures import HEADS
from tamis.studies.noises import Drawn, Noise, draw
from tamis.studies.parts import NUM_PARTS, all_parts
from tamis.studies.plan import INTERVALS_S, TENTH_S, StudyPlan, cell_s, in_words, reading_s
from tamis.studies.tuned import FINE_TUNED, TENTH, Tuner
from tamis.types import Pair
from tamis.vote.heads import Labels, train_voter

CHANCE = 0.5

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Row = dict[str, Any]


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
        seconds += plan.tuned_seeds * NUM_PARTS * TENTH_S.get(name, 0.0)
    return f"estimate on two cores: {in_words(seconds)}"


def run_decile_study(
    plan: StudyPlan, pairs: Mapping[Name, Sequence[Pair]], *, site: Site
) -> dict[str, Any]:
    """Train on every part, under all seeds, and return the report, JSON-safe."""
    report: dict[str, Any] = {
        **opening("deciles", plan, site=site),
        "parts": [],
        "shapes": [],
    }
    for bench in benches_of(pairs, site=site):
        for curves in (*_by_heads(bench, plan), *_by_tuned(bench, plan, site=site)):
            report["parts"] += _part_rows(bench, curves)
            report["shapes"].append(_shape(bench, curves))
    return report


def parts_table(report: Mapping[str, Any]) -> pa.Table:
    """Return one row a part and seed, with its accuracy."""
    names = ("bench", "noise", "weights", "curve", "low", "high", "strength", "wrong_frac")
    return pa.Table.from_pylist(
        [
            {**{name: row[name] for name in names}, "seed": seed, "accuracy": value}
            for row in report["parts"]
            for seed, value in zip(report["seeds"], row["per_seed"], strict=False)
        ]
    )


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Labels of one seed, and their pairs sorted by strength into H parts."""

    drawn: Drawn
    mean_N: Floats
    masks_NH: Bools

    def strengths(self) -> Floats:
        """Return the mean strength of every part [H]."""
        return np.array([self.mean_N[mask_N].mean() for mask_N in self.masks_NH.T])

    def wrong_fracs(self) -> Floats:
        """Return the share of wrong labels of every part [H], where that is known."""
        wrong_N, known_N = self.drawn.wrong_N, self.drawn.known_N
        return np.array([_share(wrong_N[mask_N & known_N]) for mask_N in self.masks_NH.T])


@dataclass(frozen=True, slots=True)
class _Curves:
    """All seeds of one noise: credit of every part [S, H, M]; the tenths are the first parts."""

    noise: Noise
    weights: str
    sorted_S: Sequence[_Sorted]
    credit_SHM: Floats


def _by_heads(bench: Bench, plan: StudyPlan) -> Iterator[_Curves]:
    """Train a head on every part; voters read the first model, heads the others, if any."""
    first = next(iter(bench.features))
    voted_ND = bench.features[first][0]
    train_ND, test_MD = _joined(bench, without=first)
    noises = decile_noises(bench.name)
    with progress(f"{bench.name}: deciles", total=len(noises) * len(plan.seeds)) as advance:
        for noise in noises:
            runs, credits = [], []
            for seed in plan.seeds:
                found = _sort(bench, noise, voted_ND, plan=plan, seed=seed)
                weights_HD = train_voter(
                    train_ND * found.drawn.signs(),
                    trains_NH=found.masks_NH,
                    config=plan.vote,
                    seed=seed,
                    voter=0,
                )
                runs.append(found)
                credits.append(pair_credit(test_MD @ weights_HD.T).T)
                advance(1)
            yield _Curves(noise, HEADS, runs, np.stack(credits))


def _by_tuned(bench: Bench, plan: StudyPlan, *, site: Site) -> Iterator[_Curves]:
    """Fine-tune the first model on every tenth; voters read the others, if any."""
    if not plan.tuned_seeds or bench.name not in TENTH_S:
        return
    first, model = next(iter(site.models.items()))
    voted_ND, _ = _joined(bench, without=first)
    noise = decile_noises(bench.name)[0]
    seeds = plan.seeds[: plan.tuned_seeds]
    with progress(f"{bench.name}: fine-tuning", total=NUM_PARTS * len(seeds)) as advance:
        tuner = Tuner.of(bench, model, folder=site.run / CELLS, advance=advance)
        runs, credits = [], []
        for seed in seeds:
            found = _sort(bench, noise, voted_ND, plan=plan, seed=seed)
            one_N = np.ones(len(bench.train))
            credits.append(
                [
                    tuner.credit(
                        Labels(one_N, 0 * one_N, mask_N.astype(np.float64)),
                        found.drawn.turned_N,
                        train=TENTH,
                        seed=seed,
                    )
                    for mask_N in found.masks_NH.T[:NUM_PARTS]
                ]
            )
            runs.append(found)
    yield _Curves(noise, FINE_TUNED, runs, np.array(credits))


def _sort(bench: Bench, noise: Noise, voted_ND: Features, *, plan: StudyPlan, seed: int) -> _Sorted:
    drawn = draw(noise, bench, seed=seed)
    pairs = [labelled(p, wrong=bool(t)) for p, t in zip(bench.train, drawn.turned_N, strict=True)]
    ballots = cast_vote(pairs, voted_ND * drawn.signs(), vote=plan.vote, seed=seed)
    mean_N = ballots.headline_NK.mean(axis=1)
    rank_N = np.argsort(np.argsort(mean_N, kind="stable"), kind="stable")
    return _Sorted(drawn, mean_N, np.stack([part.mask(rank_N) for part in all_parts()], axis=1))


def _joined(bench: Bench, *, without: str) -> tuple[Features, Features]:
    """Return the features of all models but one, or of that one where there is no other."""
    others = {label: parts for label, parts in bench.features.items() if label != without}
    return replace(bench, features=others or bench.features).joined()


def _share(marked: Bools) -> float:
    return float(marked.mean()) if len(marked) else 0.0


def _part_rows(bench: Bench, curves: _Curves) -> list[Row]:
    strength_H = np.mean([run.strengths() for run in curves.sorted_S], axis=0)
    wrong_H = np.mean([run.wrong_fracs() for run in curves.sorted_S], axis=0)
    rows = []
    for number in range(curves.credit_SHM.shape[1]):
        credit_SM = curves.credit_SHM[:, number]
        accuracy = cluster_bootstrap(credit_SM, clusters=bench.test_clusters, seed=0)
        rows.append(
            {
                "bench": bench.name,
                "noise": curves.noise.title,
                "weights": curves.weights,
                **asdict(all_parts()[number]),
                "strength": float(strength_H[number]),
                "wrong_frac": float(wrong_H[number]),
                "accuracy": asdict(accuracy),
                "per_seed": credit_SM.mean(axis=1).tolist(),
            }
        )
    return rows


def _shape(bench: Bench, curves: _Curves) -> Row:
    """Compare the ends of the curve of tenths with chance and with the best tenth."""
    credit_SHM = curves.credit_SHM[:, :NUM_PARTS]
    best = int(credit_SHM.mean(axis=(0, 2)).argmax())
    clusters = bench.test_clusters
    chance_M = np.full(credit_SHM.shape[2], CHANCE)
    bottom = paired_difference(credit_SHM[:, 0], chance_M, clusters=clusters, seed=0)
    top = paired_difference(credit_SHM[:, -1], credit_SHM[:, best], clusters=clusters, seed=0)
    return {
        "bench": bench.name,
        "noise": curves.noise.title,
        "weights": curves.weights,
        "bottom_minus_chance": asdict(bottom),
        "best_decile": best + 1,
        "top_minus_best": asdict(top),
        "nearest_to_chance": int(np.abs(credit_SHM.mean(axis=(0, 2)) - CHANCE).argmin()) + 1,
    }
