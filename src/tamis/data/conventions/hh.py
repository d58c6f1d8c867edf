r"""HH-RLHF transcripts: ``chosen`` and ``rejected`` as "\n\nHuman: ...\n\nAssistant: ..." text.

The history that the two share is found for each pair (Bai et al. 2022, arXiv:2204.05862, publish
some pairs whose dialogues part before the last turn). A column ``prompt`` in the same form, with
``chosen`` and ``rejected`` continuing it, is read as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tamis.data.build import (
    HH_ANSWER,
    Rows,
    begins_transcript,
    make_labelled_pair,
    parse_transcript,
    per_row,
    split_history,
)
from tamis.data.fields import Row
from tamis.types import Conversation, Dropped, Pair

PRIORITY = 20
COLUMNS = ("chosen", "rejected")
EXAMPLE = (
    {
        "chosen": "\n\nHuman: Hi\n\nAssistant: better",
        "rejected": "\n\nHuman: Hi\n\nAssistant: worse",
    },
)


def matches(row: Mapping[str, object]) -> bool:
    """Both sides are transcripts, or continue a prompt that is one."""
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if not (isinstance(chosen, str) and isinstance(rejected, str)):
        return False
    if isinstance(prompt, str) and "Human:" in prompt and prompt.rstrip().endswith(HH_ANSWER):
        return True
    return not prompt and HH_ANSWER in chosen and HH_ANSWER in rejected


def pairs(rows: Rows, source: str) -> Iterator[Pair | Dropped]:
    """Give one pair a row."""
    return per_row(rows, source, convert=_pair)


def _pair(row: Row) -> Pair | Dropped:
    prompt = row.text("prompt") if "prompt" in row.values else ""
    sides: list[Conversation] = []
    for field in ("chosen", "rejected"):
        text = row.text(field)
        if not text.strip():
            sides.append(())
            continue
        turns = parse_transcript(text if begins_transcript(text) else prompt + text)
        if turns is None:
            detail = f"{field} does not begin with 'Human:' or 'Assistant:'"
            return Dropped(row.index, "no_transcript", detail)
        sides.append(turns)
    shared, chosen, rejected = split_history(*sides)
    return make_labelled_pair(row, prompt=shared, chosen=chosen, rejected=rejected)
