"""Threads that score the texts of many requests together.

Shapes: N texts of a request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from tamis.runs.memory import release_freed_memory

log = logging.getLogger("tamis.serve")

FloatArray = npt.NDArray[np.float64]
Ids = tuple[int, ...]
Score = Callable[[Sequence[Ids]], FloatArray]
Choose = Callable[[Sequence[Ids]], list[int]]

IDLE_S = 5.0
REST_TEXTS = 128  # after so many a busy thread rests, too, so that freed memory does not add up


class BatchDone(NamedTuple):
    """What one pass of the model took."""

    num_texts: int
    num_tokens: int
    seconds: float


def _silent(_: object) -> None:
    return None


@dataclass(slots=True, eq=False)
class _Job:
    """The texts of one request, and which scores are still missing."""

    future: Future[FloatArray]
    scores_N: FloatArray
    num_missing: int


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    job: _Job
    place: int
    ids: Ids
    since: float


@final
class Batcher:
    """Takes texts from any thread and scores them in its own, the longest waiting one first.

    Which texts go together is not up to the requests: ``choose`` picks from all that wait, for one
    thread at a time. The scores of a request come back in its own order, when all are there. A
    request whose future is cancelled costs no pass that has not begun. Where a batch raises an
    error, its texts are scored one by one, so that the error reaches the request that caused it
    alone. None ends a thread.
    """

    def __init__(
        self,
        score: Score,
        *,
        choose: Choose,
        gather_s: float = 0.002,
        enough_tokens: int = 4096,
        num_threads: int = 1,
        before: Callable[[bool], None] = _silent,
        done: Callable[[BatchDone], None] = _silent,
        idle_s: float = IDLE_S,
        rest: Callable[[], None] = release_freed_memory,
    ) -> None:
        """Start the threads.

        Args:
            score: returns a score for each sequence; called from the threads alone.
            choose: indices of the sequences of the next batch, see `tamis.serve.mates`.
            gather_s: how long the oldest text waits for company at most while a thread is idle.
            enough_tokens: with so many it does not wait.
            num_threads: so many passes go side by side at most.
            before: told in the thread, before every batch, whether it is alone: no other is under
                way, and nothing waits.
            done: told of every batch, in the thread.
            idle_s: after so long without a text a thread rests, once until there is another.
            rest: what it does then, and after every ``REST_TEXTS`` texts; nothing that comes
                meanwhile waits for it to be taken.
        """
        self._score, self._choose, self._before, self._done = score, choose, before, done
        self._idle_s, self._rest = idle_s, rest
        self._gather_s, self._enough_tokens = gather_s, enough_tokens
        self._changed, self._choosing, self._giving = (
            threading.Condition(),
            threading.Lock(),
            threading.Lock(),
        )
        self._pool: list[_Waiting] = []
        self._num_running, self._num_since_rest, self._closed = 0, 0, False
        self._threads = [
            threading.Thread(target=self._work, name=f"tamis-scoring-{number}", daemon=True)
            for number in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, sequences: Sequence[Ids]) -> Future[FloatArray]:
        """Queue the texts of a request; the future holds their scores [N].

        Raises:
            RuntimeError: the batcher is closed.
        """
        future: Future[FloatArray] = Future()
        if not sequences:
            future.set_result(np.empty(0))
            return future
        job = _Job(future, np.empty(len(sequences)), len(sequences))
        now = time.monotonic()
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._pool += [_Waiting(job, place, ids, now) for place, ids in enumerate(sequences)]
            self._changed.notify()
        return future

    def close(self) -> None:
        """Score what waits, take nothing more, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._choosing:  # held while there is nothing to choose from, too
                batch = self._next()
            if batch is None:
                return
            try:
                self._run(batch)
            except Exception as error:
                log.error("counting a batch failed: %s", type(error).__name__)

    @contextmanager
    def _side_by_side(self) -> Iterator[bool]:
        with self._changed:
            self._num_running += 1
            is_alone = self._num_running == 1 and not self._pool
        try:
            yield is_alone
        finally:
            with self._changed:
                self._num_running -= 1
                self._changed.notify()

    def _next(self) -> list[_Waiting] | None:
        """Wait for texts and take a batch; ``None`` at the end."""
        self._await_texts()
        with self._changed:
            self._gather()
            self._pool = [item for item in self._pool if not item.job.future.done()]
            if not self._pool:
                return None if self._closed else []
            waiting = list(self._pool)
        # others may submit meanwhile: they come behind what waits
        try:
            chosen = self._choose([item.ids for item in waiting])
        except Exception as error:
            for item in waiting:
                self._fail(item.job, error)
            return []
        taken = set(chosen)
        with self._changed:
            rest = [item for place, item in enumerate(waiting) if place not in taken]
            self._pool[: len(waiting)] = rest
        return [waiting[place] for place in chosen]

    def _await_texts(self) -> None:
        """Return when there is something to score, or nothing more will come."""
        is_warm = True
        while True:
            with self._changed:
                if not self._pool and not self._closed:
                    is_idle = not self._changed.wait(self._idle_s)
                if self._pool or self._closed:
                    return
            # without the lock: whoever submits would wait for it, and that is the event loop
            if is_idle and is_warm:
                self._rest()
                is_warm = False

    def _gather(self) -> None:
        while self._pool and not self._closed:
            left = self._pool[0].since + self._gather_s - time.monotonic()
            if left <= 0 or sum(len(item.ids) for item in self._pool) >= self._enough_tokens:
                return
            self._changed.wait(left)

    def _run(self, batch: Sequence[_Waiting]) -> None:
        started = time.monotonic()
        batch = [item for item in batch if not item.job.future.done()]
        if not batch:
            return
        try:
            with self._side_by_side() as is_alone:
                self._before(is_alone)
                scores = self._score([item.ids for item in batch])
            given = list(zip(batch, map(float, scores), strict=True))
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0].job, error)
            else:
                for item in batch:
                    self._run([item])
            return
        num_tokens = sum(len(item.ids) for item in batch)
        try:  # before the answers: who has one finds it counted
            self._done(BatchDone(len(batch), num_tokens, time.monotonic() - started))
        finally:
            for item, score in given:
                self._give(item, score)
        self._rest_sometimes(len(batch))

    def _rest_sometimes(self, num_texts: int) -> None:
        with self._changed:
            self._num_since_rest += num_texts
            is_due = self._num_since_rest >= REST_TEXTS
            if is_due:
                self._num_since_rest = 0
        if is_due:
            with self._choosing:  # no pass begins: what is free between the arrays of one stays
                with self._changed:
                    self._changed.wait_for(lambda: self._num_running == 0)
                self._rest()

    def _give(self, item: _Waiting, score: float) -> None:
        job = item.job
        with self._giving:  # two passes may have texts of one request
            job.scores_N[item.place] = score
            job.num_missing -= 1
            if job.num_missing == 0 and _is_wanted(job.future):
                job.future.set_result(job.scores_N)

    def _fail(self, job: _Job, error: Exception) -> None:
        # the other texts of the request are worth nothing without this one
        with self._giving:
            if _is_wanted(job.future):
                job.future.set_exception(error)


def _is_wanted(future: Future[FloatArray]) -> bool:
    return not future.done() and future.set_running_or_notify_cancel()
