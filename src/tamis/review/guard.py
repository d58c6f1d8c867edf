"""Who may ask the server for anything: checks before every request, headers on every answer."""

from __future__ import annotations

import hashlib
import hmac
import html
import secrets
from dataclasses import dataclass
from typing import final
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tamis.review.config import OPEN, ReviewConfig

MAX_BODY_BYTES = 64 * 1024
CSRF_HEADER = "x-tamis-csrf"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
WILDCARDS = frozenset({"0.0.0.0", "[::]"})
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # "no-referrer" would take the origin from forms, too
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Access:
    """What a request must bring along.

    ``token`` opens the pages (None: they are open). A request that changes something also brings
    ``csrf``, which only our own pages know. ``hosts`` are the names that the server may be called
    by (None: any), so that no other site's name can be pointed at it.
    """

    token: str | None
    csrf: str
    hosts: frozenset[str] | None

    @property
    def cookie(self) -> str:
        """The name of the cookie; servers on other ports of this host have other ones."""
        return f"tamis_review_{_digest(self.token or '', use='cookie')[:12]}"

    @property
    def session(self) -> str:
        """What the cookie holds: no token, but nobody without the token can make it."""
        return _digest(self.token or "", use="session")


def access_for(config: ReviewConfig) -> Access:
    """Return what a server with these settings asks for; a token is drawn where none is given."""
    token = None if config.token == OPEN else config.token or secrets.token_urlsafe(24)
    csrf = _digest(token or secrets.token_urlsafe(24), use="csrf")
    host = f"[{config.host.strip('[]')}]" if ":" in config.host else config.host.lower()
    hosts = None if host in WILDCARDS else LOOPBACK | {host}
    return Access(token, csrf, hosts)


def check_csrf(request: Request, *, access: Access, sent: str | None) -> None:
    """Refuse a change that neither a page of ours nor a program with the token asks for.

    ``sent`` is the form's own field; pages with scripts send the header instead.

    Raises:
        HTTPException: 403.
    """
    origin = request.headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    given = sent or request.headers.get(CSRF_HEADER, "")
    if foreign or not (_has_bearer(request.headers, access) or _equal(given, access.csrf)):
        raise HTTPException(403, "this form is from another page or server; load the page again")


@final
class Guard:
    """Lets a request through to the application, or answers it with a refusal."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._answer(Request(scope))
        if answer is None:
            await self._app(scope, _limited(receive), send_with_headers)
        else:
            await answer(scope, receive, send_with_headers)

    def _answer(self, request: Request) -> Response | None:
        """Return the refusal, or the page that sets the cookie, or None to go on."""
        access = self._access
        if access.hosts is not None and _host(request.headers) not in access.hosts:
            return _refusal(request, 400, "this server goes by another name")
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 9 or int(length) > MAX_BODY_BYTES:
            return _refusal(request, 413, f"more than {MAX_BODY_BYTES} bytes were sent")
        if access.token is None:
            return None
        if _equal(request.query_params.get("token", ""), access.token):
            return _sign_in(request, access)
        known = _equal(request.cookies.get(access.cookie, ""), access.session)
        if known or _has_bearer(request.headers, access):
            return None
        return _refusal(request, 403, "open the address that the program printed when it started")


def _limited(receive: Receive) -> Receive:
    """Count a body that comes without its length, too."""
    num_bytes = 0

    async def count() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes > MAX_BODY_BYTES:
            raise HTTPException(413, f"more than {MAX_BODY_BYTES} bytes were sent")
        return message

    return count


def _sign_in(request: Request, access: Access) -> Response:
    """Keep the token in a cookie, and go to the same page without it in the address.

    A page that goes on by itself, and no redirect: browsers do not send a strict cookie along with
    a redirect that began on another site, such as a chat in which the address was passed on.
    """
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
    path = local_path(request)
    target = html.escape(path + (f"?{urlencode(rest)}" if rest else ""), quote=True)
    answer = HTMLResponse(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Tamis review</title>'
        f'<link rel="icon" href="data:,">'
        f'<meta http-equiv="refresh" content="0;url={target}"></head>'
        f'<body><p><a href="{target}">Go on to the review</a></p></body></html>'
    )
    answer.set_cookie(access.cookie, access.session, httponly=True, samesite="strict", path="/")
    return answer


def local_path(request: Request) -> str:
    """Return the path that was asked for as part of a link, which leads to no other server."""
    return "/" + quote(request.scope["path"].lstrip("/\\"))


def wants_json(request: Request) -> bool:
    """Tell whether a program asks: an address that ends in .json, or no wish for HTML."""
    accept = request.headers.get("accept", "")
    return request.scope["path"].endswith(".json") or (
        "application/json" in accept and "text/html" not in accept
    )


def _refusal(request: Request, status: int, message: str) -> Response:
    if wants_json(request):
        return JSONResponse({"error": message}, status)
    return HTMLResponse(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Tamis review</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
        f"<body><h1>Not here</h1><p>{html.escape(message)}</p></body></html>",
        status,
    )


def _host(headers: Headers) -> str:
    """Return the name that the server was called by, without the port."""
    host = headers.get("host", "").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _has_bearer(headers: Headers, access: Access) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return access.token is not None and scheme.lower() == "bearer" and _equal(given, access.token)


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _digest(token: str, *, use: str) -> str:
    return hmac.new(token.encode(), use.encode(), hashlib.sha256).hexdigest()
