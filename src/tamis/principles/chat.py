"""Asking a chat model over HTTP: OpenAI-compatible ``/chat/completions``, with retries."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tamis.errors import ConfigError, shorten
from tamis.principles.config import EndpointConfig

WORTH_A_RETRY = frozenset({408, 409, 425, 429})
LONGEST_WAIT_S = 60.0
TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    wait_s: float | None = None


def request_body(endpoint: EndpointConfig, messages: list[dict[str, str]]) -> dict[str, Any]:
    """Return what is posted: greedy, and with the log probabilities of first tokens if wanted."""
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": messages,
        "max_tokens": endpoint.max_tokens,
        "temperature": 0,
    }
    if endpoint.read == "logprobs":
        body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    return body


def complete(endpoint: EndpointConfig, body: Mapping[str, Any]) -> dict[str, Any]:
    """Post a request and return the answer, asking again after what may pass.

    Time-outs, lost connections, answers that are no completion, and the states 408, 409, 425, 429
    and 5xx are tried again, after ``wait_s`` seconds, twice that, and so on up to a minute, or as
    long as ``Retry-After`` says (at most that minute).

    Raises:
        ConfigError: the server refuses the request, or fails at every try.
    """
    wait_s, reason = endpoint.wait_s, ""
    for tries_left in range(endpoint.retries, -1, -1):
        found = _try(endpoint, body)
        if not isinstance(found, _Failure):
            return found
        reason = found.reason
        if tries_left:
            pause_s = wait_s if found.wait_s is None else found.wait_s
            time.sleep(min(pause_s, LONGEST_WAIT_S))
            wait_s *= 2
    raise ConfigError(
        f"{endpoint.url}: no answer in {endpoint.retries + 1} tries, at last {reason}; what "
        "was answered so far is kept, start again to go on"
    )


def _try(endpoint: EndpointConfig, body: Mapping[str, Any]) -> dict[str, Any] | _Failure:
    try:
        with urlopen(_request(endpoint, body), timeout=endpoint.timeout_s) as response:
            content = json.loads(response.read())
    except HTTPError as error:
        with error:
            return _refusal(endpoint, error)
    except (URLError, HTTPException, OSError) as error:  # a time-out is an OSError
        return _Failure(f"{getattr(error, 'reason', None) or error!r}")
    except ValueError:
        return _Failure("an answer that is no JSON")
    if not _is_completion(content):
        return _Failure(f"an answer without choices: {shorten(content)}")
    answer: dict[str, Any] = content
    return answer


def _request(endpoint: EndpointConfig, body: Mapping[str, Any]) -> Request:
    if endpoint.url is None or not endpoint.url.startswith(("http://", "https://")):
        raise ConfigError(
            f"endpoint.url is {shorten(endpoint.url)}; expected http:// or https:// and a host"
        )
    headers = {"Content-Type": "application/json"}
    key = os.environ.get(endpoint.api_key_env)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    content = json.dumps(body).encode()
    return Request(f"{endpoint.url.rstrip('/')}/chat/completions", content, headers)


def _refusal(endpoint: EndpointConfig, error: HTTPError) -> _Failure:
    if error.code in WORTH_A_RETRY or error.code >= 500:
        return _Failure(f"state {error.code}", _retry_after(error))
    said = error.read(2000).decode("utf-8", "replace")
    hint = "; without log probabilities: endpoint.read: choice" if "logprobs" in said else ""
    raise ConfigError(
        f"{endpoint.url}: the server refuses with state {error.code}: "
        f"{shorten(said, limit=200)}{hint}"
    )


def _retry_after(error: HTTPError) -> float | None:
    try:
        return max(float(error.headers.get("Retry-After", "")), 0.0)
    except ValueError:  # absent, or a date
        return None


def _is_completion(content: Any) -> bool:
    try:
        return isinstance(content["choices"][0]["message"], dict)
    except (KeyError, IndexError, TypeError):
        return False
