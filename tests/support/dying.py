"""Processes that kill themselves: who watches from outside may look when all is done."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

EVENTS = {
    "open",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.scandir",
    "sqlite3.connect",
}
LONGEST_S = 900  # then a process that hangs ends, too


def die_when(
    condition: Callable[[], bool], *, moment_s: float = 0.0, most_acts: int | None = None
) -> None:
    """Let this process end as by ``kill -9``, at its first act on files once a condition holds.

    Args:
        condition: looked at before each act on files, by the thread that acts.
        moment_s: the process lives on for so long.
        most_acts: but only for so many acts, so that it does not get to its end before.
    """
    looking, came = threading.local(), threading.Event()
    left = most_acts if moment_s else 0

    def act(event: str, _: object) -> None:
        nonlocal left
        if event not in EVENTS or getattr(looking, "now", False):
            return
        looking.now = True  # to look whether the condition holds may be an act on files itself
        try:
            if not came.is_set() and condition():
                came.set()
                if moment_s:
                    threading.Timer(moment_s, kill).start()
            if came.is_set() and left is not None:
                left -= 1
                if left < 0:
                    kill()
        finally:
            looking.now = False

    sys.addaudithook(act)


def kill() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def end_of_child(
    function: Callable[[], object], *, dies_at: Path | None = None, moment_s: float = 0.0
) -> int:
    """Run a function in a forked child and return its code.

    The child dies once a path is there, if one is named, or ``moment_s`` later.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(LONGEST_S)
            if dies_at is not None:
                die_when(dies_at.exists, moment_s=moment_s, most_acts=3)
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
