"""Requests without a sense: malformed bodies by hypothesis, and schemathesis on the description.

The generators are those of the tests (`tests/support/nonsense.py` and `described.py`), which send a
few of each; here it is ten thousand, to a server that listens, in a process of its own. The model
is finite, so no answer may be a 5xx but 503. The process has to be there at the end: a SIGTERM ends
it in good order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx2
from described import cases, described_at, status_of
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from nonsense import REFUSED, malformed

from processes import server

EXPECTED = {200, 503, *REFUSED}
SHOWN = 3
LONGEST_S = 130.0  # of an answer: longer than a server takes to give a request up


def fuzz(path: str, *, num_requests: int) -> dict[str, Any]:
    """Send so many of each kind, and return the answers by status, and what was wrong with them."""
    with server(path) as (process, port):
        address = f"http://127.0.0.1:{port}"
        with httpx2.Client(base_url=address, timeout=LONGEST_S) as client:

            def post(request: tuple[str, bytes]) -> int:
                to, body = request
                headers = {"content-type": "application/json"}
                return int(client.post(to, content=body, headers=headers).status_code)

            found = {
                "malformed": _counted(malformed(), post, num_requests=num_requests),
                "described": _counted(
                    cases(described_at(address), path), status_of, num_requests=num_requests
                ),
            }
        is_there = process.poll() is None
        process.terminate()
        code = process.wait(60)
    return {**found, "server": {"is_there": is_there, "exit_code": code, "met": code == 0}}


def _counted(
    requests: SearchStrategy[Any], send: Callable[[Any], int], *, num_requests: int
) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    problems: Counter[str] = Counter()

    @seed(0)
    @settings(
        max_examples=num_requests,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests)
    def each(request: Any) -> None:
        try:
            status = send(request)
        # schemathesis has a kind for each, some of them groups of the base kind; all are counted
        except (Exception, BaseExceptionGroup) as error:
            problems[f"{str(request)[:300]}: {str(error)[:300]}"] += 1
            return
        statuses[str(status)] += 1
        if status not in EXPECTED:
            problems[f"{status}: {str(request)[:300]}"] += 1

    each()
    num_sent = sum(statuses.values()) + sum(problems.values())
    return {
        "statuses": dict(statuses),
        "num_problems": sum(problems.values()),
        "problems": [text for text, _ in problems.most_common(SHOWN)],
        "met": not problems and num_sent >= num_requests,
    }
