"""Principles that answers are scored under: read by name, checked at the start, put into texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.errors import ConfigError, DataError
from tamis.evaluate.scorers.checkpoint import checkpoint_in
from tamis.principles.layout import (
    CUE,
    LAYOUTS,
    Layout,
    condition,
    layout_named,
    room_problem,
    shortest_around,
)
from tamis.principles.principle import load_principles, stance_of
from tamis.principles.recorded import KEY, check_layout, recorded_layout, recorded_layout_in
from tamis.serve.texts import Cut, Encoded, Encoder, Rendered, Text, TokenIds, Turns
from tamis.types import Conversation

if TYPE_CHECKING:
    from tamis.serve.engine import Member


@dataclass(frozen=True, slots=True)
class Under:
    """The words of the principles that answers are scored under, perhaps none, and their layout."""

    texts: tuple[str, ...] = ()
    layout: Layout = "prompt_first"

    @property
    def block(self) -> Conversation:
        """The shortest conversation that holds the principles; no turns without any."""
        return shortest_around(self.texts) if self.texts else ()


NO_PRINCIPLES = Under()


def under_named(
    asked: str | Sequence[str], *, layout: str = "prompt_first", file: str | Path | None = None
) -> Under:
    """Return the principles that somebody names, as they are read.

    Args:
        asked: names, ``not:NAME``, or words (`tamis.principles.stance_of`); a string is one.
        layout: ``prompt_first`` or ``answer_first``.
        file: of the principles that are named; ``None``: the shipped ones.

    Raises:
        ConfigError: a name or the layout is unknown.
        DataError: the file cannot be read.

    >>> under_named("Answer in verse.").texts
    ('Answer in verse.',)
    """
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    path = None if file is None else Path(file)
    changed = path.stat().st_mtime_ns if path is not None and path.is_file() else None
    return _under(names, layout, path, changed)


@lru_cache(maxsize=64)  # some trainers ask for each sample anew
def _under(names: tuple[str, ...], layout: str, file: Path | None, _: int | None) -> Under:
    found = layout_named(layout)
    if found is None:
        raise ConfigError(f"layout is {layout!r}; expected {' or '.join(LAYOUTS)}")
    if not names:
        return Under((), found)
    principles = load_principles(file)
    return Under(tuple(stance_of(name, principles).text for name in names), found)


def check_layouts(members: Sequence[Member], layout: Layout) -> None:
    """Refuse principles in another layout than the one that a model was trained with.

    Raises:
        ConfigError: a model was trained with the other one.
    """
    for member in members:
        check_layout(member.scorer.model.config, layout, name=member.name)


def check_under(members: Sequence[Member], under: Under) -> None:
    """Refuse principles that models cannot be asked under; without any, nothing is refused.

    Raises:
        ConfigError: one learned the other layout, or reads fewer tokens than the principles have.
    """
    if not under.texts:
        return
    check_layouts(members, under.layout)
    for member in members:
        num_tokens, limit = member.encoder.count(under.block), member.encoder.max_length
        problem = room_problem(num_tokens, limit=limit)
        if problem is not None:
            raise ConfigError(problem)


def check_local_layout(path: str, under: Under) -> None:
    """Refuse the wrong layout for a checkpoint of this machine before it is loaded.

    Raises:
        ConfigError: it was trained with the other one.
    """
    if not (under.texts and Path(path).expanduser().exists()):
        return
    known = recorded_layout_in(Path(checkpoint_in(path)).expanduser())
    check_layout({KEY: known}, under.layout, name=path)


def learned_principles(members: Sequence[Member]) -> list[str]:
    """Return the names of the models that record a layout of principles: they learned to read some.

    A model that records none may have learned them all the same, elsewhere.
    """
    configs = [(member.name, member.scorer.model.config) for member in members]
    return [name for name, config in configs if recorded_layout(config) is not None]


def is_bare(text: Text) -> bool:
    """Tell whether a text carries no principles, as far as that can be told of it.

    >>> is_bare(Rendered("Hi", "none")), is_bare(TokenIds((5, 6)))
    (True, False)
    """
    if isinstance(text, Turns):
        return not text.answer[-1].content.endswith(CUE)
    return isinstance(text, Rendered) and CUE not in text.text


def encode_under(
    encoder: Encoder, texts: Sequence[Text], *, under: Under, cut: Cut | None = None
) -> list[Encoded]:
    """Return the ids of each text with principles behind its answer; see `Encoder.encode`.

    Raises:
        DataError: a text that has no room for principles (token ids; rendered text in the layout
            ``answer_first``), a cut that would take them away, or see `Encoder.encode`.
    """
    if not under.texts:
        return encoder.encode(texts, cut=cut)
    if cut is not None and cut.side == "right":
        raise DataError("a cut on the right would take the principles away; expected left")
    return encoder.encode([_conditioned(text, under, encoder) for text in texts], cut=cut)


def _conditioned(text: Text, under: Under, encoder: Encoder) -> Text:
    if isinstance(text, Turns):
        said = text.answer[-1].content if text.said is None else text.said
        asked, judged = condition(text.prompt, text.answer, texts=under.texts, layout=under.layout)
        return Turns(asked, judged, said=said)
    if isinstance(text, TokenIds):
        raise DataError("token ids cannot be scored under principles; send text or messages")
    if under.layout == "answer_first":
        raise DataError(
            "rendered text cannot be scored under principles in the layout answer_first, which "
            "moves the answer; send messages"
        )
    # whatever the client wrote, the token that is scored is the one that training scored
    return Rendered(
        encoder.marks.conditioned(text.text, texts=under.texts), "training", text.answer
    )
