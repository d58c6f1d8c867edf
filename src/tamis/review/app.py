"""The web application: addresses to pages, and each page in two forms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, final
from urllib.parse import parse_qs, quote, unquote, urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from tamis.errors import ConfigError, TamisError
from tamis.review.book import DecisionError, reviewer_name
from tamis.review.filters import Filters, filters_of
from tamis.review.guard import Access, Guard, check_csrf, local_path, wants_json
from tamis.review.html import ASSETS, asset, environment
from tamis.review.pages import export_page, pair_page, queue_page
from tamis.review.session import GIVEN, NoSuchPairError, Review

REVIEWER_COOKIE = "tamis_reviewer"
NONCE = re.compile(r"[0-9A-Za-z_-]{8,64}")
LOCAL = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")  # neither //host nor a backslash
SEE_OTHER = 303
STATUSES: dict[type[Exception], int] = {NoSuchPairError: 404, DecisionError: 409}
MAX_DIGITS = 9

Sent = dict[str, str]


async def sent(request: Request) -> Sent:
    """Read what a form or a program sends: texts by name.

    Raises:
        HTTPException: 400, it is neither a form nor an object of texts.
    """
    body = await request.body()
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            content = json.loads(body)
        else:
            fields = parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
            content = {name: values[-1] for name, values in fields.items()}
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"expected a form or a JSON object: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise HTTPException(400, "expected an object of texts")
    return content


Body = Annotated[Sent, Depends(sent)]


@final
class Site:
    """What answers each address. A page is a function of the review, rendered as HTML or JSON."""

    def __init__(self, review: Review, *, access: Access, reviewer: str | None) -> None:
        self._review, self._access, self._reviewer = review, access, reviewer
        self._environment = environment()

    def queue(self, request: Request) -> Response:
        """Show the list of pairs, the progress and the agreement."""
        reviewer = self._who(request)
        if reviewer is None:
            return self._ask_name(request)
        query = dict(request.query_params)
        page = query.pop("page", "1")
        if not page.isdecimal() or len(page) > MAX_DIGITS:
            raise HTTPException(400, "page: expected a whole number")
        content = queue_page(
            self._review, reviewer=reviewer, filters=_filters(query), page=int(page)
        )
        return self._answer(request, "queue", content)

    def pair(self, request: Request, rank: str) -> Response:
        """Show one pair."""
        reviewer = self._who(request)
        if reviewer is None:
            return self._ask_name(request)
        filters = _filters(dict(request.query_params))
        number = int(rank) if rank.isdecimal() and len(rank) <= MAX_DIGITS else 0
        content = pair_page(self._review, number, reviewer=reviewer, filters=filters)
        return self._answer(request, "pair", content)

    def find(self, request: Request) -> Response:
        """Go to the pair with an id; what else is in the address stays there."""
        rank = self._review.queue.rank_of.get(request.query_params.get("id", ""))
        if rank is None:
            raise NoSuchPairError("there is no pair with this id")
        suffix = ".json" if wants_json(request) else ""
        rest = [(name, value) for name, value in request.query_params.multi_items() if name != "id"]
        query = f"?{urlencode(rest)}" if rest else ""
        return RedirectResponse(f"/pair/{rank}{suffix}{query}", SEE_OTHER)

    def decide(self, request: Request, body: Body) -> Response:
        """Store a decision; it is on disk when the answer is given."""
        check_csrf(request, access=self._access, sent=body.get("csrf"))
        nonce = body.get("nonce", "")
        given = next((known for known in GIVEN if known == body.get("choice")), None)
        if given is None or not NONCE.fullmatch(nonce):
            raise HTTPException(
                400, f"expected a choice of {', '.join(GIVEN)}, and a nonce of 8 to 64 characters"
            )
        row = self._review.decide(
            pair_id=body.get("pair", ""),
            reviewer=reviewer_name(body.get("reviewer") or self._who(request) or ""),
            given=given,
            nonce=nonce,
        )
        if wants_json(request):
            return JSONResponse({"stored": row.id, "made_at": row.made_at})
        return RedirectResponse(_local(body.get("next", "/")), SEE_OTHER)

    def name(self, request: Request) -> Response:
        """Ask who is judging."""
        known = {name for said in self._review.verdicts().values() for name in said}
        content = {
            "reviewer": self._who(request),
            "known": sorted(known),
            "next": _local(request.query_params.get("next", "/")),
        }
        return self._answer(request, "name", content)

    def set_name(self, request: Request, body: Body) -> Response:
        """Remember in the browser who is judging."""
        check_csrf(request, access=self._access, sent=body.get("csrf"))
        name = reviewer_name(body.get("reviewer", ""))
        answer: Response
        if wants_json(request):
            answer = JSONResponse({"reviewer": name})
        else:
            answer = RedirectResponse(_local(body.get("next", "/")), SEE_OTHER)
        answer.set_cookie(
            REVIEWER_COOKIE, quote(name), max_age=365 * 86_400, samesite="strict", path="/"
        )
        return answer

    def export(self, request: Request) -> Response:
        """Show what there is to write."""
        reviewer = self._who(request)
        return self._answer(request, "export", export_page(self._review, reviewer=reviewer or ""))

    def write(self, request: Request, body: Body) -> Response:
        """Write verdicts and trusted labels."""
        check_csrf(request, access=self._access, sent=body.get("csrf"))
        report = self._review.write()
        content = export_page(self._review, reviewer=self._who(request) or "")
        return self._answer(request, "export", {**content, "report": report})

    def asset(self, name: str) -> Response:
        """Give a style sheet, a script or a picture of ours."""
        if name not in ASSETS:
            raise HTTPException(404, "there is no such file")
        return Response(asset(name), media_type=ASSETS[name])

    def problem(self, request: Request, error: Exception) -> Response:
        """Tell what was wrong with a request, or that something could not be stored."""
        if isinstance(error, HTTPException):
            status, message = error.status_code, str(error.detail)
        elif isinstance(error, SQLAlchemyError):
            reason = getattr(error, "orig", None) or error
            status, message = 503, f"the database did not answer: {reason}"
        else:
            status, message = STATUSES.get(type(error), 400), str(error)
        if wants_json(request):
            return JSONResponse({"error": message}, status)
        return self._page(request, "problem", {"reviewer": None, "message": message}, status=status)

    def _who(self, request: Request) -> str | None:
        """Return who judges: as the address or the cookie says, else as the program was told."""
        given = request.query_params.get("reviewer")
        if given is not None:
            return reviewer_name(given)
        try:
            return reviewer_name(unquote(request.cookies[REVIEWER_COOKIE]))
        except (KeyError, ConfigError):
            return self._reviewer

    def _ask_name(self, request: Request) -> Response:
        if wants_json(request):
            raise HTTPException(400, "who asks? give ?reviewer=NAME")
        return RedirectResponse(f"/name?next={quote(_address(request))}", SEE_OTHER)

    def _answer(self, request: Request, page: str, content: dict[str, Any]) -> Response:
        if wants_json(request):
            return JSONResponse(content)
        return self._page(request, page, content)

    def _page(
        self, request: Request, page: str, content: dict[str, Any], *, status: int = 200
    ) -> Response:
        text = self._environment.get_template(f"{page}.html.j2").render(
            **content,
            csrf=self._access.csrf,
            twin=_address(request, suffix=".json"),
            run=self._review.queue.name,
        )
        return HTMLResponse(text, status)


def make_app(review: Review, *, access: Access, reviewer: str | None = None) -> FastAPI:
    """Return the application, for a server or for tests that call it in process."""
    site = Site(review, access=access, reviewer=reviewer)
    # the generated documentation would load scripts from elsewhere
    app = FastAPI(title="Tamis review", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False
    pages: dict[str, Callable[..., Response]] = {
        "/": site.queue,
        "/pair/{rank}": site.pair,
        "/find": site.find,
        "/name": site.name,
        "/export": site.export,
    }
    for path, page in pages.items():
        for address in (f"{path}.json", path):  # the first that fits is taken
            app.add_api_route(address, page, methods=["GET"], response_model=None)
    app.add_api_route("/static/{name}", site.asset, methods=["GET"], response_model=None)
    acts: dict[str, Callable[..., Response]] = {
        "/decide": site.decide,
        "/name": site.set_name,
        "/export": site.write,
    }
    for path, act in acts.items():
        app.add_api_route(path, act, methods=["POST"], response_model=None)
    for kind in (HTTPException, TamisError, SQLAlchemyError):
        app.add_exception_handler(kind, site.problem)
    app.add_middleware(Guard, access=access)
    return app


def _filters(query: dict[str, str]) -> Filters:
    return filters_of({name: value for name, value in query.items() if name != "reviewer"})


def _address(request: Request, *, suffix: str = "") -> str:
    """Return the address that was asked for, its path with a suffix, as a link of this server."""
    query = request.scope["query_string"].decode("latin-1")
    return local_path(request) + suffix + (f"?{query}" if query else "")


def _local(address: str) -> str:
    """Return an address of this server; anything else becomes the first page."""
    return address if LOCAL.fullmatch(address) else "/"
