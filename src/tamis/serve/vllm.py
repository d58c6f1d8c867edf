"""The pooling endpoints of vLLM: ``/classify``, ``/pooling`` and ``/score``.

What is asked for is done as vLLM does it, with these differences. BOS is never there twice: where
text begins with it, ``add_special_tokens`` adds none. A text that is too long loses its beginning
unless the server was told to refuse it. What an empty list asks for is an empty list.

The default of ``use_activation`` (older: ``activation``) is the raw score, since the checkpoints
say ``problem_type: regression``; true gives the sigmoid.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import uuid4

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import AliasChoices, BaseModel, Field, StrictBool, StrictInt
from scipy.special import expit

from tamis.serve.config import MAX_TEXTS
from tamis.serve.desk import Desk, Desks
from tamis.serve.engine import Scores
from tamis.serve.errors import REFUSALS, bad_request
from tamis.serve.texts import (
    Cut,
    Rendered,
    Side,
    Special,
    Text,
    Texts,
    TokenIds,
    TurnList,
    Turns,
    Utf8,
    at_most,
    conversation_of,
    dialogue,
)
from tamis.types import Message

IdList = Annotated[list[StrictInt], Field(fail_fast=True)]
IdLists = Annotated[list[IdList], Field(fail_fast=True), at_most(MAX_TEXTS, "texts")]
Input = Utf8 | Texts | IdList | IdLists
READ_ALL = -1


class PoolingRequest(BaseModel):
    """Texts, token ids, or the messages of one conversation."""

    model: Utf8 | None = None
    input: Input | None = None
    messages: TurnList | None = None
    add_generation_prompt: StrictBool = False
    add_special_tokens: StrictBool | None = Field(
        None, description="default: true for text, false for messages, whose template writes them"
    )
    use_activation: StrictBool | None = Field(
        None, description="true: sigmoid; default: the raw score"
    )
    activation: StrictBool | None = Field(None, description="the older name of use_activation")
    truncate_prompt_tokens: StrictInt | None = Field(
        None, ge=READ_ALL, description="keep so many tokens; -1: as many as the model reads"
    )
    truncation_side: Side | None = None
    encoding_format: Literal["float", "base64"] = "float"
    chat_template: object = Field(None, description="refused: the model's own template is read")


class ScoreRequest(BaseModel):
    """Questions and what answers them: one question with many documents, or as many of each."""

    model: Utf8 | None = None
    queries: Annotated[Utf8 | Texts, Field(validation_alias=AliasChoices("queries", "text_1"))]
    documents: Annotated[Utf8 | Texts, Field(validation_alias=AliasChoices("documents", "text_2"))]
    use_activation: StrictBool | None = None
    activation: StrictBool | None = None
    truncate_prompt_tokens: StrictInt | None = Field(None, ge=READ_ALL)
    truncation_side: Side | None = None


class Usage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int | None = 0
    prompt_tokens_details: None = None


class Classified(BaseModel):
    """The score of a text, as the only class."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class Pooled(BaseModel):
    """The score of a text, as a vector of one number, perhaps as base64 of float32."""

    index: int
    object: str = "pooling"
    data: list[float] | str


class Scored(BaseModel):
    """The score of a question and a document."""

    index: int
    object: str = "score"
    score: float


class Listing(BaseModel):
    """What all three answer; ``data`` has one object for each text."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[Classified] | list[Pooled] | list[Scored]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Row:
    """A text of an answer: its place, its score, and the name of the model's output."""

    index: int
    score: float
    label: str


def routes(desks: Desks) -> APIRouter:
    """Return ``/classify``, ``/pooling`` and ``/score``."""
    router = APIRouter(tags=["vLLM"])

    async def classify(request: Request, body: PoolingRequest) -> JSONResponse:
        """Score texts, token ids or a conversation."""
        desk = desks.find(body.model)
        scores = await _pooled(desk, body, request=request)
        values = _activated(scores, body.use_activation, body.activation)
        return _listing(desk, "classify", scores, _rows(desk, values), _classified)

    async def pooling(request: Request, body: PoolingRequest) -> JSONResponse:
        """Score texts, token ids or a conversation, as vectors of one number."""
        desk = desks.find(body.model)
        scores = await _pooled(desk, body, request=request)
        values = _activated(scores, body.use_activation, body.activation)

        def write(row: Row) -> dict[str, Any]:
            data = encoded_vector(row.score, body.encoding_format)
            return {"index": row.index, "object": "pooling", "data": data}

        return _listing(desk, "pool", scores, _rows(desk, values), write)

    async def score(request: Request, body: ScoreRequest) -> JSONResponse:
        """Score documents as answers to questions, each couple as a user and an assistant turn."""
        desk = desks.find(body.model)
        cut = _cut(body.truncate_prompt_tokens, body.truncation_side)
        scores = await desk.score(_couples(body), request=request, cut=cut)
        values = _activated(scores, body.use_activation, body.activation)
        return _listing(desk, "score", scores, _rows(desk, values), _scored)

    for path, answer in (("/classify", classify), ("/pooling", pooling), ("/score", score)):
        router.add_api_route(
            path,
            answer,
            methods=["POST"],
            response_class=JSONResponse,
            responses={200: {"model": Listing}, **REFUSALS},
        )
    return router


