"""What trusted labels are worth: P(label wrong) from the odds alone, and with each kind beside.

Run with `make bench-trusted`. Labels of the training parts of several data sets are turned at
random, near ties or towards the longer answer, or are one person's vote; heads vote on them, and
P(label wrong) is fitted on a few whose truth is known, drawn at random. Told is, on all others, the
AUROC of the wrong labels and the Brier skill over their share: of the curve over the log odds
alone, and of the one that has every kind of evidence beside them, in the sizes that ``--rms`` names
(see `tamis.strength.wrong_by_trusted`). Means over seeds and draws; test parts are not read. The
calibration error (15 bins) is in the JSON, too.

Shapes: N pairs, F kinds of evidence.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from shared import parser_of
from tamis.errors import DataError
from tamis.metrics import brier_skill, expected_calibration_error
from tamis.models.config import ModelConfig
from tamis.recipes.evidence import Evidence, evidence_on
from tamis.strength.summary import summarise
from tamis.strength.wrong import KIND_RMS, wrong_by_trusted
from tamis.studies.cells import cast_vote
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.demo_data import labelled
from tamis.studies.material import Bench, Limits, some_pairs
from tamis.studies.noises import Drawn, Noise, draw
from tamis.vote.config import VoteConfig
from tamis.vote.frozen import depth_scales, flatten, frozen_differences

NOISES = (
    Noise("votes"),
    Noise("uniform", 0.1),
    Noise("uniform", 0.3),
    Noise("longer", 0.25),
    Noise("near", 0.25),
)
VOTE = VoteConfig(num_voters=4, estimators=("cross_fitted",))
STREAM = 17
NO_KINDS = 0.0

Figures = tuple[float, float, float]
Rows = dict[tuple[str, int, float], list[Figures]]


@dataclass(frozen=True, slots=True)
class Case:
    """One data set with one kind of noise under one seed."""

    name: str
    seed: int
    evidence: Evidence
    drawn: Drawn


def main() -> None:
    """Print a line for each case and number of trusted labels, then the means, then JSON."""
    parser = parser_of(__doc__)
    parser.add_argument("--sets", nargs="+", default=["ukp", "humour", "hh", "alpaca", "pandalm"])
    parser.add_argument("--pairs", type=int, default=1200, help="of a data set at most")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=12, help="of trusted labels")
    parser.add_argument("--trusted", type=int, nargs="+", default=[30, 50, 100, 200])
    parser.add_argument("--rms", type=float, nargs="+", default=[NO_KINDS, 0.25, KIND_RMS, 1.0])
    parser.add_argument("--run", type=Path, default=Path("runs/trusted"))
    options = parser.parse_args()
    rows: Rows = {}
    for case in cases(options):
        for num in options.trusted:
            for figures in worth(case, num=num, options=options):
                for rms, found in figures.items():
                    rows.setdefault((case.name, num, rms), []).append(found)
    _print(rows, options)
    told = [
        {"case": name, "trusted": num, "rms": rms, "auroc": auroc, "skill": skill, "error": error}
        for (name, num, rms), found in rows.items()
        for auroc, skill, error in [np.mean(found, axis=0).tolist()]
    ]
    print(json.dumps({"settings": {k: str(v) for k, v in vars(options).items()}, "rows": told}))


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Give every data set under every kind of noise that it can have."""
    model = ModelConfig(path=DEMO_MODEL, max_length=192)
    for name in options.sets:
        some = some_pairs(name, data=options.data, limits=Limits(options.pairs, 0))
        pairs = [pair for pair in some if pair.split == "train"]
        diff_NLD = frozen_differences(pairs, model=model, cache=options.run / "features")
        diff_ND = flatten(diff_NLD, scale_L=depth_scales(diff_NLD))
        margins = [pair.margin for pair in pairs]
        known = None not in margins
        distance_N = np.abs(np.array(margins, np.float64)) if known else None
        bench = Bench(name, pairs, (), {}, distance_N, {})
        voted = all(pair.votes is not None for pair in pairs)
        for noise in NOISES:
            if (noise.kind == "near" and not known) or (noise.kind == "votes" and not voted):
                continue
            for seed in range(options.seeds):
                drawn = draw(noise, bench, seed=seed)
                told = [
                    labelled(pair, wrong=bool(turned))
                    for pair, turned in zip(pairs, drawn.turned_N, strict=True)
                ]
                ballots = cast_vote(told, diff_ND * drawn.signs(), vote=VOTE, seed=seed)
                mean_N = summarise(ballots.headline_NK).mean_N
                evidence = evidence_on(told, mean_N=mean_N, seed=seed)
                yield Case(f"{name}, {noise.title}", seed, evidence, drawn)


def worth(case: Case, *, num: int, options: argparse.Namespace) -> Iterator[dict[float, Figures]]:
    """Give the figures on the labels that are known and not trusted, by size of the kinds."""
    rng = np.random.default_rng([case.seed, num, STREAM])
    evidence_NF = np.stack(list(case.evidence.kinds.values()), axis=1)
    for _ in range(options.draws):
        order = rng.permutation(np.flatnonzero(case.drawn.known_N))
        trusted, rest = order[:num], order[num:]
        found = {}
        for rms in options.rms:
            kinds = {} if rms == NO_KINDS else {"evidence_NF": evidence_NF, "kind_rms": rms}
            try:
                wrong = wrong_by_trusted(
                    case.evidence.odds_N,
                    trusted=trusted,
                    is_wrong_T=case.drawn.wrong_N[trusted],
                    **kinds,
                )
            except DataError:  # too few of either kind to be fitted on
                break
            truth, chance = case.drawn.wrong_N[rest], wrong.wrong_N[rest]
            error = expected_calibration_error(chance, truth)
            found[rms] = (float(roc_auc_score(truth, chance)), brier_skill(chance, truth), error)
        if len(found) == len(options.rms):
            yield found


def _print(rows: Rows, options: argparse.Namespace) -> None:
    heads = ["odds alone" if rms == NO_KINDS else f"kinds {rms:g}" for rms in options.rms]
    print(f"\n{'AUROC / Brier skill':<44}" + "".join(f"{head:>16}" for head in heads))
    cases_of = list(dict.fromkeys((name, num) for name, num, _ in rows))
    for name, num in cases_of:
        cells = [np.mean(rows[name, num, rms], axis=0) for rms in options.rms]
        _line(f"{name}, {num} trusted", cells)
    for num in options.trusted:
        cells = [
            np.mean([np.mean(rows[name, num, rms], axis=0) for name, n in cases_of if n == num], 0)
            for rms in options.rms
        ]
        _line(f"mean, {num} trusted", cells)


def _line(title: str, cells: list[np.ndarray]) -> None:
    told = "".join(f"{auroc:>8.3f}/{skill:+.3f} " for auroc, skill, _ in cells)
    print(f"{title:<44}{told}", flush=True)


if __name__ == "__main__":
    main()
