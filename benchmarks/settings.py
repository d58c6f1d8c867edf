"""How the defaults of head voters and the demo's policy were chosen: on training debates alone.

Run with `make bench-settings`. Prints, for real votes on the training debates of the demo:
detection of wrong labels by penalty and by depth of the features, and accuracy on held-out
*training* debates by policy and penalty. The demo's test debates are not looked at.

Shapes: N pairs, L depths, D hidden.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from tamis.models.config import ModelConfig
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.demo_data import gold_pairs, labelled, one_vote_is_wrong
from tamis.studies.denoising import Material, StudyConfig, run_study
from tamis.vote.ballots import collect, voting_members
from tamis.vote.config import VoteConfig
from tamis.vote.frozen import depth_scales, flatten, frozen_differences
from tamis.vote.heads import head_votes

PENALTIES = (0.01, 0.03, 0.1, 0.3)
NUM_VALIDATION_DEBATES = 3


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("runs/bench-settings"))
    parser.add_argument("--splits", type=int, default=3, help="draws of validation debates")
    options = parser.parse_args()
    pairs = [pair for pair in gold_pairs() if pair.split == "train"]
    model = ModelConfig(path=DEMO_MODEL, max_length=256)
    diff_NLD = frozen_differences(pairs, model=model, cache=options.cache)
    detection_table(pairs, diff_NLD)
    validation_table(pairs, diff_NLD, num_splits=options.splits)


def detection_table(pairs, diff_NLD) -> None:
    """Print AUROC against gold and the log loss on the noisy labels, both cross-fitted."""
    wrong_N = one_vote_is_wrong(pairs, seed=0)
    people = [labelled(p, wrong=bool(w)) for p, w in zip(pairs, wrong_N, strict=True)]
    sign_N1 = np.where(wrong_N, -1, 1).astype(np.float32)[:, None]
    print("features, l2 | by pair: AUROC, log loss | by debate: AUROC, log loss")
    for name, depths in (("last depth", slice(-1, None)), ("three depths", slice(None))):
        part_NLD = diff_NLD[:, depths]
        diff_ND = flatten(part_NLD, scale_L=depth_scales(part_NLD)) * sign_N1
        for l2 in PENALTIES:
            cells = []
            for fold_by in ("pair", "group"):
                config = VoteConfig(l2=l2, fold_by=fold_by, estimators=("cross_fitted",))
                members = voting_members(people, config=config, seed=0)
                votes = head_votes(diff_ND, members=members, config=config, seed=0)
                mean_N = collect(members, votes).headline_NK.mean(axis=1)
                loss = np.logaddexp(0.0, -mean_N).mean()
                cells.append(f"{roc_auc_score(wrong_N, -mean_N):.3f}, {loss:.3f}")
            print(f"{name:>12}, {l2:<5} | {cells[0]} | {cells[1]}", flush=True)


def validation_table(pairs, diff_NLD, *, num_splits: int) -> None:
    """Print accuracy on held-out training debates, the mean over draws of debates and seeds."""
    diff_ND = flatten(diff_NLD, scale_L=depth_scales(diff_NLD))
    group_N = np.array([pair.group for pair in pairs])
    names = np.unique(group_N)
    print("\nnoise, l2 | accuracy on held-out training debates by labels")
    for l2 in PENALTIES[1:]:
        found: dict[tuple[str, str], list[float]] = {}
        for split in range(num_splits):
            rng = np.random.default_rng([split, 3])
            held_out = rng.choice(names, NUM_VALIDATION_DEBATES, replace=False)
            material = Material(pairs, diff_ND, ~np.isin(group_N, held_out))
            report = run_study(material, config=StudyConfig(vote=VoteConfig(l2=l2)))
            for row in report["arms"]:
                key = (row["noise"], row["labels"])
                found.setdefault(key, []).append(row["accuracy"]["value"])
            longer = report["baselines"][0]["accuracy"]["value"]
            found.setdefault(("any", "always the longer"), []).append(longer)
        for (noise, labels), values in found.items():
            print(f"{noise}, {l2}: {labels:<18} {100 * np.mean(values):.1f}", flush=True)


if __name__ == "__main__":
    main()
