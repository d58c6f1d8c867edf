"""Parts of a study in several processes, each with its share of the cores.

One step of a small model is many small operations, and two threads wait for each other at each of
them: two processes with a thread each do the parts of a study in two thirds of the time of one
process with two threads (`docs/LOG.md`).
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.runs.memory import keep_freed_memory
from tamis.studies.noise import Site

MOST = 4
BYTES = 10 << 30  # that one may hold: a model, what it is trained on, and a pass of a large batch

Item = TypeVar("Item")
Plan = TypeVar("Plan")


@dataclass(frozen=True, slots=True)
class Work(Generic[Plan]):
    """What the processes of a study are told: what it is made of, and where it works."""

    plan: Plan
    run: Path
    data: Path | None
    models: Mapping[str, ModelConfig]

    @classmethod
    def of(cls, plan: Plan, site: Site) -> Work[Plan]:
        """Return that of a study; nobody is told what a process does."""
        return cls(plan, site.run, site.data, site.models)

    def site(self) -> Site:
        """Return where it works, without anybody to tell."""
        return Site(self.run, self.data, self.models, lambda _: None)


def num_processes() -> int:
    """Return how many processes share this machine: one for each core and 10 GiB, at most 4.

    One alone where there is an accelerator.
    """
    if torch.accelerator.is_available():
        return 1
    num_fitting = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // BYTES
    return max(1, min(MOST, torch.get_num_threads(), num_fitting))


class Workers:
    """Processes that do parts of a study; without any, this one does them.

    They end with the context, and with this process, however it ends. What is half done then goes
    on when it is asked for again, if it is kept in files.
    """

    def __init__(self, num: int | None = None) -> None:
        """Take so many processes, by default `num_processes`; they start when there is work."""
        self.num = num_processes() if num is None else num
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes, whatever they are doing if there was an error."""
        if self._pool is None:
            return
        if kind is not None:
            processes = active_children()
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
        self._pool.shutdown()

    def each(
        self,
        do: Callable[[Item], None],
        items: Iterable[Item],
        *,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Do something with each item, in any order; whichever process is free takes the next.

        Args:
            do: a function of a module, or a `functools.partial` of one; what it leaves is in files.
            items: what it is given; both travel between processes.
            advance: told of each item that is done.

        Raises:
            ConfigError: a process ended at once, as one does that needs more memory than there is.
            Exception: what ``do`` raises; no further item is begun.
        """
        if self.num < 2:
            for item in items:
                do(item)
                advance(1)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.num,
                mp_context=get_context("spawn"),
                initializer=_begin,
                initargs=(max(1, torch.get_num_threads() // self.num),),
            )
        futures: list[Future[None]] = [self._pool.submit(do, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
                advance(1)
        except BrokenProcessPool as error:
            raise ConfigError(
                "a process of the study was ended, perhaps for lack of memory; what it had "
                "finished is kept: run the same command again"
            ) from error


def _begin(num_threads: int) -> None:
    """Make a process one of several: quiet, with its share of the cores, and not alone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says when to end
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    torch.set_num_threads(num_threads)
    keep_freed_memory()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
