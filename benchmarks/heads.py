"""How much faster heads train together than one after another.

Run with `make bench-heads`. Both ways train the same heads on the same synthetic differences; they
take turns, so that a busy machine slows both, and the ratio of the two is what counts.

Shapes: N pairs, D feature dimensions, K voters, H heads of a voter.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tamis.vote.config import VoteConfig
from tamis.vote.heads import train_heads


def main() -> None:
    """Print the seconds of each round, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=1152)
    parser.add_argument("--voters", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    diff_ND = rng.normal(size=(options.pairs, options.dimensions)).astype(np.float32)
    config = VoteConfig(num_voters=options.voters, epochs=1)
    folds_NK = rng.integers(config.num_folds, size=(options.pairs, options.voters))
    folds_H = np.arange(config.num_folds + 1)  # the last is nobody's, so its head sees all
    trains_NKH = folds_NK[:, :, None] != folds_H

    def together() -> None:
        train_heads(diff_ND, trains_NKH=trains_NKH, config=config, seed=0)

    def one_by_one() -> None:
        for voter in range(options.voters):
            for head in folds_H:
                alone_N11 = trains_NKH[:, voter : voter + 1, head : head + 1]
                train_heads(diff_ND, trains_NKH=alone_N11, config=config, seed=0)

    num_heads = options.voters * len(folds_H)
    print(f"{num_heads} heads, {options.pairs} pairs, {options.dimensions} dimensions, one epoch")
    together()  # the first use of torch's threads is slow and counts for neither
    ratios = []
    for number in range(options.rounds):
        seconds = [_seconds(way) for way in (together, one_by_one)]
        ratios.append(seconds[1] / seconds[0])
        print(f"round {number}: together {seconds[0]:.2f} s, one by one {seconds[1]:.2f} s")
    print(f"ratio: median {np.median(ratios):.1f}, from {min(ratios):.1f} to {max(ratios):.1f}")


def _seconds(way) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
