"""Prompts that a policy is to answer, from any file that has some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from tamis.data.build import prompt_turns, with_system
from tamis.data.fields import Row
from tamis.data.read import read_rows
from tamis.data.recognise import Convention, all_conventions
from tamis.data.responses import PROMPTS
from tamis.errors import DataError
from tamis.types import Conversation, Pair

SAMPLE = 100  # rows by which a preference file is recognised
WHOLE = "messages"  # may hold the answer, too
TYPE = "prompt_type"

IndexedRow = tuple[int, Mapping[str, Any]]


def read_prompts(path: str, *, limit: int | None = None) -> list[Conversation]:
    """Return the prompts of a source that `read_rows` reads, each once, in order of appearance.

    A row has its prompt as ``prompt``, ``messages``, ``question`` or ``instruction``: a text, which
    is a turn of the user (or a transcript in the HH-RLHF form, up to "Assistant:"), or messages.
    ``messages`` lose the assistant's turns at their end; a ``system`` text comes first. Preference
    data in any convention of `tamis.data` will do as well: the prompts of its pairs; pairs without
    one have none to give, and ties are no pairs.

    Args:
        path: a file, a directory that datasets saved, or a hub id.
        limit: prompts at most; the first ones.

    Raises:
        DataError: nothing is there, a row has no prompt or one that ends with an answer, or not one
            prompt is found; the message names file, row and field.
    """
    distinct: dict[Conversation, None] = {}
    for prompt, _ in _asked(path):
        if len(distinct) == limit:
            break
        distinct[prompt] = None
    if not distinct:
        raise DataError(f"{path}: there is not one prompt in it; expected {'|'.join(PROMPTS)}")
    return list(distinct)


def read_prompt_types(path: str) -> dict[Conversation, str]:
    """Return the type of each prompt of a source, such as ``reasoning``: its ``prompt_type``.

    Prompts are those of `read_prompts`, of preference data, too: there the type is that of the row
    of the pair, and of answers in rows of their own that of the better one. Rows without a type are
    left out, so there may be none; of a prompt that comes twice the first type counts.

    Raises:
        DataError: nothing is there, or a row has a type that is no text; where there are types,
            also what `read_prompts` refuses.
    """
    kinds: dict[int, str] = {}
    for index, values in read_rows(path):
        row = Row(path, index, values)
        kind = row.get(TYPE)
        if kind is None:
            continue
        if not isinstance(kind, str) or not kind.strip():
            raise row.error(TYPE, expected="a text, such as reasoning", found=kind)
        kinds[index] = kind
    types: dict[Conversation, str] = {}
    for prompt, index in _asked(path) if kinds else ():
        if index in kinds:
            types.setdefault(prompt, kinds[index])
    return types


def _asked(path: str) -> Iterator[tuple[Conversation, int]]:
    """Give the prompts of a source in order, each with the number of its row."""
    rows: Iterator[IndexedRow] = iter(read_rows(path))
    sample = list(islice(rows, SAMPLE))
    convention = _preferences([values for _, values in sample])
    everything = chain(sample, rows)
    if convention is None:
        for index, values in everything:
            yield _prompt(Row(path, index, values)), index
        return
    for item in convention.pairs(everything, path):
        if isinstance(item, Pair) and _asks(item.prompt):
            yield item.prompt, item.row


def _preferences(sample: list[Mapping[str, Any]]) -> Convention | None:
    """Return the convention that more than half of the rows follow, if they are preferences."""
    for convention in all_conventions():
        if sum(convention.matches(row) for row in sample) * 2 > len(sample):
            return convention
    return None


def _prompt(row: Row) -> Conversation:
    field = row.first(*PROMPTS)
    turns = prompt_turns(row, field)
    while field == WHOLE and turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    if not _asks(turns):
        raise row.error(field, expected="a prompt", found=row.get(field))
    if turns[-1].role == "assistant":
        expected = "a prompt that ends before the assistant's answer"
        raise row.error(field, expected=expected, found=turns[-1].role)
    return with_system(row, turns)


def _asks(turns: Conversation) -> bool:
    """Tell whether there is a last turn, with words in it."""
    return bool(turns) and bool(turns[-1].content.strip())
