"""What can be scored, and its token ids: the room between the wire formats and the one scorer.

Conversations go through `tamis.models.tokenise.encode_conversations`, as in training. Rendered text
and token ids come from clients that rendered the template themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError
from transformers import PreTrainedTokenizerBase

from tamis.data.fields import ROLES
from tamis.errors import DataError, shorten
from tamis.models.template import end_token
from tamis.models.tokenise import encode_conversations, end_token_id, pad_id_of
from tamis.serve.config import MAX_TEXTS, OverLength
from tamis.serve.marks import Marks, marks_of
from tamis.types import Conversation, Message

Special = Literal["none", "tokenizer", "training"]
"""Which special tokens text gets, each only where it is not there already.

``tokenizer``: those that the tokenizer itself adds; ``training``: its first one, and the end token,
so that the text ends as every text did in training.
"""
Side = Literal["left", "right"]
Ids = tuple[int, ...]


def _checked(text: str) -> str:
    if not text.isascii():
        text.encode("utf-8")
    return text


# JSON can say lone surrogates, which UTF-8 and tokenizers cannot
Utf8 = Annotated[str, StringConstraints(strict=True), AfterValidator(_checked)]
MAX_TURNS = 16_384  # of a conversation, and of all answers to one

TOO_MANY = "too_many"  # the kind of the error


def at_most(most: int, what: str) -> BeforeValidator:
    """Return what refuses a longer list before any of its items is read.

    A limit of the field itself would stand in the description of the server, where it says little:
    what a request may hold is told by its characters.
    """

    def check(given: Any) -> Any:
        if isinstance(given, list) and len(given) > most:
            raise PydanticCustomError(TOO_MANY, f"{len(given)} {what}; expected at most {most}")
        return given

    return BeforeValidator(check)


# one problem is enough: a list of a million wrong items has as many
Texts = Annotated[list[Utf8], Field(fail_fast=True), at_most(MAX_TEXTS, "texts")]


class Part(BaseModel):
    """A part of a message; only text can be read."""

    type: Literal["text"]
    text: Utf8


class Turn(BaseModel):
    """One message, as OpenAI's clients send it."""

    model_config = ConfigDict(extra="ignore")

    role: Utf8
    content: (
        Utf8 | Annotated[list[Part], Field(fail_fast=True), at_most(MAX_TURNS, "parts")] | None
    ) = None
    tool_calls: list[Any] | None = Field(None, description="refused where there are any")


TurnList = Annotated[list[Turn], Field(fail_fast=True), at_most(MAX_TURNS, "turns")]


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation that the model's own template renders; ``answer`` are its last turns.

    ``said`` is what was answered, where the last turn holds more than that.
    """

    prompt: Conversation
    answer: Conversation
    said: str | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """Text that somebody has rendered; ``answer`` is its last part, where that is known."""

    text: str
    special: Special
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Token ids of the model's own vocabulary, taken as they are."""

    ids: Ids


Text = Turns | Rendered | TokenIds


