from collections.abc import Iterator
from pathlib import Path

import pytest
from reviews import Visitor, visit, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with eight pairs and votes on them."""
    return write_run(tmp_path / "run")


@pytest.fixture
def ada(run: Path) -> Iterator[Visitor]:
    """Ada, who has opened the review of the run."""
    with visit(run) as visitor:
        yield visitor
