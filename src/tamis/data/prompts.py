"""Prompts that a policy is to answer, from any file that has some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from tamis.data.build import with_system
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
    is a turn of the user, or messages. ``messages`` lose the assistant's turns at their end; a
    ``system`` text comes first. Preference data in any convention of `tamis.data` will do as well:
    the prompts of its pairs; pairs without one have none to give, and ties are no pairs.

    Args:
        path: a file, a directory that datasets saved, or a hub id.
        limit: prompts at most; the first ones.

    Raises:
        DataError: nothing is there, a row has no prompt or one that ends with an answer, or not one
            prompt is found; the message names file, row and field.
    """
    rows: Iterator[IndexedRow] = iter(read_rows(path))
    sample = list(islice(rows, SAMPLE))
    convention = _preferences([values for _, values in sample])
    everything = chain(sample, rows)
    if convention is None:
        found: Iterable[Conversation] = (_prompt(Row(path, *row)) for row in everything)
    else:
        pairs = (item for item in convention.pairs(everything, path) if isinstance(item, Pair))
        found = (pair.prompt for pair in pairs if _asks(pair.prompt))
    distinct: dict[Conversation, None] = {}
    for prompt in found:
        if len(distinct) == limit:
            break
        distinct[prompt] = None
    if not distinct:
        raise DataError(f"{path}: there is not one prompt in it; expected {'|'.join(PROMPTS)}")
    return list(distinct)


def read_prompt_types(path: str) -> dict[Conversation, str]:
    """Return the type of each prompt of a source, such as ``reasoning``: its ``prompt_type``.

    Rows are those of `read_prompts`. Rows without a type are left out, so there may be none; of a
    prompt that comes twice the first type counts.

    Raises:
        DataError: nothing is there, or a row has a type that is no text, or one and no prompt.
    """
    types: dict[Conversation, str] = {}
    for index, values in read_rows(path):
        row = Row(path, index, values)
        kind = row.get(TYPE)
        if kind is None:
            continue
        if not isinstance(kind, str) or not kind.strip():
            raise row.error(TYPE, expected="a text, such as reasoning", found=kind)
        types.setdefault(_prompt(row), kind)
    return types


def _preferences(sample: list[Mapping[str, Any]]) -> Convention | None:
    """Return the convention that more than half of the rows follow, if they are preferences."""
    for convention in all_conventions():
        if sum(convention.matches(row) for row in sample) * 2 > len(sample):
            return convention
    return None


def _prompt(row: Row) -> Conversation:
    field = row.first(*PROMPTS)
    turns = row.conversation(field, role="user")
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
