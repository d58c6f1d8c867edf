"""Pairs side by side: long texts open with their first lines, very long ones are cut."""

from __future__ import annotations

from collections.abc import Sequence

from tamis.report.blocks import Exhibit, Passage
from tamis.report.numbers import number, plural
from tamis.types import Conversation, Pair, Votes

OPENING_CHARS = 240
OPENING_LINES = 4
TEXT_CHARS = 4000


def passage(role: str, content: str) -> Passage:
    """Return one turn with the part that is shown at first.

    >>> long = passage("user", "word " * 100)
    >>> long.is_long, len(long.opening) <= OPENING_CHARS
    (True, True)
    """
    text = content[:TEXT_CHARS]
    num_cut = len(content) - len(text)
    lines = text.split("\n")
    opening = "\n".join(lines[:OPENING_LINES])
    if len(opening) > OPENING_CHARS:
        opening = opening[: OPENING_CHARS - 1]
        # a text without spaces (Chinese, a URL) is cut anywhere
        head, space, _ = opening.rpartition(" ")
        opening = head if space and len(head) > OPENING_CHARS // 2 else opening
    return Passage(role=role, opening=opening, text=text, num_cut=num_cut)


def passages(conversation: Conversation) -> tuple[Passage, ...]:
    """Return the turns of a conversation."""
    return tuple(passage(turn.role, turn.content) for turn in conversation)


def exhibit(
    pair: Pair,
    *,
    title: str,
    headline: str = "",
    votes: Sequence[float] = (),
    largest_vote: float = 1.0,
) -> Exhibit:
    """Return a pair for the reader, with its voters' votes if there are any.

    ``largest_vote`` is the size of vote that fills the height of the little picture.
    """
    facts: list[tuple[str, str]] = []
    if pair.votes is not None:
        facts.append(("People", describe_votes(pair.votes)))
    if pair.gold is not None:
        facts.append(("Gold", describe_gold(pair.gold)))
    if pair.subset:
        facts.append(("Subset", pair.subset))
    facts.append(("Id", pair.id))
    return Exhibit(
        title=title,
        headline=headline,
        prompt=passages(pair.prompt),
        chosen=passages(pair.chosen),
        rejected=passages(pair.rejected),
        votes=tuple(max(-1.0, min(1.0, vote / largest_vote)) for vote in votes),
        votes_text=", ".join(number(vote) for vote in votes),
        facts=tuple(facts),
    )


def describe_votes(votes: Votes) -> str:
    """Say how people voted.

    >>> describe_votes(Votes(3, 2))
    '3 for the chosen answer, 2 for the rejected one'
    """
    text = f"{votes.chosen} for the chosen answer, {votes.rejected} for the rejected one"
    return f"{text}, {plural(votes.tie, 'tie')}" if votes.tie else text


def describe_gold(gold: float) -> str:
    """Say what the trusted label says of the stored one."""
    if gold == 0.5:
        return "the trusted label prefers neither answer"
    verdict = "wrong" if gold < 0.5 else "right"
    return f"the label is {verdict}: P(chosen is better) = {number(gold)}"
