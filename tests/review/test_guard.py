"""Who may ask for what."""

import pytest
from fastapi.testclient import TestClient
from pages import Page
from reviews import BASE, TOKEN, visit

from tamis.errors import ConfigError
from tamis.recipes.files import parse
from tamis.review.config import ReviewConfig
from tamis.review.guard import MAX_BODY_BYTES, access_for

PAGES = ["/", "/.json", "/pair/1", "/pair/1.json", "/name", "/export", "/find", "/static/keys.js"]


@pytest.mark.parametrize("address", [*PAGES, "/nothing", "/?token=wrong"])
def test_nothing_opens_without_the_token(run, address):
    with visit(run, signed_in=False) as stranger:
        answer = stranger.client.get(address)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert "fox" not in answer.text


@pytest.mark.parametrize("address", ["/decide", "/name", "/export"])
def test_nothing_changes_without_the_token(run, address):
    with visit(run, signed_in=False) as stranger:
        body = {"pair": "p0", "choice": "keep", "nonce": "12345678", "csrf": stranger.access.csrf}
        assert stranger.client.post(address, data=body).status_code == 403
        assert stranger.review.verdicts() == {}


def test_the_address_that_was_printed_signs_in(run):
    with visit(run, signed_in=False) as guest:
        answer = guest.client.get(f"/pair/2?token={TOKEN}&status=open")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        (refresh,) = Page(answer.text).values("content")
        assert refresh == "0;url=/pair/2?status=open"
        assert guest.client.get("/pair/2").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/x", "/%5Cevil.example", "/%22%3E%3Cscript%3E"])
def test_signing_in_leads_to_this_server_alone(run, path):
    with visit(run, signed_in=False) as guest:
        scope_path = f"{BASE}{path}?token={TOKEN}"
        answer = guest.client.get(scope_path)
        (refresh,) = Page(answer.text).values("content")
        assert refresh.startswith("0;url=/")
        assert refresh[len("0;url=/") :][:1] not in ("/", "\\")
        assert "<script" not in answer.text


def test_programs_bring_the_token_along(run):
    with visit(run, signed_in=False) as program:
        bearer = {"authorization": f"Bearer {TOKEN}", "accept": "application/json"}
        assert program.client.get("/pair/1", headers=bearer).json()["id"] == "p0"
        body = {"pair": "p0", "choice": "keep", "nonce": "12345678"}
        assert program.client.post("/decide", json=body, headers=bearer).status_code == 200
        bearer["authorization"] = "Bearer wrong"
        assert program.client.get("/pair/1", headers=bearer).status_code == 403


@pytest.mark.parametrize("address", ["/decide", "/name", "/export"])
@pytest.mark.parametrize(
    ("csrf", "origin"),
    [
        (None, None),
        ("wrong", None),
        ("", BASE),
        ("right", "https://evil.example"),
        ("right", "null"),
    ],
)
def test_forms_of_other_sites_are_refused(ada, address, csrf, origin):
    fields = {"pair": "p0", "choice": "keep", "nonce": "12345678", "reviewer": "Ada"}
    if csrf is not None:
        fields["csrf"] = ada.access.csrf if csrf == "right" else csrf
    headers = {} if origin is None else {"origin": origin}
    assert ada.client.post(address, data=fields, headers=headers).status_code == 403
    assert ada.review.verdicts() == {}
    fields["csrf"] = ada.access.csrf
    answer = ada.client.post(address, data=fields, headers={"origin": BASE})
    assert answer.status_code in (303, 400)  # nothing to export is 400


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("LOCALHOST", 200),
        ("[::1]:8765", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example:8765", 400),
        ("", 400),
        ("[", 400),
    ],
)
def test_other_names_of_the_server_are_refused(ada, host, status):
    assert ada.client.get("/.json", headers={"host": host}).status_code == status


def test_a_server_for_all_addresses_goes_by_any_name(run):
    with visit(run, host="0.0.0.0") as guest:
        for host in ("reviews.example:80", "["):
            assert guest.client.get("/.json", headers={"host": host}).status_code == 200
    with visit(run, host="reviews.example") as guest:
        assert guest.client.get("/", headers={"host": "reviews.example:8765"}).status_code == 200
        assert guest.client.get("/", headers={"host": "other.example"}).status_code == 400


def test_long_bodies_are_refused_with_and_without_their_length(ada):
    headers = {"content-type": "application/json", "x-tamis-csrf": ada.access.csrf}
    long = b'{"pair": "' + b"x" * MAX_BODY_BYTES
    assert ada.client.post("/decide", content=long, headers=headers).status_code == 413
    parts = (long[start : start + 1000] for start in range(0, len(long), 1000))
    assert ada.client.post("/decide", content=parts, headers=headers).status_code == 413
    headers["content-length"] = "-1"
    assert ada.client.post("/decide", content=b"{}", headers=headers).status_code == 413


@pytest.mark.parametrize("address", ["/", "/pair/1.json", "/static/style.css", "/nothing"])
def test_every_answer_carries_the_headers(run, address):
    for signed_in in (True, False):
        with visit(run, signed_in=signed_in) as guest:
            headers = guest.client.get(address).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"


def test_pages_keep_to_the_policy(ada):
    for address in ("/", "/pair/1", "/name", "/export"):
        page = ada.page(address)  # which checks that there is no handler and no style attribute
        assert page.values("src") == ["/static/keys.js"]
        assert not [tag for tag, _ in page.tags if tag in ("style", "iframe", "object")]
        assert all(link.startswith(("/", "#")) for link in page.links())
    for name in ("style.css", "keys.js"):
        text = ada.client.get(f"/static/{name}").text
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text


def test_an_open_server_still_knows_its_forms(run):
    from reviews import sources_of

    from tamis.review.app import make_app
    from tamis.review.serve import open_review

    access = access_for(ReviewConfig(token="none"))
    with open_review(sources_of(run)) as review:
        client = TestClient(make_app(review, access=access, reviewer="Ada"), base_url=BASE)
        assert client.get("/").status_code == 200
        body = {"pair": "p0", "choice": "keep", "nonce": "12345678"}
        assert client.post("/decide", data=body).status_code == 403
        headers = {"authorization": "Bearer "}
        assert client.post("/decide", data=body, headers=headers).status_code == 403
        assert client.post("/decide", data=body | {"csrf": access.csrf}).status_code == 200


def test_tokens_are_drawn_anew_and_differ_from_what_is_shown():
    first, second = access_for(ReviewConfig()), access_for(ReviewConfig())
    assert first.token != second.token
    assert len(first.token) >= 32
    assert len({first.token, first.csrf, first.session, first.cookie}) == 4
    assert (
        access_for(ReviewConfig(token="none")).csrf != access_for(ReviewConfig(token="none")).csrf
    )


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"token": "none", "host": "0.0.0.0"}, "would open the page to everybody"),
        ({"token": "none", "host": "example.org"}, "would open the page to everybody"),
        ({"token": "short"}, "12 or more letters"),
        ({"token": "a token with spaces"}, "12 or more letters"),
        ({"token": "ein-schlüssel-für-mich"}, "12 or more letters"),
        ({"port": 70_000}, "port"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        parse(ReviewConfig, settings, where="options")
    assert settings.get("token", "-") == "none" or settings.get("token", "-") not in str(
        caught.value
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost", "::1", "[::1]"])
def test_loopback_is_known(host):
    assert ReviewConfig(host=host, token="none").is_loopback