@dataclass(frozen=True, slots=True)
class Cut:
    """How many tokens are kept at most (``None``: what the model reads), and where some go.

    ``left`` cuts the beginning, behind a leading BOS or CLS; ``right`` cuts the end.
    """

    num_tokens: int | None = None
    side: Side = "left"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The token ids of one text, whether some were cut, and the answer where that is known."""

    ids: Ids
    truncated: bool
    answer: str | None


@final
class Encoder:
    """From texts to token ids of one model; not for several threads at once."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        vocabulary: int,
        over_length: OverLength = "cut",
    ) -> None:
        """Look at what the tokenizer adds by itself.

        Args:
            tokenizer: from `tamis.models.tokenise.load_tokenizer`.
            max_length: tokens that the model reads.
            vocabulary: ids below this have an embedding.
            over_length: what becomes of longer texts where the caller does not say.
        """
        self.tokenizer, self.max_length = tokenizer, max_length
        self._vocabulary, self._over_length = vocabulary, over_length
        self._pad_id, self._end_id = pad_id_of(tokenizer), end_token_id(tokenizer)
        self._end = end_token(tokenizer)
        self._first, self._last = _added(tokenizer)

    def encode(self, texts: Sequence[Text], *, cut: Cut | None = None) -> list[Encoded]:
        """Return the ids of each text, in order.

        Raises:
            DataError: a text is empty, too long where that is refused, or ends with the padding
                token; an id is unknown; the template refuses a conversation.
        """
        ids = self._ids(texts)
        return [
            self._finished(text, ids_of_text, cut=cut or Cut())
            for text, ids_of_text in zip(texts, ids, strict=True)
        ]

    @cached_property
    def marks(self) -> Marks:
        """Where turns of text begin and end that the model's own template rendered."""
        return marks_of(self.tokenizer)

    def count(self, conversation: Conversation) -> int:
        """Return the tokens of a conversation, uncut."""
        (ids,) = encode_conversations(self.tokenizer, [conversation], max_length=None)
        return len(ids)

    def _ids(self, texts: Sequence[Text]) -> list[Ids]:
        conversations = [text.prompt + text.answer for text in texts if isinstance(text, Turns)]
        rendered = [_prepared(text) for text in texts if isinstance(text, Rendered)]
        turns = iter(encode_conversations(self.tokenizer, conversations, max_length=None))
        plain = iter(
            self.tokenizer(rendered, add_special_tokens=False, verbose=False)["input_ids"]
            if rendered
            else []
        )
        found: list[Ids] = []
        for text in texts:
            if isinstance(text, Turns):
                found.append(next(turns))
            elif isinstance(text, Rendered):
                found.append(self._with_special(tuple(next(plain)), text.special))
            else:
                found.append(text.ids)
        return found

    def _with_special(self, ids: Ids, special: Special) -> Ids:
        if special == "none":
            return ids
        if ids[: len(self._first)] != self._first:
            ids = self._first + ids
        last = self._last if special == "tokenizer" else (self._end_id,)
        return ids if not last or ids[-len(last) :] == last else ids + last

    def _finished(self, text: Text, ids: Ids, *, cut: Cut) -> Encoded:
        if isinstance(text, TokenIds):
            self._check_known(ids)
        if cut.num_tokens is not None and not 1 <= cut.num_tokens <= self.max_length:
            raise DataError(
                f"truncation to {cut.num_tokens} tokens: expected 1 to {self.max_length}"
            )
        limit = cut.num_tokens or self.max_length
        if cut.num_tokens is None and self._over_length == "refuse" and len(ids) > limit:
            raise DataError(f"a text has {len(ids)} tokens; the model reads at most {limit}")
        kept = self._shortened(ids, limit=limit, side=cut.side)
        if not kept or kept[-1] == self._pad_id:
            found = "is empty" if not kept else "ends with the padding token"
            raise DataError(f"a text {found}; expected one whose last token can be read")
        return Encoded(kept, truncated=len(kept) < len(ids), answer=self._answer(text))

    def _check_known(self, ids: Ids) -> None:
        unknown = next((i for i in ids if not 0 <= i < self._vocabulary), None)
        if unknown is not None:
            raise DataError(f"token id {unknown}: expected 0 to {self._vocabulary - 1}")

    def _answer(self, text: Text) -> str | None:
        if isinstance(text, Turns):
            return text.answer[-1].content if text.said is None else text.said
        if isinstance(text, TokenIds) or text.answer is None:
            return None
        return text.answer.rstrip().removesuffix(self._end)

    def _shortened(self, ids: Ids, *, limit: int, side: Side) -> Ids:
        if len(ids) <= limit:
            return ids
        first = self._first if ids[: len(self._first)] == self._first else ()
        last = self._last if self._last and ids[-len(self._last) :] == self._last else ()
        if limit <= len(first) + len(last):
            return ids[-limit:] if side == "left" else ids[:limit]
        if side == "left":
            return first + ids[len(ids) - limit + len(first) :]
        return ids[: limit - len(last)] + last


def conversation_of(
    messages: Sequence[Turn | Mapping[str, Any]], *, where: str = "messages"
) -> Conversation:
    """Read messages with roles and text.

    Raises:
        DataError: an unknown role, something else than text, or calls of tools.

    >>> conversation_of([{"role": "user", "content": "Hi"}])
    (Message(role='user', content='Hi'),)
    """
    turns = []
    for number, given in enumerate(messages):
        try:
            turn = given if isinstance(given, Turn) else Turn.model_validate(given)
        except ValidationError as error:
            raise DataError(
                f"{where}[{number}]: expected role and text, found {shorten(given)}"
            ) from error
        role = ROLES.get(turn.role.lower())
        if role is None:
            raise DataError(
                f"{where}[{number}]: role is {shorten(turn.role)}; expected one of "
                f"{', '.join(ROLES)}"
            )
        if turn.tool_calls:
            raise DataError(f"{where}[{number}]: a reward model does not read tool_calls")
        content = turn.content
        if isinstance(content, list):
            content = "".join(part.text for part in content)
        turns.append(Message(role, content or ""))
    return tuple(turns)


def dialogue(conversation: Conversation) -> Turns:
    """Split a conversation before its last turn, which is the answer.

    Raises:
        DataError: there is no turn.
    """
    if not conversation:
        raise DataError("messages: expected at least one, found none")
    return Turns(conversation[:-1], conversation[-1:])


def answer_in(text: str, *, prompt: str | None) -> str | None:
    """Return what follows the prompt in a text, or ``None`` where it does not begin with it.

    >>> answer_in("Q: hi A: yes", prompt="Q: hi A:")
    ' yes'
    """
    return text[len(prompt) :] if prompt and text.startswith(prompt) else None


def _prepared(text: Rendered) -> str:
    # as the template of a reward model ends a conversation: see `tamis.models.template`
    return text.text.rstrip() if text.special == "training" else text.text


def _added(tokenizer: PreTrainedTokenizerBase) -> tuple[Ids, Ids]:
    """Return the ids that the tokenizer itself puts before and behind a text."""
    plain = tuple(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = tuple(tokenizer("a")["input_ids"])
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return (), ()
