"""Chatbot Arena: two models' answers and who won; ties are dropped and counted.

Two forms: ``prompt``, ``response_a``, ``response_b`` with ``winner_model_a``, ``winner_model_b``
and ``winner_tie`` (each 0 or 1; a text may be a JSON list with one entry for each turn), and
``conversation_a``, ``conversation_b`` with ``winner``: model_a, model_b, or a tie (a word with
"tie", or both_bad).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tamis.data.build import Rows, make_pair, per_row, split_history
from tamis.data.fields import Row
from tamis.types import Conversation, Dropped, Message, Pair

PRIORITY = 30
COLUMNS = (
    "response_a|conversation_a",
    "response_b|conversation_b",
    "winner_model_a|winner",
)
EXAMPLE = (
    {
        "prompt": "Hi",
        "response_a": "worse",
        "response_b": "better",
        "winner_model_a": 0,
        "winner_model_b": 1,
        "winner_tie": 0,
    },
)


def matches(row: Mapping[str, object]) -> bool:
    """Two sides named a and b, and a winner."""
    sides = {"response_a", "response_b"} <= row.keys() or {
        "conversation_a",
        "conversation_b",
    } <= row.keys()
    return sides and ("winner" in row or {"winner_model_a", "winner_model_b"} <= row.keys())


def pairs(rows: Rows, source: str) -> Iterator[Pair | Dropped]:
    """Give one pair a row."""
    return per_row(rows, source, convert=_pair)


def _pair(row: Row) -> Pair | Dropped:
    winner = _winner(row)
    if winner == "tie":
        return Dropped(row.index, "tie", "the judge saw no difference")
    sides = {side: _side(row, side) for side in ("a", "b")}
    loser = "b" if winner == "a" else "a"
    prompt, chosen, rejected = split_history(sides[winner], sides[loser])
    return make_pair(row, prompt=prompt, chosen=chosen, rejected=rejected)


def _winner(row: Row) -> str:
    if "winner" in row.values:
        word = row.text("winner").lower()
        if word in ("model_a", "model_b", "a", "b"):
            return word[-1]
        if "tie" in word or word == "both_bad":
            return "tie"
        raise row.error("winner", expected="model_a, model_b or tie", found=word)
    fields = {"a": "winner_model_a", "b": "winner_model_b", "tie": "winner_tie"}
    flags = {
        name: row.number(field)
        for name, field in fields.items()
        if name != "tie" or field in row.values
    }
    won = [name for name, flag in flags.items() if flag]
    if len(won) > 1 or (not won and "tie" in flags) or not set(flags.values()) <= {0, 1}:
        expected = "one 1 and else 0 in winner_model_a, winner_model_b and winner_tie"
        raise row.error("winner_model_a", expected=expected, found=flags)
    return won[0] if won else "tie"


def _side(row: Row, side: str) -> Conversation:
    if f"conversation_{side}" in row.values:
        return row.conversation(f"conversation_{side}", role="assistant")
    prompts, answers = row.get("prompt"), row.get(f"response_{side}")
    prompt_turns, answer_turns = _turns(prompts), _turns(answers)
    if prompt_turns is None or answer_turns is None or len(prompt_turns) != len(answer_turns):
        prompt = row.conversation("prompt", role="user")
        return prompt + row.conversation(f"response_{side}", role="assistant")
    turns: list[Message] = []
    for question, answer in zip(prompt_turns, answer_turns, strict=True):
        turns += [Message("user", question), Message("assistant", answer)]
    return tuple(turns)


def _turns(value: object) -> list[str] | None:
    """The texts of a list, or of the JSON list in a text; null turns are empty; else None."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, list) or not all(isinstance(t, str | None) for t in value):
        return None
    return ["" if text is None else text for text in value]
