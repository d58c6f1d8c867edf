"""The embeddings of OpenAI's interface, as SGLang serves reward models, and the list of models.

``POST /v1/embeddings`` answers with a vector of one number, the raw score; ``GET /v1/models`` with
the names that requests may give. A text that is too long loses its beginning.
"""

from __future__ import annotations

import time
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, StrictInt

from tamis.serve.desk import Desks
from tamis.serve.errors import REFUSALS, bad_request
from tamis.serve.texts import Utf8
from tamis.serve.vllm import Input, encoded_vector, texts_of, usage_of


class EmbeddingRequest(BaseModel):
    """Texts or token ids; text gets the tokens that the tokenizer adds, once."""

    model: Utf8 | None = None
    input: Input
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: StrictInt | None = Field(None, description="1, or nothing")
    user: object = None


class Embedding(BaseModel):
    """The score of a text, as a vector of one number, perhaps as base64 of float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingResponse(BaseModel):
    """One vector for each text."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Card(BaseModel):
    """A served model, and the tokens that it reads."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    max_model_len: int


class Cards(BaseModel):
    """All of them; the first one answers requests that name none."""

    object: Literal["list"] = "list"
    data: list[Card]


def routes(desks: Desks) -> APIRouter:
    """Return ``/v1/embeddings`` and ``/v1/models``."""
    router = APIRouter(tags=["OpenAI, SGLang"])
    started = int(time.time())

    async def embeddings(request: Request, body: EmbeddingRequest) -> JSONResponse:
        """Score texts, as vectors of one number."""
        if body.dimensions not in (None, 1):
            raise bad_request(f"dimensions is {body.dimensions}; a score has one")
        desk = desks.find(body.model)
        scores = await desk.score(texts_of(body.input, add_special_tokens=None), request=request)
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": encoded_vector(score, body.encoding_format),
            }
            for index, score in enumerate(scores.raw_N.tolist())
        ]
        tokens = {name: usage_of(scores)[name] for name in ("prompt_tokens", "total_tokens")}
        return JSONResponse({"object": "list", "data": data, "model": desk.name, "usage": tokens})

    async def models() -> JSONResponse:
        """List the names that requests may give."""
        cards = [
            {
                "id": name,
                "object": "model",
                "created": started,
                "owned_by": "tamis",
                "max_model_len": desk.max_length,
            }
            for name, desk in desks.by_name.items()
        ]
        return JSONResponse({"object": "list", "data": cards})

    router.add_api_route(
        "/v1/embeddings",
        embeddings,
        methods=["POST"],
        response_class=JSONResponse,
        responses={200: {"model": EmbeddingResponse}, **REFUSALS},
    )
    router.add_api_route(
        "/v1/models",
        models,
        methods=["GET"],
        response_class=JSONResponse,
        responses={200: {"model": Cards}, "4XX": REFUSALS["4XX"]},
    )
    return router
