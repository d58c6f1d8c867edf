"""What ten out-of-bag voters are worth, and how well the prediction of it holds.

Run with `make bench-halves`. Heads on MiniLM vote on random pairs of the demo's training debates,
one person's vote a label. Compared are cross-fitted voters and two ways of sharing out the pairs:
blocks of ten, as Tamis does, and couples of complementary halves. Printed is the mean over draws
(with its standard error) of Spearman's correlation with a cross-fitted vote and with another vote
of the same kind, both of another seed, of the AUROC for wrong labels, and of what a single vote
predicts for two of its kind.

Shapes: N pairs, K voters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import sem, spearmanr
from sklearn.metrics import roc_auc_score

from tamis.models.config import ModelConfig
from tamis.strength.convergence import convergence
from tamis.strength.halves import balanced_halves
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.demo_data import gold_pairs, labelled, one_vote_is_wrong
from tamis.types import Pair
from tamis.vote.ballots import Member, collect, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.frozen import depth_scales, flatten, frozen_differences
from tamis.vote.heads import head_votes

KINDS = ("cross-fitted", "blocks of ten", "couples")


def main() -> None:
    """Print a row for each kind of voters and, last, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("runs/bench-halves"))
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=12, help="of pairs and of labels")
    parser.add_argument("--voters", type=int, default=10)
    options = parser.parse_args()
    known = [pair for pair in gold_pairs() if pair.split == "train"]
    model = ModelConfig(path=DEMO_MODEL, max_length=256)
    diff_NLD = frozen_differences(known, model=model, cache=options.cache)
    diff_ND = flatten(diff_NLD, scale_L=depth_scales(diff_NLD))
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for draw in range(options.draws):
        rng = np.random.default_rng([draw, 9])
        drawn = np.sort(rng.choice(len(known), options.pairs, replace=False))
        gold = [known[number] for number in drawn]
        wrong_N = one_vote_is_wrong(gold, seed=draw)
        pairs = [labelled(p, wrong=bool(w)) for p, w in zip(gold, wrong_N, strict=True)]
        sign_N1 = np.where(wrong_N, -1, 1).astype(np.float32)[:, None]
        figures = figures_of(
            pairs,
            diff_ND[drawn] * sign_N1,
            is_wrong_N=wrong_N,
            num_voters=options.voters,
            draw=draw,
        )
        for kind in KINDS:
            found[kind].append(figures[kind])
    table = {kind: _mean_of(rows) for kind, rows in found.items()}
    print("voters | " + " | ".join(table[KINDS[0]]))
    for kind, row in table.items():
        print(f"{kind:>13} | " + " | ".join(f"{m:.3f} ± {e:.4f}" for m, e in row.values()))
    print(json.dumps({"pairs": options.pairs, "draws": options.draws, "kinds": table}))


def figures_of(
    pairs: Sequence[Pair],
    diff_ND: np.ndarray,
    *,
    is_wrong_N: np.ndarray,
    num_voters: int,
    draw: int,
) -> dict[str, dict[str, float]]:
    """Return the figures of every kind of voters on one draw."""
    one, other = (
        {
            kind: votes(pairs, diff_ND, kind=kind, num_voters=num_voters, seed=2 * draw + side)
            for kind in KINDS
        }
        for side in (0, 1)
    )
    found = {}
    for kind in KINDS:
        said = convergence(one[kind], rng=np.random.default_rng(draw))
        assert said is not None  # ten voters, and many pairs
        first_N, second_N, cross_N = (
            np.nanmean(votes_NK, axis=1) for votes_NK in (one[kind], other[kind], other[KINDS[0]])
        )
        found[kind] = {
            "with cross-fitted": float(spearmanr(first_N, cross_N).statistic),
            "with its like": float(spearmanr(first_N, second_N).statistic),
            "AUROC": float(roc_auc_score(is_wrong_N, -first_N)),
            "predicted, at least": said.two_votes,
            "predicted, at most": said.two_votes_at_most,
        }
    return found


def votes(
    pairs: Sequence[Pair], diff_ND: np.ndarray, *, kind: str, num_voters: int, seed: int
) -> np.ndarray:
    """Return the votes [N, K] of one kind of voters, NaN where a voter does not vote."""
    estimator = "cross_fitted" if kind == KINDS[0] else "out_of_bag"
    config = VoteConfig(num_voters=num_voters, estimators=(estimator,))
    members = voting_members(pairs, config=config, seed=seed)
    if kind == "couples":
        members = in_couples(members, seed=seed)
    cast = head_votes(diff_ND, members=members, config=config, seed=seed)
    return collect(members, cast).headline_NK


def in_couples(members: Sequence[Member], *, seed: int) -> list[Member]:
    """Let every second voter train on what the one before it holds out."""
    rng = np.random.default_rng([seed, 10])
    numbers = np.arange(len(members[0].trains_N))
    halves = [balanced_halves(numbers, num_voters=2, rng=rng) for _ in range(0, len(members), 2)]
    trains_NK = np.concatenate(halves, axis=1)
    return [
        replace(member, trains_N=trains_NK[:, voter].copy()) for voter, member in enumerate(members)
    ]


def _mean_of(rows: Sequence[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return mean and standard error of each figure over the draws."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        name: (round(float(np.mean(values)), 4), round(float(sem(values)), 4))
        for name, values in columns.items()
    }


if __name__ == "__main__":
    main()
