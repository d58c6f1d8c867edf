"""Rewards in the trainer's own process, from the engine of the server.

`reward_func` is what TRL's GRPO, RLOO and online DPO trainers call. `tamis.serve.verl` and
`tamis.serve.openrlhf_reward` are the functions that verl and OpenRLHF load from a file.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from tamis.errors import ConfigError, DataError, shorten
from tamis.evaluate.scorers.calibrated import check_calibrators
from tamis.metrics.ensemble import Ensemble
from tamis.principles.layout import Layout
from tamis.serve.config import ServeConfig
from tamis.serve.engine import Member, Scores, check_together, load_member, score_texts
from tamis.serve.principled import (
    NO_PRINCIPLES,
    Under,
    check_local_layout,
    check_under,
    is_bare,
    learned_principles,
    under_named,
)
from tamis.serve.texts import Rendered, Text, Turns, conversation_of
from tamis.types import Message

log = logging.getLogger("tamis.serve")

Which = Literal["raw", "standardised", "calibrated", "probability"]
Plain = Literal["turns", "text"]

CHECKPOINT_VARIABLE = "TAMIS_REWARD_MODEL"
KEPT = 4  # reward models that stay loaded for the functions that have no object of their own
ONE_LOADS = threading.Lock()  # trainers ask from many threads at once, and a model is large


@dataclass(frozen=True, slots=True)
class RewardSettings:
    """Which models give which reward; see `reward_func` for the fields."""

    checkpoints: tuple[str, ...]
    ensemble: Ensemble | None = None
    which: Which = "raw"
    plain: Plain = "turns"
    batch_tokens: int = ServeConfig().max_batch_tokens
    under: Under = NO_PRINCIPLES


@final
class Rewards:
    """Loaded models that score texts on demand, for one thread at a time."""

    def __init__(self, settings: RewardSettings) -> None:
        """Load the models.

        Raises:
            ConfigError: one cannot be loaded, gives a score that is not finite, does not record
                what the ensemble standardises by, has no calibrator where one is asked for, or
                cannot be asked under the principles.
        """
        config = ServeConfig(max_batch_tokens=settings.batch_tokens)
        self._settings = settings
        self._members: list[Member] = [load_member(path, config) for path in settings.checkpoints]
        check_together(self._members, settings.ensemble)
        check_under(self._members, settings.under)
        self._unasked = [] if settings.under.texts else learned_principles(self._members)
        if settings.which == "calibrated":
            check_calibrators({member.name: member.calibrator for member in self._members})
        self._one_at_a_time = threading.Lock()

    def scores(self, texts: Sequence[Text]) -> Scores:
        """Return everything that is known of texts.

        Raises:
            DataError: a text cannot be read, or a score is not finite.
        """
        settings = self._settings
        with self._one_at_a_time:
            if self._unasked and any(map(is_bare, texts)):
                log.warning(
                    "%s learned to read principles and is asked without any; give some as "
                    "principles",
                    ", ".join(self._unasked),
                )
                self._unasked = []  # once is enough
            return score_texts(
                self._members, texts, ensemble=settings.ensemble, under=settings.under
            )

    def rewards(self, texts: Sequence[Text]) -> list[float]:
        """Return the reward of each text.

        Raises:
            ConfigError: a standardised or calibrated reward is asked for, and there is none.
            DataError: a text cannot be read, or a score is not finite.
        """
        if not texts:
            return []
        return chosen(self.scores(texts), self._settings.which)


@final
class RewardFunc:
    """A reward function for trainers that call it with ``prompts`` and ``completions``.

    It can be pickled: the models are loaded where it is first called.
    """

    def __init__(self, settings: RewardSettings, *, name: str = "tamis") -> None:
        self.settings, self.__name__ = settings, name
        self._loaded: Rewards | None = None

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
        """Return the reward of each completion; what else the trainer sends is not read.

        Raises:
            DataError: a prompt or a completion is neither text nor messages, or their numbers
                differ.
        """
        texts = texts_of(prompts, completions, plain=self.settings.plain)
        return self.load().rewards(texts)

    def load(self) -> Rewards:
        """Return the models, loaded where they are not yet."""
        with ONE_LOADS:
            if self._loaded is None:
                self._loaded = Rewards(self.settings)
        return self._loaded

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.settings, self.__name__)


@final
class AsyncRewardFunc:
    """The same for trainers that await their reward functions, side by side with others."""

    def __init__(self, settings: RewardSettings, *, name: str = "tamis") -> None:
        self.settings, self.__name__ = settings, name
        self._blocking = RewardFunc(settings, name=name)

    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **_: Any
    ) -> list[float]:
        """Return the reward of each completion; see `RewardFunc`."""
        return await asyncio.to_thread(self._blocking, prompts, completions)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade_async, (self.settings, self.__name__)


def reward_func(
    checkpoint: str | Path | Sequence[str | Path],
    *,
    ensemble: Ensemble | None = None,
    which: Which = "raw",
    plain: Plain = "turns",
    name: str = "tamis",
    asynchronous: bool = False,
    principles: str | Sequence[str] = (),
    layout: Layout = "prompt_first",
    principle_file: str | Path | None = None,
) -> RewardFunc | AsyncRewardFunc:
    """Return a reward function for TRL: ``trainer = GRPOTrainer(reward_funcs=reward_func(path))``.

    It takes ``prompts`` and ``completions``, texts or lists of messages, and returns a list of
    floats. The models are loaded at the first call, and again in every process that it is sent to.

    Args:
        checkpoint: a directory, a run directory, a hub id or ``package:name/dir``; several make an
            ensemble.
        ensemble: how several models score together; the default is their mean.
        which: ``raw`` scores; ``standardised`` ones, by the mean and the standard deviation that
            each checkpoint records; ``calibrated`` ones; or the ``probability`` in [0, 1] that the
            answer is preferred to one with the model's mean score.
        plain: what prompts and completions that are texts mean: ``turns`` of a user and an
            assistant, as in Tamis's training data, or one ``text`` that was rendered already and
            gets the first and the end token where it lacks them.
        name: under which the trainer logs it.
        asynchronous: return a function that is awaited.
        principles: under which a principle-conditioned model scores: names, ``not:NAME``, or words.
        layout: of the principles, as in training: ``prompt_first`` or ``answer_first``.
        principle_file: YAML or JSONL file of the principles that are named; ``None``: the shipped
            ones.

    Raises:
        ConfigError: no checkpoint is named, a principle or the layout is unknown, or a checkpoint
            of this machine learned the other layout.
        DataError: the file of principles cannot be read.

    >>> reward_func("runs/mine").__name__
    'tamis'
    """
    given = [checkpoint] if isinstance(checkpoint, str | Path) else list(checkpoint)
    if not given:
        raise ConfigError("reward_func: expected a checkpoint, found none")
    together = Ensemble() if ensemble is None and len(given) > 1 else ensemble
    under = under_named(principles, layout=layout, file=principle_file)
    for path in map(str, given):
        check_local_layout(path, under)
    settings = RewardSettings(tuple(map(str, given)), together, which, plain, under=under)
    if asynchronous:
        return AsyncRewardFunc(settings, name=name)
    return RewardFunc(settings, name=name)


def loaded(settings: RewardSettings) -> Rewards:
    """Return loaded models; the same settings are loaded once in a process, whoever asks."""
    with ONE_LOADS:
        return _kept(settings)


@lru_cache(maxsize=KEPT)
def _kept(settings: RewardSettings) -> Rewards:
    return Rewards(settings)


def texts_of(prompts: Sequence[Any], completions: Sequence[Any], *, plain: Plain) -> list[Text]:
    """Return what is to be scored of prompts and completions, texts or messages.

    Raises:
        DataError: one is neither, or their numbers differ.
    """
    if len(prompts) != len(completions):
        raise DataError(f"{len(prompts)} prompts and {len(completions)} completions")
    return [
        _text(prompt, completion, plain=plain, where=f"[{number}]")
        for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
    ]


def chosen(scores: Scores, which: Which) -> list[float]:
    """Return one of the figures of texts.

    Raises:
        ConfigError: it is not known.
    """
    if which == "probability":
        return [float(value) for value in scores.probability_N]
    if which == "raw":
        return [float(value) for value in scores.raw_N]
    if which == "standardised":
        if scores.standardised_N is None:
            raise ConfigError(
                "standardised rewards need checkpoints that record the mean and the standard "
                "deviation of their scores, as those of `tamis train` do; choose raw"
            )
        return [float(value) for value in scores.standardised_N]
    if scores.calibrated_N is None:
        raise ConfigError("the calibrator calibrates gaps between two answers, not single scores")
    return [float(value) for value in scores.calibrated_N]


def _text(prompt: Any, completion: Any, *, plain: Plain, where: str) -> Text:
    if plain == "text" and isinstance(prompt, str) and isinstance(completion, str):
        return Rendered(prompt + completion, "training", completion)
    before = _turns(prompt, role="user", where=f"prompts{where}")
    after = _turns(completion, role="assistant", where=f"completions{where}")
    if not after:
        raise DataError(f"completions{where}: expected text or messages, found none")
    return Turns(before, after)


def _turns(given: Any, *, role: Literal["user", "assistant"], where: str) -> tuple[Message, ...]:
    if isinstance(given, str):
        # as in training data: an empty prompt is no turn, an empty answer is one
        return (Message(role, given),) if given or role == "assistant" else ()
    if isinstance(given, dict):
        return conversation_of([given], where=where)
    if isinstance(given, list | tuple | np.ndarray):
        return conversation_of(list(given), where=where)
    raise DataError(f"{where}: expected text or messages, found {shorten(given)}")


def _remade(settings: RewardSettings, name: str) -> RewardFunc:
    return RewardFunc(settings, name=name)


def _remade_async(settings: RewardSettings, name: str) -> AsyncRewardFunc:
    return AsyncRewardFunc(settings, name=name)
