"""Looks at a policy that is trained towards a proxy: KL, gold and proxy reward, as rows.

A look answers the held-out prompts once, the same prompts under every seed and for every proxy, on
which the best of n is picked too. Its gold is compared with that of the first look, before any
step, in the unit of the pool. Proxies differ in how fast they move a policy, so that they are held
against each other at equal KL: between looks, what a prompt has is linear in KL.

Shape legend: S seeds, P prompts, L looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.studies.contrasts import contrast, per_seed
from tamis.studies.intervals import Figure
from tamis.studies.overoptimise.arms import RAW
from tamis.studies.overoptimise.curves import END, GOLD, LATE, PROXY, mean_over_prompts

Floats = NDArray[np.float64]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """What a policy is after some steps.

    Attributes:
        step: steps of training.
        kl: nats from the start, of an answer.
        gold: gold reward of the answer to each prompt.
        proxy: reward by the proxy that it is trained towards.
    """

    step: int
    kl: float
    gold: Sequence[float]
    proxy: Sequence[float]


@dataclass(frozen=True, slots=True)
class RLTask:
    """One run: the proxy that rewards it, its seed, and a folder of its own."""

    proxy: Path
    seed: int
    folder: Path


Reinforce = Callable[[RLTask], Sequence[Look]]


def looks_of(lines: Sequence[Mapping[str, Any]]) -> list[Look]:
    """Return the looks of a watch.

    >>> each = {"number": [7, 9], "gold": [1.0, 2.0], "score": [0.5, -0.5]}
    >>> line = {"kind": "held_out", "step": 5, "kl": 0.7, "by_prompt": each}
    >>> looks_of([{"kind": "step"}, line])
    [Look(step=5, kl=0.7, gold=[1.0, 2.0], proxy=[0.5, -0.5])]
    """
    return [
        Look(line["step"], line["kl"], line["by_prompt"]["gold"], line["by_prompt"]["score"])
        for line in lines
        if line["kind"] == "held_out"
    ]


def rl_report(
    looks: Mapping[str, Sequence[Sequence[Look]]], *, gold_std: float
) -> dict[str, list[Row]]:
    """Return how far each policy is and what it gained: at each look, and at equal KL.

    ``rl``: one row for each arm and look. ``rl_figures``: gold at the KL that all runs reach, and
    what of it was gained over the second half of the way (the late gain), by arm; beside raw
    labels, the difference from them, with a p-value that is not corrected.

    Args:
        looks: by arm, those of each seed; all runs look at the same steps and prompts.
        gold_std: the gold reward that counts as 1.
    """
    gold = {arm: _gained(of_seeds, GOLD) / gold_std for arm, of_seeds in looks.items()}
    rows = [
        _look_row(arm, of_seeds, place, gold_SP=gold[arm][:, :, place])
        for arm, of_seeds in looks.items()
        for place in range(len(of_seeds[0]))
    ]
    reached = min(max(look.kl for look in seed) for of_seeds in looks.values() for seed in of_seeds)
    found: dict[str, dict[str, Figure]] = {}
    for arm, of_seeds in looks.items():
        end_SP = _at(reached, of_seeds, gold[arm])
        late_SP = end_SP - _at(reached / 2, of_seeds, gold[arm])
        found[arm] = {END: mean_over_prompts(end_SP), LATE: mean_over_prompts(late_SP)}
    figures = []
    for arm, named in found.items():
        for name, figure in named.items():
            row: Row = {"arm": arm, "figure": name, "kl": reached}
            row |= {"value": asdict(figure.over_items_and_seeds()[0]), **per_seed(figure)}
            if arm != RAW and RAW in found:
                change = contrast(figure, found[RAW][name])
                row |= {"minus_raw": change["difference"], "p": change["p"]}
            figures.append(row)
    return {"rl": rows, "rl_figures": figures}


def _look_row(arm: str, of_seeds: Sequence[Sequence[Look]], place: int, *, gold_SP: Floats) -> Row:
    row: Row = {"arm": arm, "step": of_seeds[0][place].step}
    figures = {
        "kl": _of_seeds([seed[place].kl for seed in of_seeds]),
        GOLD: mean_over_prompts(gold_SP),
        PROXY: mean_over_prompts(_gained(of_seeds, PROXY)[:, :, place]),
    }
    for name, figure in figures.items():
        row[name] = asdict(figure.over_items_and_seeds()[0])
        row[f"{name}_per_seed"] = per_seed(figure)["per_seed"]
    return row


def _gained(of_seeds: Sequence[Sequence[Look]], measure: str) -> Floats:
    """Return rewards minus those of the first look [S, P, L]."""
    read = attrgetter(measure)
    reward_SLP = np.array([[read(look) for look in seed] for seed in of_seeds], np.float64)
    gained_SLP: Floats = reward_SLP - reward_SLP[:, :1]
    return gained_SLP.transpose(0, 2, 1)


def _at(kl: float, of_seeds: Sequence[Sequence[Look]], gold_SPL: Floats) -> Floats:
    """Return what each prompt has where a run first reaches a KL [S, P]."""
    rows = []
    for seed, gold_PL in zip(of_seeds, gold_SPL, strict=True):
        kl_L = np.array([look.kl for look in seed])
        after = int(np.argmax(kl_L >= kl))
        before = max(after - 1, 0)
        width = kl_L[after] - kl_L[before]
        share = (kl - kl_L[before]) / width if width > 0 else 1.0
        rows.append((1 - share) * gold_PL[:, before] + share * gold_PL[:, after])
    return np.stack(rows)


def _of_seeds(values: Sequence[float]) -> Figure:
    """Return a figure that varies with the seed alone."""
    value_S = np.array(values, np.float64)
    return Figure(value_S, np.tile(value_S, (2, 1)), len(values))
