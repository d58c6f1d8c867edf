"""From a short text to a scorer: ``runs/a``, ``longest``, ``classify:http://localhost:8000``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, final

from tamis import plugins
from tamis.errors import ConfigError
from tamis.evaluate import PairScorer
from tamis.evaluate.scorers.options import ScorerOptions
from tamis.metrics.ensemble import Centring
from tamis.models.checkpoint import Scorer
from tamis.models.source import PACKAGE

CHECKPOINT = "checkpoint"
Notice = Callable[[str], None]
Value = TypeVar("Value")
_NAMED = re.compile(r"([\w.+-]+)=(.+)", re.DOTALL)
_KIND = re.compile(r"([A-Za-z_][\w.]*):(.*)", re.DOTALL)


def nothing() -> None:
    """Let go of nothing."""


def unknown() -> Centring | None:
    """Say that nobody measured the scores."""
    return None


def silent(line: str) -> None:
    """Drop a line for the user."""


@dataclass(frozen=True, slots=True)
class Inner:
    """The scorer inside another one, and what turns its scores into those of the outer one."""

    scorer: OpenedScorer
    wrap: Callable[[PairScorer], PairScorer]


@dataclass(frozen=True, slots=True)
class OpenedScorer:
    """A scorer that is ready to be asked.

    Attributes:
        name: how people call it.
        score: the scores of both answers of pairs; a model is loaded when this is first called.
        identity: what the scores depend on, besides the pairs: JSON-safe, the same for the same
            weights, file, or server and model.
        is_kept: whether its scores are worth keeping on disk, by the content of a pair.
        model: loads a model of this process, or returns it where it is loaded; ``None`` for
            scorers that have none.
        release: lets go of the model, which the next call of ``score`` loads again.
        inner: the scorer whose scores are worth keeping in place of this one's, if there is one.
        of_pairs: whether it compares two answers: its scores are halves of a gap, and an answer has
            another one in every pair.
        centring: mean and standard deviation of its scores where they were measured; of a
            checkpoint, those that it records.
    """

    name: str
    score: PairScorer
    identity: Mapping[str, Any]
    is_kept: bool = True
    model: Callable[[], Scorer] | None = None
    release: Callable[[], None] = nothing
    inner: Inner | None = None
    of_pairs: bool = False
    centring: Callable[[], Centring | None] = unknown


class OpenScorer(Protocol):
    """The function ``open_scorer`` of a scorer's module."""

    def __call__(self, address: str, *, options: ScorerOptions, notice: Notice) -> OpenedScorer:
        """Return the scorer that an address means; ``notice`` takes lines for the user."""


@final
class Held(Generic[Value]):
    """Something that is loaded when it is first asked for, and kept until it is let go."""

    def __init__(self, load: Callable[[], Value]) -> None:
        self._load = load
        self._value: Value | None = None

    def get(self) -> Value:
        """Return it."""
        if self._value is None:
            self._value = self._load()
        return self._value

    def let_go(self) -> None:
        """Free its memory."""
        self._value = None


def scorer_from(
    text: str, *, options: ScorerOptions | None = None, notice: Notice = silent
) -> OpenedScorer:
    """Return the scorer that a text names.

    ``KIND:ADDRESS``, where the kind is a module of this family or the dotted path of another one;
    a kind that needs no address may stand alone; anything else is a checkpoint: a folder, a run
    directory, ``package:name/folder`` or a hub id. ``NAME=`` in front gives it a name.

    Args:
        text: the scorer.
        options: settings, of which each kind reads those that it knows.
        notice: takes lines for the user.

    Raises:
        ConfigError: there is no such kind, or its address or options cannot be used.
        DataError: a file or folder is missing.
    """
    name, rest = split_name(text)
    kind, address = kind_of(rest)
    open_scorer: OpenScorer = plugins.load("scorer", kind)
    opened = open_scorer(address, options=options or ScorerOptions(), notice=notice)
    return opened if name is None else replace(opened, name=name)


def check_options(
    texts: Sequence[str], options: ScorerOptions, *, others: Collection[str] = ()
) -> None:
    """Refuse options that are given and that none of some scorers reads.

    A kind reads the ``OPTIONS`` of its module; one of the user's that does not say reads all.

    Args:
        texts: the scorers, see `scorer_from`.
        options: of which those count that were changed.
        others: options that something else reads.

    Raises:
        ConfigError: an option is read by none; or there is no such kind.
    """
    kinds = sorted({kind_of(split_name(text)[1])[0] for text in texts})
    known = [plugins.offered("scorer", kind, "OPTIONS") for kind in kinds]
    if None in known:
        return
    read = sorted(frozenset(others).union(*known))
    changed = options.model_dump(exclude_defaults=True)
    unread = sorted(set(changed) - set(read))
    if unread:
        expected = f"expected {', '.join(read)}" if read else "expected none"
        who = " or ".join(kinds) or "scorer"
        raise ConfigError(f"no {who} reads the option {', '.join(unread)}; {expected}")


def split_name(text: str) -> tuple[str | None, str]:
    """Return the name in front of a scorer's text, if there is one, and the rest.

    >>> split_name("rm=runs/a"), split_name("runs/a")
    (('rm', 'runs/a'), (None, 'runs/a'))
    """
    match = _NAMED.fullmatch(text)
    if match is None or Path(text).exists():  # a path that exists has no name in front
        return None, text
    return match[1], match[2]


def kind_of(text: str) -> tuple[str, str]:
    """Return the kind and the address of a scorer's text without a name.

    >>> kind_of("longest"), kind_of("runs/a")
    (('longest', ''), ('checkpoint', 'runs/a'))
    >>> kind_of("classify:http://localhost:8000")
    ('classify', 'http://localhost:8000')
    """
    if text in plugins.available("scorer"):
        return text, ""
    match = _KIND.fullmatch(text)
    if match is None or text.startswith(PACKAGE) or Path(text).exists():
        return CHECKPOINT, text
    return match[1], match[2]


def split_model(address: str) -> tuple[str, str | None]:
    """Return the URL of a server and the model that stands behind ``#``, if one does.

    >>> split_model("http://localhost:8000/v1#org/model")
    ('http://localhost:8000/v1', 'org/model')
    """
    url, _, model = address.partition("#")
    return url, model or None


def refuse_address(address: str, *, kind: str) -> None:
    """Refuse an address behind a kind that takes none.

    Raises:
        ConfigError: there is one.
    """
    if address:
        raise ConfigError(f"scorer {kind!r} takes no address, found {address!r}")
