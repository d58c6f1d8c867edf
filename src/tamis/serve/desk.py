"""Where a request waits for its scores: admission, tokens, the queue, time-outs, leaving clients.

Shapes: K models, N texts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar, final

import numpy as np
import torch
from starlette.requests import Request

from tamis.errors import DataError
from tamis.metrics.ensemble import Ensemble
from tamis.models.rows.choose import row_plan
from tamis.principles.layout import room_problem
from tamis.principles.principle import Principle, load_principles
from tamis.serve.batcher import BatchDone, Batcher, FloatArray
from tamis.serve.config import ServeConfig
from tamis.serve.engine import Member, Scores, check_together, put_together
from tamis.serve.errors import (
    Refusal,
    bad_request,
    non_finite,
    not_found,
    queue_full,
    scoring_failed,
    too_large,
)
from tamis.serve.health import Metrics
from tamis.serve.mates import CPU_TOKENS, choose_mates, cpu_passes
from tamis.serve.patience import Patience
from tamis.serve.principled import NO_PRINCIPLES, Under, check_under, encode_under
from tamis.serve.texts import Cut, Encoded, Rendered, Text, TokenIds, Turns
from tamis.types import Conversation

log = logging.getLogger("tamis.serve")

TURN_CHARS = 16  # what a template writes around a turn, so that empty turns are not for nothing
ID_CHARS = 4  # a token's
PART_CHARS = 100_000  # at a time: some hundredths of a second of tokenising

Result = TypeVar("Result")


@final
class Desk:
    """One served model, or an ensemble: each member has a queue and a thread of its own."""

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        *,
        ensemble: Ensemble | None,
        config: ServeConfig,
        metrics: Metrics,
        under: Under = NO_PRINCIPLES,
    ) -> None:
        self.name, self.members, self.ensemble = name, tuple(members), ensemble
        self.under = under
        check_together(self.members, ensemble)  # before anything is asked
        check_under(self.members, under)
        self._config, self._metrics = config, metrics
        self._num_waiting = 0
        self._is_one_vocabulary = _share_vocabulary(self.members)
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="tamis-encoding")
        self._batchers = [self._batcher(member) for member in members]

    @property
    def max_length(self) -> int:
        """Tokens that every member reads."""
        return min(member.encoder.max_length for member in self.members)

    async def score(
        self,
        texts: Sequence[Text],
        *,
        request: Request,
        cut: Cut | None = None,
        under: Under | None = None,
    ) -> Scores:
        """Return the scores of texts, in their order.

        Args:
            texts: of one request.
            request: whose client may leave.
            cut: how many tokens are kept; default: what the model reads.
            under: principles, perhaps none, whose tokens have to leave room for a text; ``None``:
                those of the server.

        Raises:
            Refusal: there is no room, a text cannot be read, the principles are too long, the time
                is over, the client left, or a score is not finite.
        """
        under = self.under if under is None else under
        block, room = under.block, len(texts)
        if block:  # also where there is no text
            self.check([Turns((), block)])
            room = max(1, room)
        self.check(texts, each=block)
        # one admission and one clock for the whole request, whatever it needs on the way
        with self._admitted(room), self._patience(request) as patience:
            if block:
                await self._check_room(block, cut=cut, patience=patience)
            encoded_KN = await self._encoded(texts, under=under, cut=cut, patience=patience)
            raw_KN = await self._scored(encoded_KN, patience=patience)
            if not np.isfinite(raw_KN).all():
                raise non_finite(self.name)
            scores = await self._put_together(raw_KN, encoded_KN, patience=patience)
        self._metrics.scored(self.name, num_truncated=int(scores.truncated_N.sum()))
        if self._config.log_text:
            _log_texts(self.name, texts, scores, under=under)
        return scores

    def check(self, texts: Sequence[Text], *, each: Conversation = ()) -> None:
        """Look at what can be told of the texts of a request before anything is done for it.

        Args:
            texts: of the request.
            each: turns that every text gets besides its own.

        Raises:
            Refusal: they are more, or have more characters, than this server would ever take, or
                ids mean nothing to one of several models.
        """
        if len(texts) > self._config.queue:
            raise too_large(f"{len(texts)} texts; the whole queue takes {self._config.queue}")
        most, num_chars = self._config.max_text_chars, 0
        more = size_of(Turns((), each))
        for text in texts:
            num_chars += size_of(text) + more
            if num_chars > most:
                raise too_large(
                    f"more than {most} characters of text; a prompt counts with each of its "
                    "answers: ask for fewer at a time"
                )
        if any(isinstance(text, TokenIds) for text in texts) and not self._is_one_vocabulary:
            raise bad_request(
                f"{self.name!r} is an ensemble of models with different vocabularies; send text "
                "instead of token ids"
            )

    def close(self) -> None:
        """Score what waits, and end the threads; what waits for its tokens gets none."""
        self._encoding.shutdown(wait=False, cancel_futures=True)
        for batcher in self._batchers:
            batcher.close()

    def _batcher(self, member: Member) -> Batcher:
        kind = row_plan(member.scorer.model).kind
        most = member.batch_tokens
        is_on_cpu = member.scorer.model.device.type == "cpu"
        enough = min(CPU_TOKENS, most) if is_on_cpu else most

        def choose(waiting: Sequence[tuple[int, ...]]) -> list[int]:
            return choose_mates(waiting, batch_tokens=most, kind=kind, enough_tokens=enough)

        def done(batch: BatchDone) -> None:
            self._metrics.batch(self.name, batch)

        cores = torch.get_num_threads()
        num_passes = cpu_passes(cores) if is_on_cpu else 1

        def share_cores(is_alone: bool) -> None:
            # of this thread alone
            torch.set_num_threads(cores if is_alone else cores // num_passes)

        return Batcher(
            member.score,
            choose=choose,
            gather_s=self._config.gather_ms / 1000,
            enough_tokens=enough,
            num_threads=num_passes,
            before=share_cores,
            done=done,
        )

    @contextmanager
    def _admitted(self, num_texts: int) -> Iterator[None]:
        if self._num_waiting + num_texts > self._config.queue:
            raise queue_full(self._num_waiting)
        self._num_waiting += num_texts
        try:  # the counter, too: where it fails, the room has to come back
            self._metrics.waiting(self.name, num_texts=self._num_waiting)
            yield
        finally:
            self._num_waiting -= num_texts
            self._metrics.waiting(self.name, num_texts=self._num_waiting)

    async def _check_room(
        self, principles: Conversation, *, cut: Cut | None, patience: Patience
    ) -> None:
        def count() -> int:
            return max(member.encoder.count(principles) for member in self.members)

        num_tokens = await self._in_turn(count, patience=patience)
        is_cut = cut is not None and cut.num_tokens is not None
        limit = cut.num_tokens if cut is not None and cut.num_tokens else self.max_length
        problem = room_problem(num_tokens, limit=limit, is_cut=is_cut)
        if problem is not None:
            raise bad_request(problem)

    def _patience(self, request: Request) -> Patience:
        return Patience(request, timeout_s=self._config.timeout_s)

    async def _encoded(
        self, texts: Sequence[Text], *, under: Under, cut: Cut | None, patience: Patience
    ) -> list[list[Encoded]]:
        """Return the token ids of each text for each member.

        A request with much text takes several turns at the tokenizers: others come in between, and
        nothing more is done for one that was given up.
        """
        encoded_KN: list[list[Encoded]] = [[] for _ in self.members]
        for part in _parts(texts, each=under.block):

            def encode(part: Sequence[Text] = part) -> list[list[Encoded]]:
                return [
                    encode_under(member.encoder, part, under=under, cut=cut)
                    for member in self.members
                ]

            try:
                found_KN = await self._in_turn(encode, patience=patience)
            except DataError as error:
                raise bad_request(str(error)) from error
            for encoded_N, found_N in zip(encoded_KN, found_KN, strict=True):
                encoded_N += found_N
        return encoded_KN

    async def _in_turn(self, work: Callable[[], Result], *, patience: Patience) -> Result:
        """Do what needs a tokenizer, which is not for several threads at once."""
        loop = asyncio.get_running_loop()
        return await patience.wait_for(loop.run_in_executor(self._encoding, work))

    async def _put_together(
        self,
        raw_KN: FloatArray,
        encoded_KN: Sequence[Sequence[Encoded]],
        *,
        patience: Patience,
    ) -> Scores:
        def put() -> Scores:
            return put_together(self.members, raw_KN, encoded_KN, ensemble=self.ensemble)

        if all(member.calibrator is None for member in self.members):
            return put()
        return await self._in_turn(put, patience=patience)  # a calibrator may count tokens

    async def _scored(
        self, encoded_KN: Sequence[Sequence[Encoded]], *, patience: Patience
    ) -> FloatArray:
        futures = [
            batcher.submit([text.ids for text in encoded_N])
            for batcher, encoded_N in zip(self._batchers, encoded_KN, strict=True)
        ]
        work = asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
        try:
            scores = await patience.wait_for(work)
            return np.stack(scores)
        except Refusal:
            raise
        except Exception as error:
            log.error("scoring failed: %s", frames(error))
            raise scoring_failed(error) from error
        finally:
            for future in futures:
                future.cancel()


@dataclass(frozen=True, slots=True)
class Desks:
    """The served models by name; the first one is for those who name none.

    ``principles`` are those that requests may name.
    """

    by_name: Mapping[str, Desk]
    principles: Sequence[Principle] = field(default_factory=load_principles)

    @property
    def first(self) -> Desk:
        """The model of requests that name none."""
        return next(iter(self.by_name.values()))

    def find(self, name: str | None) -> Desk:
        """Return the model that a request names.

        Raises:
            Refusal: there is none.
        """
        if name is None:
            return self.first
        desk = self.by_name.get(name)
        if desk is None:
            raise not_found(
                f"there is no model {name[:200]!r}; expected one of {', '.join(self.by_name)}"
            )
        return desk

    def close(self) -> None:
        """End all threads, after what waits is scored."""
        for desk in self.by_name.values():
            desk.close()


def _share_vocabulary(members: Sequence[Member]) -> bool:
    if len(members) == 1:
        return True
    first, *others = (member.encoder.tokenizer.get_vocab() for member in members)
    return all(other == first for other in others)


def size_of(text: Text) -> int:
    """Return the characters of a text; a turn has some of its own, and a token id stands for some.

    >>> size_of(Rendered("four", "none")), size_of(TokenIds((5, 6)))
    (4, 8)
    """
    if isinstance(text, Turns):
        return sum(TURN_CHARS + len(turn.content) for turn in text.prompt + text.answer)
    return len(text.text) if isinstance(text, Rendered) else ID_CHARS * len(text.ids)


def _parts(texts: Sequence[Text], *, each: Conversation) -> Iterator[Sequence[Text]]:
    """Yield texts that are next to each other, each part with few characters, or one text."""
    start = num_chars = 0
    more = size_of(Turns((), each))
    for place, text in enumerate(texts):
        size = size_of(text) + more
        if place > start and num_chars + size > PART_CHARS:
            yield texts[start:place]
            start, num_chars = place, 0
        num_chars += size
    if start < len(texts):
        yield texts[start:]


def _log_texts(model: str, texts: Sequence[Text], scores: Scores, *, under: Under) -> None:
    principles = {"principles": under.texts} if under.texts else {}
    for text, raw in zip(texts, scores.raw_N.tolist(), strict=True):
        content: object = text.ids if isinstance(text, TokenIds) else None
        if isinstance(text, Turns):
            content = [[turn.role, turn.content] for turn in text.prompt + text.answer]
        elif isinstance(text, Rendered):
            content = text.text
        log.info(json.dumps({"model": model, "score": raw, "text": content, **principles}))


def frames(error: BaseException) -> str:
    """Return the kind of an error and where it was raised; its message may hold text."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' < '.join(reversed(frames))}"
