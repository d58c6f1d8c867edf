from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tamis.principles import Principle, PrinciplesConfig
from tamis.principles.judgement import Task
from tamis.types import Message, Pair

SHORT_AND_LONG = [
    Principle("concise", ("Be brief.", "Few words."), ("Be long.", "Many words.")),
    Principle("detailed", ("Say everything.",), ("Say little.",)),
]


@pytest.fixture
def lists() -> list[Principle]:
    return SHORT_AND_LONG


@pytest.fixture
def make_pairs() -> Callable[[int], list[Pair]]:
    """Makes pairs whose chosen answer is the longer one in every second."""

    def make(num_pairs: int) -> list[Pair]:
        made = []
        for index in range(num_pairs):
            sides = ["fox " * (index + 2), "dog"]
            chosen, rejected = sides if index % 2 == 0 else sides[::-1]
            made.append(
                Pair(
                    f"p{index}",
                    (Message("user", f"question {index}"),),
                    (Message("assistant", chosen),),
                    (Message("assistant", rejected),),
                    group=f"g{index}",
                    split="test" if index % 5 == 0 else "train",
                    margin=1.0,
                    gold=1.0,
                    row=index,
                )
            )
        return made

    return make


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    """Makes the task of a judge that is asked everything."""

    def make(num_pairs: int, num_principles: int, *, said: list[str] | None = None, **settings):
        config = PrinciplesConfig.model_validate({"judge": "length", **settings})
        notice = (lambda _: None) if said is None else said.append
        asked_NP = np.ones((num_pairs, num_principles), bool)
        return Task(asked_NP, config, tmp_path / "answers", notice)

    return make
