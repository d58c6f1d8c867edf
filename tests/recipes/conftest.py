from collections.abc import Callable
from pathlib import Path

import pytest

from tamis.data import DataConfig
from tamis.denoise.config import DenoiseConfig
from tamis.models.config import ModelConfig
from tamis.recipes.schema import Recipe
from tamis.runs import StageResult, Watcher
from tamis.train.config import TrainConfig
from tamis.vote.config import VoteConfig


@pytest.fixture(scope="session")
def make_recipe(preferences: Path, tiny_bert: str) -> Callable[[Path], Recipe]:
    """Makes a small recipe with votes of heads, two steps of training and a baseline."""

    def make(out: Path) -> Recipe:
        return Recipe(
            out=str(out),
            model=ModelConfig(path=tiny_bert),
            data=DataConfig(path=str(preferences), test_frac=0.3),
            denoise=DenoiseConfig(policy="flip"),
            vote=VoteConfig(num_voters=3, num_folds=2, epochs=3, batch_size=16),
            train=TrainConfig(max_steps=2, batch_size=8, learning_rate=1e-3),
        )

    return make


class Log:
    """What a run told its watcher."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.fresh: dict[str, bool] = {}
        self.said: list[str] = []

    def watcher(self) -> Watcher:
        return Watcher(self.begun.append, self._end, self.said.append)

    def _end(self, name: str, result: StageResult) -> None:
        self.fresh[name] = result.fresh


@pytest.fixture
def log() -> Log:
    return Log()
