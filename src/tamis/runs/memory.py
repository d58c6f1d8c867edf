"""Keeping the memory that arrays give back, so that the next arrays find it warm."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST_KEPT, KEPT = 64 << 20, 256 << 20  # bytes
MOST_GROWTH = 1.25


def keep_freed_memory() -> bool:
    """Ask glibc to keep what the process frees; return whether it does.

    A pass of a model on CPU allocates and frees arrays of megabytes by the thousand. As it comes,
    glibc hands such memory back to the system and gets it again page by page, zeroed: a fifth of
    the time of scoring (`docs/LOG.md`). Afterwards arrays of up to 64 MiB come from memory that the
    process keeps, up to 256 MiB of it beyond what is in use, by one store for all threads: each of
    many would keep as much. Call it once, early.

    Does nothing where glibc is not used, or where the user has set one of its ``MALLOC_``
    variables or ``GLIBC_TUNABLES``.
    """
    is_set = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    mallopt = _of_libc("mallopt")
    if is_set or mallopt is None:
        return False
    options = ((M_MMAP_THRESHOLD, LARGEST_KEPT), (M_TRIM_THRESHOLD, KEPT), (M_ARENA_MAX, 1))
    return all(mallopt(option, value) == 1 for option, value in options)


def release_freed_memory() -> None:
    """Hand back what is free, in milliseconds; at the end of many passes, so that it cannot add up.

    Does nothing where glibc is not used.
    """
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


class Growth:
    """Keeps the memory of a loop whose passes have different sizes from growing.

    Arrays of other sizes leave holes in what is kept, and each pass takes new memory beside them.
    """

    def __init__(self) -> None:
        self._at_first: int | None = None

    def check(self) -> None:
        """Hand back what is free if the process holds a quarter more than after its first pass.

        Call it after each pass; the next one is the first again once memory has been handed back.
        """
        held = held_memory()
        if self._at_first is None:
            self._at_first = held
        elif held > MOST_GROWTH * self._at_first:
            release_freed_memory()
            self._at_first = None


def held_memory() -> int:
    """Return the bytes that the process holds without a file behind them; 0 but on Linux."""
    if not sys.platform.startswith("linux"):
        return 0
    _, resident, shared, *_ = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _of_libc(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
