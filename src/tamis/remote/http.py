"""Posting JSON to a server, again after what may pass."""

from __future__ import annotations

import ipaddress
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from tamis.errors import ConfigError, shorten

WORTH_A_RETRY = frozenset({408, 409, 425, 429})
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """How a server is asked.

    Attributes:
        api_key_env: environment variable that holds the key, if there is one.
        timeout_s: seconds to wait for an answer.
        retries: further tries after a failed one.
        wait_s: seconds before the second try; each later wait is twice as long.
    """

    api_key_env: str | None = None
    timeout_s: float = 60.0
    retries: int = 5
    wait_s: float = 1.0


class RefusedError(ConfigError):
    """A server refuses a request.

    ``state`` is that of HTTP; ``said`` is what the server says, at most 2,000 bytes of it.
    """

    def __init__(self, message: str, *, said: str, state: int) -> None:
        super().__init__(message)
        self.said, self.state = said, state


@final
class _Stays(HTTPRedirectHandler):
    """Goes nowhere else, so that a redirection is an error."""

    def redirect_request(self, *_: Any) -> None:
        """Make no request."""


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    wait_s: float | None = None


def no_problem(content: Any) -> str | None:  # noqa: ARG001
    """Accept any answer."""
    return None


def checked_address(url: str | None) -> str:
    """Return an address without slashes at its end.

    Raises:
        ConfigError: it names no server.

    >>> checked_address("http://localhost:8000/v1/")
    'http://localhost:8000/v1'
    """
    parts = urlsplit(url or "")
    if url is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"the address of a server is {shorten(url)}; expected http:// or https:// and a host"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_private(url: str) -> bool:
    """Tell whether nobody on the way can read what is posted: over https, or on this machine.

    >>> is_private("https://api.example.com/v1"), is_private("http://judge:8000/v1")
    (True, False)
    """
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def post_json(
    url: str,
    body: Mapping[str, Any],
    *,
    access: Access,
    problem: Callable[[Any], str | None] = no_problem,
) -> Any:
    """Post a body as JSON and return the answer, asking again after what may pass.

    Time-outs, lost connections, answers that are no JSON, and the states 408, 409, 425, 429 and 5xx
    are tried again, after ``wait_s`` seconds, twice that, and so on up to a minute, or as long as
    ``Retry-After`` says (at most that minute). Nobody is followed elsewhere: what is posted, and
    the key, are for the server that was named. The proxy of the environment is not used on the way
    to this machine.

    Args:
        url: where to.
        body: anything JSON can hold.
        access: key, patience and tries.
        problem: says what is wrong with an answer that is to be asked for again, or ``None``.

    Raises:
        RefusedError: the server refuses the request, or sends elsewhere.
        ConfigError: the address names no server, or every try fails.
    """
    where, wait_s, reason = checked_address(url), access.wait_s, ""
    for tries_left in range(access.retries, -1, -1):
        found = _try(where, body, access=access)
        wrong = None if isinstance(found, _Failure) else problem(found)
        if not isinstance(found, _Failure) and wrong is None:
            return found
        failure = found if isinstance(found, _Failure) else _Failure(str(wrong))
        reason = failure.reason
        if tries_left:
            pause_s = wait_s if failure.wait_s is None else failure.wait_s
            time.sleep(min(pause_s, LONGEST_WAIT_S))
            wait_s *= 2
    raise ConfigError(
        f"{where}: no answer in {access.retries + 1} tries, at last {reason}; what was answered "
        "so far is kept, start again to go on"
    )


def _try(url: str, body: Mapping[str, Any], *, access: Access) -> Any:
    """Return the answer, or a ``_Failure`` that may pass."""
    headers = {"Content-Type": "application/json"}
    key = os.environ.get(access.api_key_env or "")
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = Request(url, json.dumps(body).encode(), headers)
    handlers: list[Any] = [_Stays]
    if is_loopback(urlsplit(url).hostname or ""):
        handlers.append(ProxyHandler({}))  # what is for this machine does not leave it
    try:
        with build_opener(*handlers).open(request, timeout=access.timeout_s) as response:
            return json.loads(response.read())
    except HTTPError as error:
        with error:
            return _refusal(url, error)
    except (URLError, HTTPException, OSError) as error:  # a time-out is an OSError
        return _Failure(f"{getattr(error, 'reason', None) or error!r}")
    except ValueError:
        return _Failure("an answer that is no JSON")


def _refusal(url: str, error: HTTPError) -> _Failure:
    if error.code in WORTH_A_RETRY or error.code >= 500:
        return _Failure(f"state {error.code}", _retry_after(error))
    said = error.read(2000).decode("utf-8", "replace")
    reason = f"the server refuses with state {error.code}: {shorten(said, limit=200)}"
    if 300 <= error.code < 400:
        elsewhere = shorten(error.headers.get("Location"), limit=200)
        reason = (
            f"the server sends elsewhere with state {error.code}, to {elsewhere}; name that "
            "address where it is the right one"
        )
    raise RefusedError(f"{url}: {reason}", said=said, state=error.code)


def _retry_after(error: HTTPError) -> float | None:
    try:
        return max(float(error.headers.get("Retry-After", "")), 0.0)
    except ValueError:  # absent, or a date
        return None
