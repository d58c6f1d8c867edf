"""Prompts with several responses each, unlabelled: what was sampled from a policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tamis.data.build import answer_turns, prompt_turns
from tamis.data.fields import TURNS, Row
from tamis.data.read import is_hub_id, read_rows
from tamis.errors import DataError
from tamis.types import Conversation

PROMPTS = ("prompt", "messages", "question", "instruction")
RESPONSES = ("responses", "answers", "completions")
ONE = ("response", "completion")
TEXTS = ("response", "completion", "text", "content")


@dataclass(frozen=True, slots=True)
class Responses:
    """A prompt and the responses to it, in file order; equal ones are there as often as sampled.

    ``row`` is the row of the source, from 0. A response that is empty is no turn.
    """

    prompt: Conversation
    responses: tuple[Conversation, ...]
    row: int


def check_responses(path: str) -> None:
    """Check that there is something to read, without reading it.

    Raises:
        DataError: no such file or directory, and no hub id.
    """
    if not Path(path).exists() and not is_hub_id(path):
        raise DataError(f"{path}: no such file or directory; expected prompts with responses")


def read_responses(path: str) -> Iterator[Responses]:
    """Give the prompts of any source that `read_rows` reads, one a row, with their responses.

    A row has a prompt (``prompt``, ``messages``, ``question`` or ``instruction``: text or messages)
    and a list of responses (``responses``, ``answers`` or ``completions``), or a single one
    (``response`` or ``completion``). A response is a text, a message or a list of messages, or an
    object with its text as ``response``, ``completion``, ``text`` or ``content``. A text prompt in
    the HH-RLHF form becomes turns, as in pairs: it ends with "Assistant:", and responses in text
    continue it. Other keys are not read.

    Raises:
        DataError: nothing is there, or a row is not such; the message names file, row and field
            (and the line, where a line is no JSON).
    """
    for index, values in read_rows(path):
        row = Row(path, index, values)
        asked = row.first(*PROMPTS)
        prompt = prompt_turns(row, asked)
        field = row.first(*RESPONSES, *ONE)
        items = row.get(field)
        if field in ONE:
            named = {field: items}
        elif isinstance(items, list):
            named = {f"{field}[{i}]": item for i, item in enumerate(items)}
        else:
            raise row.error(field, expected="a list of responses", found=items)
        responses = [
            _response(row, name, item, prompt=row.get(asked)) for name, item in named.items()
        ]
        yield Responses(prompt, tuple(responses), index)


def _response(row: Row, field: str, item: object, *, prompt: object) -> Conversation:
    if isinstance(item, dict) and not {"role", "from"} & item.keys():
        names = [name for name in TEXTS if name in item]
        if not names:
            raise row.error(field, expected=f"{TURNS}, or {'|'.join(TEXTS)}", found=item)
        field, item = f"{field}.{names[0]}", item[names[0]]
    alone = Row(row.source, row.index, {field: item}, row.path)
    turns = answer_turns(alone, field, prompt=prompt)
    if turns and turns[-1].role != "assistant":
        expected = "a last turn of the assistant"
        raise row.error(field, expected=expected, found=turns[-1].role)
    return turns if turns and turns[-1].content.strip() else ()
