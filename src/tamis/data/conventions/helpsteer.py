"""HelpSteer: one answer a row, ``prompt``, ``response`` and attributes from 0 to 4.

Rows of one prompt, wherever they are, give pairs; they wait in a temporary file until all are read.
The score is ``helpfulness``; a row without it is scored by the mean of correctness and coherence
(complexity and verbosity are no merits in themselves). The margin is the difference of scores.
Earlier turns inside ``prompt``, which HelpSteer2 marks with ``<extra_id_1>``, become turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tamis.data.build import Answer, Rows, prompt_hash, ranked_pairs
from tamis.data.fields import Row
from tamis.runs.scratch import gather
from tamis.types import Conversation, Dropped, Message, Pair

PRIORITY = 30
COLUMNS = ("prompt", "response", "helpfulness|correctness|coherence")
EXAMPLE = (
    {"prompt": "Hi", "response": "worse", "helpfulness": 1, "verbosity": 4},
    {"prompt": "Hi", "response": "better", "helpfulness": 4, "verbosity": 1},
)
_MERITS = ("correctness", "coherence")
_TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")


def matches(row: Mapping[str, object]) -> bool:
    """A prompt, one response and an attribute."""
    return "prompt" in row and "response" in row and bool({"helpfulness", *_MERITS} & row.keys())


def pairs(rows: Rows, source: str) -> Iterator[Pair | Dropped]:
    """Give every pair of answers of one prompt, in the order in which prompts first appear."""
    for group in gather(_answers(rows, source)):
        prompt, _ = group[0]
        yield from ranked_pairs(prompt, [answer for _, answer in group], scale="rating")


def _answers(rows: Rows, source: str) -> Iterator[tuple[str, tuple[Conversation, Answer]]]:
    """Give each row's prompt and answer, under a name of the prompt."""
    for index, values in rows:
        row = Row(source, index, values)
        answer = Answer(row, row.conversation("response", role="assistant"), _score(row))
        prompt = _prompt(row)
        yield prompt_hash(prompt), (prompt, answer)


def _score(row: Row) -> float:
    helpfulness = row.optional_number("helpfulness")
    if helpfulness is not None:
        return helpfulness
    merits = [value for name in _MERITS if (value := row.optional_number(name)) is not None]
    if not merits:
        expected = f"a number, or one in {' or '.join(_MERITS)}"
        raise row.error("helpfulness", expected=expected, found=None)
    return sum(merits) / len(merits)


def _prompt(row: Row) -> Conversation:
    value = row.get("prompt")
    if not isinstance(value, str) or "<extra_id_1>" not in value:
        return row.conversation("prompt", role="user")
    first, *parts = _TURN.split(row.text("prompt"))
    turns = [Message("user", first)]
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        turns.append(Message("user" if name == "User" else "assistant", text))
    return tuple(turns)
