from collections.abc import Callable
from pathlib import Path

import pytest
from members import make_member

from tamis.models.config import ModelConfig


@pytest.fixture(scope="session")
def three(llama: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three checkpoints of one parent; tests read them and write elsewhere."""
    folder = tmp_path_factory.mktemp("members")
    return [make_member(llama, folder / f"m{seed}", seed=seed) for seed in range(3)]


@pytest.fixture(scope="session")
def adapted(llama: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints with adapters beside them, of one parent."""
    folder = tmp_path_factory.mktemp("adapted")
    return [make_member(llama, folder / f"m{seed}", seed=seed, rank=2) for seed in range(2)]


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    return make_member
