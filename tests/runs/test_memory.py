"""Memory that is freed stays with the process, unless the user has said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tamis.runs.memory import Growth, held_memory, keep_freed_memory

PAGES = """
import resource
import numpy as np
from tamis.runs.memory import Growth, held_memory, keep_freed_memory, release_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {keep}:
    assert keep_freed_memory()

def pass_of_a_model():
    [np.ones(400_000) for _ in range(50)]

pass_of_a_model()
if {release}:
    release_freed_memory()
before = faults()
pass_of_a_model()
print((faults() - before) * resource.getpagesize())
"""


def bytes_fetched(*, keep: bool, release: bool = False) -> int:
    """Return how many bytes the system hands out for 160 MB in the place of others."""
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    code = PAGES.format(keep=keep, release=release)
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return int(found.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_arrays_get_the_memory_of_those_before() -> None:
    assert bytes_fetched(keep=True) < 1_000_000
    assert bytes_fetched(keep=False) > 100_000_000


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_a_users_own_setting_is_kept(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_what_is_free_can_be_handed_back() -> None:
    assert bytes_fetched(keep=True, release=True) > 100_000_000


def test_memory_is_handed_back_once_it_has_grown_by_a_quarter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = [100, 120, 125, 126, 50, 60, 63, 90]
    monkeypatch.setattr("tamis.runs.memory.held_memory", lambda: held[0])
    released: list[int] = []
    monkeypatch.setattr("tamis.runs.memory.release_freed_memory", lambda: released.append(held[0]))
    growth = Growth()
    while held:
        growth.check()
        held.pop(0)
    assert released == [126, 63]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_what_the_process_holds_is_read_in_bytes() -> None:
    before = held_memory()
    kept = np.ones(20_000_000)
    assert held_memory() - before == pytest.approx(kept.nbytes, rel=0.1)


def test_nothing_is_held_where_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert held_memory() == 0
    growth = Growth()
    growth.check()
    growth.check()
