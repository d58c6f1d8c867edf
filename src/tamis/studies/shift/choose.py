"""Which methods go together, without a look at any test set.

Methods are compared, and put together, on pairs of the training split of HH-RLHF that no training
draws and on training pairs of data sets that are no test set of the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamis.errors import ConfigError
from tamis.metrics import pair_credit
from tamis.studies.material import read_files
from tamis.studies.shift.arms import METARM_OUTER, Arm
from tamis.studies.shift.material import IN_DISTRIBUTION, Material, some_of, unseen_by
from tamis.studies.shift.measures import IN, OUT
from tamis.studies.shift.records import Scores, TestSet

UNLIKE = {
    "webgpt_comparisons": "WebGPT",
    "ultrafeedback_subset": "UltraFeedback",
    "autoj_human": "Auto-J",
    "pandalm_human": "PandaLM",
    "topical_chat_ratings": "Topical-Chat",
}
METHODS = ("simcse-diff", "swav-diff", METARM_OUTER, "grm-sft", "prioritised", "warm")
STREAM = 1000  # of random numbers, far from those of the study


def validation_sets(
    material: Material, data: Path | None, *, num_like: int, num_unlike: int
) -> list[TestSet]:
    """Return pairs of HH-RLHF from which no seed draws, then those of each other data set.

    The latter are of the training split, whose prompts are in no test set, nor in HH-RLHF.

    Args:
        material: of the study.
        data: the folder with the development data sets.
        num_like: pairs of HH-RLHF at most.
        num_unlike: pairs of each other data set at most.

    Raises:
        ConfigError: a file is not there.
    """
    rng = np.random.default_rng(STREAM)
    others = [*material.gold, *material.proxy]
    like = [others[row] for row in np.sort(rng.permutation(len(others))[:num_like])]
    sets = [TestSet(IN_DISTRIBUTION, IN_DISTRIBUTION, False, like)]
    for number, (name, title) in enumerate(UNLIKE.items(), start=1):
        pairs = [pair for pair in read_files(data, name) if pair.split == "train"]
        own = np.random.default_rng(STREAM + number)
        new = unseen_by(material.pool, pairs)
        sets.append(TestSet(title, title, True, some_of(new, num_unlike, rng=own)))
    return sets


def validated(scores: Scores, sets: Sequence[TestSet]) -> dict[str, float]:
    """Return the accuracy in distribution, and the mean of those of the data sets out of it."""
    right = {one.name: float(pair_credit(scores.gap[one.name]).mean()) for one in sets}
    return {
        name: float(np.mean([right[one.name] for one in sets if one.is_out is is_out]))
        for name, is_out in ((IN, False), (OUT, True))
    }


def together(first: Arm, second: Arm) -> Arm:
    """Return an arm that changes all that either changes of plain training.

    Raises:
        ConfigError: both change the same.

    >>> from tamis.studies.shift.arms import arm_of
    >>> both = together(arm_of("swav-diff"), arm_of("warm"))
    >>> both.name, both.how, list(both.terms)
    ('swav-diff + warm', 'average', ['swav'])
    """
    plain = Arm("plain", "", "")
    changed: dict[str, Any] = {}
    for arm in (first, second):
        for key in ("meta", "sampler", "how"):
            if getattr(arm, key) != getattr(plain, key):
                if key in changed:
                    raise ConfigError(f"{first.name} and {second.name} both change {key}")
                changed[key] = getattr(arm, key)
    if not first.terms.keys().isdisjoint(second.terms):
        raise ConfigError(f"{first.name} and {second.name} have a term of the same name")
    return Arm(
        name=f"{first.name} + {second.name}",
        title=f"{first.title} + {second.title}",
        what=f"{first.what}; {second.what}",
        terms={**first.terms, **second.terms},
        base_coefficient=min(first.base_coefficient, second.base_coefficient),
        **changed,
    )


def best(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return what has the highest mean out of distribution, over seeds; the first of equals.

    >>> best({"a": [{OUT: 0.5}, {OUT: 0.7}], "b": [{OUT: 0.61}, {OUT: 0.6}]})
    'b'
    """
    return max(found, key=lambda name: float(np.mean([one[OUT] for one in found[name]])))
