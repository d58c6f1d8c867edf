"""A cache of the hub in a folder."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Puts a folder into the hub's cache under an id and the names of a revision.

    Returns the commit.
    """
    cache = tmp_path / "hub-cache"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))

    def put(folder: Path, name: str, *, refs: tuple[str, ...] = ("main",)) -> str:
        commit = hashlib.sha1(f"{folder} {refs}".encode()).hexdigest()
        repository = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        for ref in refs:
            (repository / "refs" / ref).write_text(commit)
        return commit

    return put
