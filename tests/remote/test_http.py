"""Requests against a real server on this machine."""

import math
import time
from contextlib import closing

import pytest
from ports import port_of, reserved
from servers import DROP, JsonServer

from tamis.errors import ConfigError
from tamis.remote.http import Access, RefusedError, checked_address, is_private, post_json

QUICK = Access(wait_s=0.0)


def test_the_body_is_posted_as_json_and_the_answer_returned(server):
    server.answer = lambda path, body: {"said": [path, body["a"]]}
    assert post_json(f"{server.url}/x", {"a": "ü"}, access=QUICK) == {"said": ["/x", "ü"]}
    assert server.bodies == [{"a": "ü"}]
    assert server.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in server.headers[0]


def test_numbers_that_are_none_come_through(server):
    server.answer = lambda path, body: [math.nan, math.inf]
    found = post_json(server.url, {}, access=QUICK)
    assert math.isnan(found[0])
    assert found[1] == math.inf


@pytest.mark.parametrize(
    "failure",
    [
        (500, {}, {}),
        (503, {}, {}),
        (429, {}, {"Retry-After": "0"}),
        (200, b"<html>", {}),
        (DROP, None, {}),
    ],
)
def test_what_may_pass_is_tried_again(server, failure):
    server.failures = [failure] * 2
    server.answer = lambda path, body: {"ok": 1}
    assert post_json(server.url, {"a": 1}, access=QUICK) == {"ok": 1}
    assert server.bodies == [{"a": 1}] * 3


def test_an_answer_that_its_caller_does_not_take_is_tried_again(server):
    answers = iter([{"error": "busy"}, {"ok": 1}])
    server.answer = lambda path, body: next(answers)

    def problem(content):
        return None if "ok" in content else "an answer without ok"

    assert post_json(server.url, {}, access=QUICK, problem=problem) == {"ok": 1}
    server.answer = lambda path, body: {}
    with pytest.raises(ConfigError, match="no answer in 2 tries, at last an answer without ok"):
        post_json(server.url, {}, access=Access(retries=1, wait_s=0.0), problem=problem)


@pytest.mark.parametrize("state", [400, 401, 404, 422])
def test_a_refusal_is_not_tried_again_and_shows_what_the_server_says(server, state):
    server.failures = [(state, {"error": "no such model 'm'"}, {})] * 3
    with pytest.raises(
        RefusedError, match=rf"refuses with state {state}: .*no such model"
    ) as found:
        post_json(f"{server.url}/v1", {}, access=QUICK)
    assert str(found.value).startswith(f"{server.url}/v1: ")
    assert "no such model" in found.value.said
    assert len(server.bodies) == 1


def test_tries_come_to_an_end(server):
    server.failures = [(500, {}, {})] * 9
    with pytest.raises(ConfigError, match="no answer in 3 tries, at last state 500"):
        post_json(server.url, {}, access=Access(retries=2, wait_s=0.0))
    assert len(server.bodies) == 3


def test_waiting_grows_unless_the_server_says_how_long(server):
    server.failures = [(500, {}, {})] * 3
    started = time.monotonic()
    server.answer = lambda path, body: {}
    post_json(server.url, {}, access=Access(wait_s=0.02))
    assert time.monotonic() - started >= 0.02 + 0.04 + 0.08
    server.failures = [(503, {}, {"Retry-After": "0"})]
    started = time.monotonic()
    post_json(server.url, {}, access=Access(wait_s=30.0))
    assert time.monotonic() - started < 10


def test_a_server_that_does_not_answer_in_time_or_is_not_there(server):
    server.answer, server.delay_s = (lambda path, body: {}), 60.0  # nobody waits for it
    with pytest.raises(ConfigError, match=r"no answer in 1 tries, at last .*timed out"):
        post_json(server.url, {}, access=Access(timeout_s=0.05, retries=0))
    with reserved() as place, pytest.raises(ConfigError, match=r"at last .*refused"):
        post_json(f"http://127.0.0.1:{port_of(place)}", {}, access=Access(retries=0))


def test_the_key_comes_from_the_environment_that_is_named(server, monkeypatch):
    server.answer = lambda path, body: {}
    monkeypatch.setenv("MY_KEY", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    post_json(server.url, {}, access=Access(api_key_env="MY_KEY"))
    post_json(server.url, {}, access=Access())
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert "Authorization" not in server.headers[1]


def test_what_is_for_this_machine_goes_through_no_proxy(server, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.answer = lambda path, body: {"ok": 1}
    with closing(JsonServer()) as proxy:
        proxy.answer = lambda path, body: {"ok": 2}
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert post_json(server.url, {"a": 1}, access=QUICK) == {"ok": 1}
        assert proxy.bodies == []
        elsewhere = Access(retries=0, wait_s=0.0)
        assert post_json("http://judge.invalid/v1", {"a": 1}, access=elsewhere) == {"ok": 2}


@pytest.mark.parametrize("state", [301, 302, 303, 307, 308])
def test_nobody_is_followed_elsewhere_with_the_key(server, monkeypatch, state):
    monkeypatch.setenv("MY_KEY", "secret")
    with closing(JsonServer()) as other:
        other.answer = lambda path, body: {"ok": 1}
        server.failures = [(state, {}, {"Location": f"{other.url}/v1"})] * 3
        with pytest.raises(
            RefusedError, match=rf"sends elsewhere with state {state}, to .*{other.url}/v1"
        ):
            post_json(server.url, {"a": 1}, access=Access(api_key_env="MY_KEY", wait_s=0.0))
        assert other.headers == []
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://judge.example/v1", True),
        ("http://judge.example/v1", False),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost/v1", True),
        ("http://localhost.example/v1", False),
    ],
)
def test_what_is_posted_can_be_read_on_the_way(url, private):
    assert is_private(url) is private


@pytest.mark.parametrize("url", [None, "", "localhost:8000", "ftp://host", "http://"])
def test_an_address_that_names_no_server(url):
    with pytest.raises(ConfigError, match="expected http:// or https:// and a host"):
        checked_address(url)
