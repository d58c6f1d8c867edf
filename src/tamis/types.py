"""The records that stages hand to each other. No logic beyond what keeps a record consistent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["system", "user", "assistant", "tool"]


class Config(BaseModel):
    """Base of every configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Votes:
    """How many people preferred the chosen answer, the rejected one, or neither."""

    chosen: int
    rejected: int
    tie: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, with the label (``chosen`` was preferred) and what is known of it.

    ``prompt`` may be empty; ``chosen`` and ``rejected`` hold the turns after it and end with an
    assistant turn. ``group`` names what must stay together in a split (by default the prompt).
    ``margin`` is the data set's own strength of preference (its unit differs from set to set).
    ``gold`` is a trusted P(chosen is better) in [0, 1]; stages only evaluate with it, unless
    denoising is told to trust it.
    ``row`` is the zero-based row of the source.
    """

    id: str
    prompt: Conversation
    chosen: Conversation
    rejected: Conversation
    group: str = ""
    split: str = ""
    source: str = ""
    subset: str = ""
    margin: float | None = None
    votes: Votes | None = None
    gold: float | None = None
    row: int = -1

    def swapped(self) -> Pair:
        """Return the pair with its sides exchanged; the id stays, so verdicts still find it."""
        votes = self.votes
        return replace(
            self,
            chosen=self.rejected,
            rejected=self.chosen,
            margin=None if self.margin is None else -self.margin,
            votes=None if votes is None else Votes(votes.rejected, votes.chosen, votes.tie),
            gold=None if self.gold is None else 1.0 - self.gold,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pair is worth to training, in the orientation of the stored columns.

    ``target`` is P(chosen is better) in [0, 1]; ``margin`` the required gap in reward units;
    ``weight`` >= 0, where 0 leaves the pair out. ``reason`` says in a word why.
    """

    id: str
    target: float = 1.0
    margin: float = 0.0
    weight: float = 1.0
    reason: str = "keep"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A source row that did not become a pair (or a pair that was left out), and why.

    ``kind`` is one word (``empty``, ``identical``, ``duplicate`` ...), ``detail`` a sentence part.
    """

    row: int
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its confidence interval (95% unless said otherwise)."""

    value: float
    low: float
    high: float
    num_items: int = 0


def messages_key(conversation: Conversation) -> str:
    """Return the canonical JSON of a conversation, the same for equal content."""
    return json.dumps([[m.role, m.content] for m in conversation], ensure_ascii=False)


def content_id(prompt: Conversation, chosen: Conversation, rejected: Conversation) -> str:
    """Return a stable 16-digit hexadecimal id of a pair, from its content alone.

    >>> a, b = (Message("assistant", "a"),), (Message("assistant", "b"),)
    >>> content_id((), a, b) == content_id((), a, b) != content_id((), b, a)
    True
    """
    text = "\x1e".join(messages_key(part) for part in (prompt, chosen, rejected))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
