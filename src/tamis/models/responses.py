"""From the responses to one prompt to token ids, cut as the sides of a pair are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from transformers import PreTrainedTokenizerBase

from tamis.models.rows.tree import common_prefix
from tamis.models.template import begin_token
from tamis.models.tokenise import encode_conversations
from tamis.types import Conversation


@dataclass(frozen=True, slots=True)
class EncodedResponses:
    """The token ids of the responses to a prompt that fit, each from the first to the end token.

    All lost the same ``num_cut`` ids of the prompt, after a leading BOS or CLS. ``num_over_length``
    responses are not there, because they do not fit even without the prompt.
    """

    sequences: tuple[tuple[int, ...], ...]
    num_cut: int
    num_over_length: int


def encode_responses(
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[tuple[Conversation, Sequence[Conversation]]],
    *,
    max_length: int,
) -> list[EncodedResponses]:
    """Return the token ids of prompts with their responses, cut to ``max_length``.

    The rules are those of `encode_pairs`, for any number of responses: the common beginning is
    found on the ids of whole conversations, and what is too long loses tokens of it, the same
    number for all. A response that does not fit without it is left out, and no reason to cut.

    Raises:
        DataError: the chat template refuses a conversation.
    """
    conversations = [prompt + response for prompt, responses in items for response in responses]
    rows = iter(encode_conversations(tokenizer, conversations, max_length=None))
    num_begin = 1 if begin_token(tokenizer) else 0
    return [
        _cut([next(rows) for _ in responses], max_length=max_length, num_begin=num_begin)
        for _, responses in items
    ]


def _cut(rows: Sequence[tuple[int, ...]], *, max_length: int, num_begin: int) -> EncodedResponses:
    if not rows:
        return EncodedResponses((), 0, 0)
    first = rows[0]
    num_prefix = reduce(min, (common_prefix(first, row) for row in rows))
    # the last common id may be the end token of one that the others go on
    most = max(0, min(num_prefix, *(len(row) - 1 for row in rows)) - num_begin)
    fitting = [row for row in rows if len(row) - most <= max_length]
    num_over = max((len(row) for row in fitting), default=0) - max_length
    num_cut = max(0, min(num_over, most))
    after = num_begin + num_cut
    return EncodedResponses(
        sequences=tuple(row[:num_begin] + row[after:] for row in fitting),
        num_cut=num_cut,
        num_over_length=len(rows) - len(fitting),
    )