def texts_of(given: Input, *, add_special_tokens: bool | None) -> list[Text]:
    """Return the texts of an ``input``: one text, several, the ids of one, or of several."""
    special: Special = "none" if add_special_tokens is False else "tokenizer"
    if isinstance(given, str):
        return [Rendered(given, special)]
    if given and all(isinstance(item, int) for item in given):
        return [TokenIds(tuple(item for item in given if isinstance(item, int)))]
    return [
        Rendered(item, special) if isinstance(item, str) else TokenIds(tuple(item))
        for item in given
        if not isinstance(item, int)
    ]


def encoded_vector(score: float, encoding: Literal["float", "base64"]) -> list[float] | str:
    """Return a score as a vector of one number, or as base64 of it in float32, little-endian.

    >>> encoded_vector(1.0, "base64")
    'AACAPw=='
    """
    if encoding == "float":
        return [score]
    return base64.b64encode(np.array([score], "<f4").tobytes()).decode()


def new_id(kind: str) -> str:
    """Return the id of an answer."""
    return f"{kind}-{uuid4().hex}"


def usage_of(scores: Scores) -> dict[str, Any]:
    """Return how many tokens were read."""
    num_tokens = int(scores.num_tokens_N.sum())
    return {
        "prompt_tokens": num_tokens,
        "total_tokens": num_tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }


async def _pooled(desk: Desk, body: PoolingRequest, *, request: Request) -> Scores:
    if body.chat_template is not None:
        raise bad_request("chat_template: only the template of the model is rendered")
    cut = _cut(body.truncate_prompt_tokens, body.truncation_side)
    return await desk.score(_texts(body), request=request, cut=cut)


def _texts(body: PoolingRequest) -> list[Text]:
    if (body.input is None) == (body.messages is None):
        raise bad_request("expected either input or messages")
    if body.input is not None:
        return texts_of(body.input, add_special_tokens=body.add_special_tokens)
    if body.add_generation_prompt:
        raise bad_request("add_generation_prompt: a reward model reads a finished answer")
    return [dialogue(conversation_of(body.messages or []))]


def _couples(body: ScoreRequest) -> list[Turns]:
    queries = [body.queries] if isinstance(body.queries, str) else body.queries
    documents = [body.documents] if isinstance(body.documents, str) else body.documents
    if len(queries) == 1:
        queries = queries * len(documents)
    if len(queries) != len(documents):
        raise bad_request(
            f"{len(queries)} queries and {len(documents)} documents: expected one query, or as many"
        )
    return [
        Turns((Message("user", query),), (Message("assistant", document),))
        for query, document in zip(queries, documents, strict=True)
    ]


def _cut(num_tokens: int | None, side: Side | None) -> Cut:
    # 0 would keep nothing: refused as every number that leaves no text
    return Cut(None if num_tokens in (None, READ_ALL) else num_tokens, side or "left")


def _activated(scores: Scores, new: bool | None, old: bool | None) -> list[float]:
    wanted = new if new is not None else old
    values_N = expit(scores.raw_N) if wanted else scores.raw_N
    return [float(value) for value in values_N]


def _rows(desk: Desk, values: Sequence[float]) -> list[Row]:
    label = desk.members[0].label
    return [Row(index, value, label) for index, value in enumerate(values)]


def _classified(row: Row) -> dict[str, Any]:
    return {"index": row.index, "label": row.label, "probs": [row.score], "num_classes": 1}


def _scored(row: Row) -> dict[str, Any]:
    return {"index": row.index, "object": "score", "score": row.score}


def _listing(
    desk: Desk,
    kind: str,
    scores: Scores,
    rows: Sequence[Row],
    write: Callable[[Row], dict[str, Any]],
) -> JSONResponse:
    return JSONResponse(
        {
            "id": new_id(kind),
            "object": "list",
            "created": int(time.time()),
            "model": desk.name,
            "data": [write(row) for row in rows],
            "usage": usage_of(scores),
        }
    )
