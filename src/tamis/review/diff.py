"""What only one of two answers says, word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

from tamis.types import Conversation

SHOWN_CHARS = 20_000  # of a turn
MAX_WORDS = 3_000  # of an answer; longer ones are shown without marks
_NO_SPACES = "\u3040-\u30ff\u3400-\u9fff"  # Japanese and Chinese: a character counts as a word
_WORD = re.compile(rf"(?:[{_NO_SPACES}]|[^\W{_NO_SPACES}]+|\W)\s*")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text; ``own`` where the other answer lacks it."""

    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn as it is shown: its text in parts, and how many characters were left out."""

    role: str
    parts: list[Part]
    num_cut: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Two answers; ``similarity`` in [0, 1] is the share of words that they have in common."""

    first: list[Turn]
    second: list[Turn]
    similarity: float


def compare(first: Conversation, second: Conversation) -> Compared:
    """Mark in both answers the words that the other lacks.

    Very long turns are cut, and very long answers are not compared (similarity 0, nothing marked).

    >>> from tamis.types import Message
    >>> one, other = (Message("assistant", text) for text in ("a red fox", "a grey fox"))
    >>> found = compare((one,), (other,))
    >>> [(part.text, part.own) for part in found.first[0].parts]
    [('a ', False), ('red', True), (' ', False), ('fox', False)]
    """
    words = [list(_words(side)) for side in (first, second)]
    if max(map(len, words)) > MAX_WORDS:
        plain = [[False] * len(side) for side in words]
        return Compared(_turns(first, words[0], plain[0]), _turns(second, words[1], plain[1]), 0.0)
    keys = [[(turn, word.strip()) for turn, word in side] for side in words]
    matcher = SequenceMatcher(None, keys[0], keys[1])
    own = [[True] * len(side) for side in words]
    for start, other, size in matcher.get_matching_blocks():
        own[0][start : start + size] = [False] * size
        own[1][other : other + size] = [False] * size
    return Compared(
        _turns(first, words[0], own[0]), _turns(second, words[1], own[1]), matcher.ratio()
    )


def plain(conversation: Conversation) -> list[Turn]:
    """Return turns without marks, very long ones cut."""
    return [
        Turn(turn.role, [Part(turn.content[:SHOWN_CHARS], own=False)], _num_cut(turn.content))
        for turn in conversation
    ]


def _words(conversation: Conversation) -> Iterator[tuple[int, str]]:
    """Give the words with the number of their turn: words of different turns never match."""
    for number, turn in enumerate(conversation):
        for found in _WORD.finditer(turn.content[:SHOWN_CHARS]):
            yield number, found[0]


def _turns(
    conversation: Conversation, words: Sequence[tuple[int, str]], own: Sequence[bool]
) -> list[Turn]:
    found = [Turn(turn.role, [], _num_cut(turn.content)) for turn in conversation]
    marked = zip(words, own, strict=True)
    for (number, is_own), items in groupby(marked, key=lambda item: (item[0][0], item[1])):
        text = "".join(word for (_, word), _ in items)
        seen = text.rstrip() if is_own else text  # a mark ends with its last word
        for part in (Part(seen, is_own), Part(text[len(seen) :], own=False)):
            if part.text:
                found[number].parts.append(part)
    return found


def _num_cut(text: str) -> int:
    return max(0, len(text) - SHOWN_CHARS)
