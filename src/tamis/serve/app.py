"""The web application: every wire format in front of the same desks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from tamis import __version__
from tamis.errors import DataError, shorten
from tamis.metrics.ensemble import Ensemble
from tamis.principles.principle import Principle, load_principles
from tamis.serve import health, llamafactory, openai, openrlhf, rewards, slime, vllm
from tamis.serve.config import ServeConfig, ServeSpec
from tamis.serve.desk import Desk, Desks, frames
from tamis.serve.engine import Member, load_member
from tamis.serve.errors import Refusal, bad_request, error_response, too_large
from tamis.serve.health import Door, Metrics
from tamis.serve.principled import NO_PRINCIPLES, Under, learned_principles, under_named
from tamis.serve.security import Guard
from tamis.serve.texts import TOO_MANY

log = logging.getLogger("tamis.serve")

DIALECTS = (rewards, openrlhf, vllm, openai, llamafactory, slime)
KINDS = {404: "not_found", 405: "not_allowed", 413: "too_large"}


@dataclass(frozen=True, slots=True)
class Service:
    """The desks of a server, whether its door is open, and its counters."""

    desks: Desks
    door: Door
    metrics: Metrics
    config: ServeConfig

    def close(self) -> None:
        """End all threads, after what waits is scored."""
        self.desks.close()

    def notices(self) -> list[str]:
        """Return what whoever starts the server should know, a line each."""
        return [
            f"{name} learned to read principles and is asked without any where a request names "
            "none; name some with --principle"
            for desk in self.desks.by_name.values()
            if not desk.under.texts
            for name in learned_principles(desk.members)
        ]


def open_service(spec: ServeSpec) -> Service:
    """Load the checkpoints of a server, and warm them up.

    Raises:
        ConfigError: one cannot be loaded, gives a score that is not finite, or cannot be asked
            under the principles of the server.
        DataError: a calibrator is damaged.
    """
    under = under_named(spec.asked, layout=spec.layout, file=spec.principles)
    members = [
        load_member(path, spec.config, trust_remote_code=spec.trust_remote_code)
        for path in spec.checkpoints
    ]
    if spec.ensemble is not None:
        by_name = {spec.names[0]: members}
    else:
        by_name = {name: [member] for name, member in zip(spec.names, members, strict=True)}
    known = load_principles(spec.principles)
    return service_of(
        by_name, ensemble=spec.ensemble, config=spec.config, principles=known, under=under
    )


def service_of(
    members: Mapping[str, list[Member]],
    *,
    ensemble: Ensemble | None = None,
    config: ServeConfig | None = None,
    principles: Sequence[Principle] | None = None,
    under: Under = NO_PRINCIPLES,
) -> Service:
    """Return the service of members that are loaded; several under one name are an ensemble.

    ``principles`` are those that requests may name; ``None``: the shipped ones. ``under`` holds
    where a request names none.

    Raises:
        ConfigError: a model cannot be asked ``under`` these principles.
    """
    config = config or ServeConfig()
    metrics = Metrics()
    desks = {
        name: Desk(name, several, ensemble=ensemble, config=config, metrics=metrics, under=under)
        for name, several in members.items()
    }
    known = Desks(desks) if principles is None else Desks(desks, principles)
    return Service(known, Door(), metrics, config)


def make_app(service: Service, *, key: str | None = None) -> FastAPI:
    """Return the application of a service; requests have to bring ``key`` where there is one."""
    app = FastAPI(
        title="Tamis reward server",
        version=__version__,
        description="Scores of reward models in the wire formats of RL trainers.",
        redoc_url=None,
    )
    names = tuple(service.desks.by_name)
    routers = [
        *(dialect.routes(service.desks) for dialect in DIALECTS),
        health.routes(names=names, door=service.door, metrics=service.metrics),
    ]
    for router in routers:
        app.include_router(router)

    async def refuse(_: Request, error: Exception) -> Response:
        refusal = _refusal(error)
        service.metrics.refused(refusal.kind)
        return error_response(refusal)

    for kind in (Refusal, RequestValidationError, HTTPException, DataError, Exception):
        app.add_exception_handler(kind, refuse)
    app.add_middleware(
        Guard,
        key=key,
        max_body_bytes=service.config.max_body_bytes,
        door=service.door,
        metrics=service.metrics,
        paths=frozenset(
            route.path for one in routers for route in one.routes if isinstance(route, APIRoute)
        ),
    )
    return app


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        refuse = too_large if _too_many(error) else bad_request
        return refuse(_first_problem(error))
    if isinstance(error, HTTPException):
        return Refusal(
            error.status_code, KINDS.get(error.status_code, "invalid_request"), str(error.detail)
        )
    if isinstance(error, DataError):
        return bad_request(str(error))
    log.error("internal error: %s", frames(error))
    return Refusal(500, "internal_error", f"internal error: {type(error).__name__}")


def _too_many(error: RequestValidationError) -> list[Any]:
    """Return the problems that are lists longer than any that is read."""
    return [problem for problem in error.errors() if problem["type"] == TOO_MANY]


def _first_problem(error: RequestValidationError) -> str:
    problem = (_too_many(error) or error.errors())[0]
    # the kinds of a union have names for nobody but the one who wrote it
    named = [str(part) for part in problem["loc"] if not {"[", "("} & set(str(part))]
    where = ".".join(named[:6])
    found = problem.get("input")
    is_short = isinstance(found, int | float) or (isinstance(found, str) and len(found) < 1000)
    return f"{where}: {problem['msg']}" + (f"; found {shorten(found)}" if is_short else "")
