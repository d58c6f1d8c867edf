from dataclasses import replace

import numpy as np
import pytest

from tamis.studies.demo_data import gold_pairs
from tamis.studies.material import Bench
from tamis.types import Message, Pair
from tamis.vote.config import VoteConfig


@pytest.fixture(scope="session")
def gold() -> list[Pair]:
    """All pairs of the demo in gold orientation."""
    return gold_pairs()


@pytest.fixture(scope="session")
def vote() -> VoteConfig:
    """A vote of a moment."""
    return VoteConfig(
        num_voters=2, num_folds=2, epochs=3, batch_size=64, estimators=("cross_fitted",)
    )


@pytest.fixture(scope="session")
def bench(gold) -> Bench:
    """Some hundred pairs of eleven debates, with features that know the truth, with noise."""
    train, test = few_pairs(gold)
    rng = np.random.default_rng(0)
    truth_D = np.array([1.0, -2.0, 0.5, 0.0, 0.0, 1.5])
    diff_ND = rng.normal(size=(len(train) + len(test), 6)) * 1.5
    diff_ND += 1.2 * truth_D / np.linalg.norm(truth_D)
    both = diff_ND.astype(np.float32)
    features = {"one": both[:, :4], "other": both[:, 4:]}
    num_train = len(train)
    distance_N = np.abs([pair.margin for pair in train])
    bound_N = np.linspace(1.0, 9.0, num_train)
    return Bench(
        name="ukp",
        train=train,
        test=test,
        features={name: (part[:num_train], part[num_train:]) for name, part in features.items()},
        distance_N=distance_N,
        bounds={"length": bound_N, "cosine": bound_N[::-1].copy()},
    )


@pytest.fixture(scope="session")
def few(gold) -> list[Pair]:
    """The pairs of `bench`, train before test, with short names in place of their texts."""
    train, test = few_pairs(gold)
    names: dict[object, int] = {}

    def short(side: object) -> tuple[Message]:
        return (Message("assistant", f"t{names.setdefault(side, len(names))}"),)

    return [
        replace(pair, prompt=(), chosen=short(pair.chosen), rejected=short(pair.rejected))
        for pair in [*train, *test]
    ]


def few_pairs(gold: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    groups: dict[str, dict[str, list[Pair]]] = {"train": {}, "test": {}}
    for pair in gold:
        groups[pair.split].setdefault(pair.group, []).append(pair)
    train = [p for group in sorted(groups["train"])[:11] for p in groups["train"][group][:40]]
    test = [p for group in sorted(groups["test"])[:2] for p in groups["test"][group][:100]]
    return train, test
