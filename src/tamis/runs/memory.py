"""Keeping the memory that arrays give back, so that the next arrays find it warm."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST_KEPT, KEPT = 64 << 20, 256 << 20  # bytes


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


def _of_libc(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
