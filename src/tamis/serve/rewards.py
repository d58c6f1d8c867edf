"""Our own endpoint: everything that is known of K answers to one prompt.

``POST /v1/rewards``; see `RewardsRequest` and `Candidate` for the fields.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tamis.errors import ConfigError
from tamis.principles.layout import Layout
from tamis.principles.principle import stance_of
from tamis.serve.config import MAX_TEXTS
from tamis.serve.desk import Desk, Desks
from tamis.serve.engine import FloatArray, Scores, best_of
from tamis.serve.errors import REFUSALS, bad_request
from tamis.serve.principled import Under, check_layouts
from tamis.serve.texts import (
    MAX_TURNS,
    TOO_MANY,
    Texts,
    Turn,
    TurnList,
    Turns,
    Utf8,
    at_most,
    conversation_of,
)
from tamis.serve.vllm import Usage, new_id, usage_of
from tamis.types import Conversation, Message


def _few_turns(given: Any) -> Any:
    """Refuse answers with very many turns before any of them is read."""
    if isinstance(given, list):
        num_turns = sum(len(answer) for answer in given if isinstance(answer, list))
        if num_turns > MAX_TURNS:
            raise PydanticCustomError(
                TOO_MANY, f"candidates of {num_turns} turns; expected at most {MAX_TURNS}"
            )
    return given


class RewardsRequest(BaseModel):
    """A conversation, and answers to it."""

    model: Utf8 | None = None
    messages: TurnList = Field(default=[], description="what comes before the answers")
    candidates: Annotated[
        list[Utf8 | TurnList],
        Field(fail_fast=True),
        BeforeValidator(_few_turns),
        at_most(MAX_TEXTS, "candidates"),
    ] = Field(description="answers: texts, or turns that end with the assistant")
    principles: Texts | None = Field(
        None,
        description="names, not:NAME, or words, for a principle-conditioned model; unset: those "
        "of the server, and an empty list: none",
    )
    layout: Layout | None = Field(
        None, description="where the principles stand; unset: where the server puts its own"
    )


class Candidate(BaseModel):
    """What is known of one answer."""

    index: int
    raw: float = Field(description="the score of the model, or of the ensemble")
    standardised: float | None = Field(
        description="raw in standard deviations above the mean that the checkpoint records (of "
        "several, each by its own); null where one records none"
    )
    calibrated: float | None = Field(
        description="after the calibrator (raw without one); null where it calibrates gaps only"
    )
    length_adjusted: float | None = Field(
        description="without what the answer's length and other features explain; null where the "
        "calibrator takes out none"
    )
    std: float | None = Field(description="spread of the ensemble's scores; null for one model")
    p: float = Field(description="P(preferred to an answer with the model's mean score)")
    p_best: float = Field(description="P(best of the candidates): softmax of calibrated, else raw")
    num_tokens: int
    truncated: bool = Field(description="some tokens of the beginning were not read")


class CalibratorName(BaseModel):
    """The calibrator of the model, or of the first member."""

    method: str
    unit: str


class EnsembleName(BaseModel):
    """How many models score together, and how."""

    how: str
    num_models: int


class RewardsResponse(BaseModel):
    """One object for each candidate, in the order of the request."""

    id: str
    object: Literal["rewards"] = "rewards"
    created: int
    model: str
    candidates: list[Candidate]
    best: int | None = Field(description="index of the highest score; null without candidates")
    principles: list[str] = Field(description="as the model read them")
    calibrator: CalibratorName | None
    ensemble: EnsembleName | None
    usage: Usage


def routes(desks: Desks) -> APIRouter:
    """Return ``/v1/rewards``."""
    router = APIRouter(tags=["Tamis"])
    known = desks.principles

    async def rewards(request: Request, body: RewardsRequest) -> JSONResponse:
        """Score answers to one prompt, with everything that is known of them."""
        desk = desks.find(body.model)
        under = desk.under
        try:
            if body.principles is not None:
                named = tuple(stance_of(text, known).text for text in body.principles)
                under = Under(named, under.layout)
            if body.layout is not None:
                under = Under(under.texts, body.layout)
            if under.texts:
                check_layouts(desk.members, under.layout)
        except ConfigError as error:
            raise bad_request(str(error)) from error
        prompt = conversation_of(body.messages)
        answers = [_answer(given, number) for number, given in enumerate(body.candidates)]
        texts = [Turns(prompt, answer) for answer in answers]
        scores = await desk.score(texts, request=request, under=under)
        return JSONResponse(_body(desk, scores, principles=under.texts))

    router.add_api_route(
        "/v1/rewards",
        rewards,
        methods=["POST"],
        response_class=JSONResponse,
        responses={200: {"model": RewardsResponse}, **REFUSALS},
    )
    return router


def _answer(given: str | list[Turn], number: int) -> Conversation:
    if isinstance(given, str):
        return (Message("assistant", given),)
    turns = conversation_of(given, where=f"candidates[{number}]")
    if not turns or turns[-1].role != "assistant":
        raise bad_request(f"candidates[{number}]: expected turns that end with the assistant")
    return turns


def _body(desk: Desk, scores: Scores, *, principles: Sequence[str]) -> dict[str, Any]:
    p_best_N = best_of(scores)
    candidates = [
        {
            "index": index,
            "raw": float(raw),
            "standardised": _number(scores.standardised_N, index),
            "calibrated": _number(scores.calibrated_N, index),
            "length_adjusted": _number(scores.adjusted_N, index),
            "std": _number(scores.std_N, index),
            "p": float(scores.probability_N[index]),
            "p_best": float(p_best_N[index]),
            "num_tokens": int(scores.num_tokens_N[index]),
            "truncated": bool(scores.truncated_N[index]),
        }
        for index, raw in enumerate(scores.raw_N)
    ]
    calibrator = desk.members[0].calibrator
    how = desk.ensemble
    return {
        "id": new_id("rewards"),
        "object": "rewards",
        "created": int(time.time()),
        "model": desk.name,
        "candidates": candidates,
        "best": int(p_best_N.argmax()) if candidates else None,
        "principles": list(principles),
        "calibrator": calibrator and {"method": calibrator.method, "unit": calibrator.unit},
        "ensemble": how and {"how": how.how, "num_models": len(desk.members)},
        "usage": usage_of(scores),
    }


def _number(values_N: FloatArray | None, index: int) -> float | None:
    if values_N is None or not np.isfinite(values_N[index]):
        return None
    return float(values_N[index])
