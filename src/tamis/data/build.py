"""What the conventions share: from turns to pairs, for one row and for ranked answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import PurePath
from typing import Any, Literal

from tamis.data.fields import Row
from tamis.types import Conversation, Dropped, Message, Pair, content_id, messages_key

Rows = Iterable[tuple[int, Mapping[str, Any]]]
_HH_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_HH_BEGIN, HH_ANSWER = "\n\nHuman:", "\n\nAssistant:"


def per_row(
    rows: Rows, source: str, *, convert: Callable[[Row], Pair | Dropped]
) -> Iterator[Pair | Dropped]:
    """Apply ``convert`` to every row: all there is to a convention with one pair a row."""
    for index, values in rows:
        yield convert(Row(source, index, values))


def make_pair(
    row: Row,
    *,
    prompt: Conversation,
    chosen: Conversation,
    rejected: Conversation,
    margin: float | None = None,
) -> Pair:
    """Build a pair; group, split, subset and source come from the columns of these names.

    Without a group, the pairs of one prompt are one group; a pair without prompt is its own.
    """
    pair_id = content_id(prompt, chosen, rejected)
    return Pair(
        id=pair_id,
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        group=row.label("group", "group_id") or (prompt_hash(prompt) if prompt else pair_id),
        split=row.label("split"),
        source=row.label("source") or PurePath(row.source).name,
        subset=row.label("subset"),
        margin=margin,
        row=row.index,
    )


def make_labelled_pair(
    row: Row, *, prompt: Conversation, chosen: Conversation, rejected: Conversation
) -> Pair:
    """Build a pair of a row that names its sides: margin, votes and gold are read too.

    Raises:
        DataError: a margin is not finite, a vote no count, or gold not in [0, 1].
    """
    gold = row.optional_number("gold")
    if gold is not None and not 0 <= gold <= 1:
        raise row.error("gold", expected="a probability in [0, 1]", found=gold)
    margin, votes = row.optional_number("margin"), row.votes()
    pair = make_pair(row, prompt=prompt, chosen=chosen, rejected=rejected, margin=margin)
    return pair if gold is None and votes is None else replace(pair, votes=votes, gold=gold)


def split_history(
    chosen: Conversation, rejected: Conversation
) -> tuple[Conversation, Conversation, Conversation]:
    """Split two whole conversations into (shared history, rest of chosen, rest of rejected).

    The history is what this very pair shares, message by message; each side keeps a turn at least.

    >>> hi, a, b = Message("user", "Hi"), Message("assistant", "a"), Message("assistant", "b")
    >>> split_history((hi, a), (hi, b)) == ((hi,), (a,), (b,))
    True
    >>> split_history((a,), (a,)) == ((), (a,), (a,))
    True
    """
    limit = max(min(len(chosen), len(rejected)) - 1, 0)
    shared = 0
    while shared < limit and chosen[shared] == rejected[shared]:
        shared += 1
    return chosen[:shared], chosen[shared:], rejected[shared:]


def with_system(row: Row, prompt: Conversation) -> Conversation:
    """Put the text of the column ``system``, where there is one, before the prompt."""
    text = row.label("system")
    return (Message("system", text), *prompt) if text else prompt


def parse_transcript(text: str) -> Conversation | None:
    r"""Return the turns of a text in the HH-RLHF form, or None where it does not begin with a turn.

    >>> parse_transcript("\n\nHuman: Hi\n\nAssistant: Hello")
    (Message(role='user', content='Hi'), Message(role='assistant', content='Hello'))
    """
    head, *parts = _HH_TURN.split(text)
    if head.strip() or not parts:
        return None
    return tuple(
        Message("user" if name == "Human" else "assistant", content.strip())
        for name, content in zip(parts[::2], parts[1::2], strict=True)
    )


def begins_transcript(text: str) -> bool:
    """Tell whether a text begins with a turn in the HH-RLHF form."""
    return text.lstrip().startswith(("Human:", "Assistant:"))


def prompt_turns(row: Row, field: str) -> Conversation:
    """Return the turns of a prompt; a bare text is one of the user.

    A transcript in the HH-RLHF form, which ends where the answer begins, is read as that of a pair:
    turn by turn.

    Raises:
        DataError: it is neither text nor messages, or a transcript with another end.
    """
    text = row.get(field)
    if not _is_transcript(text):
        return row.conversation(field, role="user")
    turns = parse_transcript(row.text(field))
    if turns is None or not text.rstrip().endswith(HH_ANSWER):
        expected = f"messages, or a transcript that ends with {HH_ANSWER!r}"
        raise row.error(field, expected=expected, found=text)
    return turns[:-1]


def answer_turns(row: Row, field: str, *, prompt: object) -> Conversation:
    """Return the turns of an answer; a bare text is one of the assistant.

    After a prompt that `prompt_turns` reads as a transcript a text is stripped, as that of a pair.

    Raises:
        DataError: it is neither text nor messages, or a transcript that begins with the prompt.
    """
    turns, text = row.conversation(field, role="assistant"), row.get(field)
    if not (isinstance(text, str) and isinstance(prompt, str) and _is_transcript(prompt)):
        return turns
    if text.strip().startswith(prompt.strip()):
        raise row.error(field, expected="the answer without its prompt", found=text)
    return (Message("assistant", text.strip()),)


def _is_transcript(prompt: Any) -> bool:
    if not isinstance(prompt, str):
        return False
    is_whole = begins_transcript(prompt) and prompt.rstrip().endswith(HH_ANSWER)
    return is_whole or prompt.startswith(_HH_BEGIN)


@dataclass(frozen=True, slots=True)
class Answer:
    """One of several answers to a prompt, with its score, and the row that it comes from."""

    row: Row
    turns: Conversation
    score: float


def ranked_pairs(
    prompt: Conversation, answers: Sequence[Answer], *, scale: Literal["rating", "rank"]
) -> Iterator[Pair | Dropped]:
    """Give every pair of answers of different score; a tie is a ``Dropped``.

    On a ``rating`` scale the higher score is better and the margin is the difference; on a
    ``rank`` scale the lower score is better and there is no margin.
    """
    if len(answers) < 2:
        for answer in answers:
            yield Dropped(answer.row.index, "single", "only one answer to this prompt")
        return
    for (i, a), (j, b) in combinations(enumerate(answers, start=1), 2):
        if a.score == b.score:
            detail = f"answers {i} and {j} of the prompt have the same {scale} {a.score:g}"
            yield Dropped(b.row.index, "tie", detail)
            continue
        better, worse = (a, b) if (a.score > b.score) == (scale == "rating") else (b, a)
        yield make_pair(
            better.row,
            prompt=prompt,
            chosen=better.turns,
            rejected=worse.turns,
            margin=better.score - worse.score if scale == "rating" else None,
        )


def prompt_hash(prompt: Conversation) -> str:
    """Return 16 hexadecimal digits that stand for a prompt, and name its group by default."""
    text = messages_key(prompt)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
