"""Every page and its JSON twin, in process."""

import itertools
import json
import re
from importlib.resources import files

import pytest
from pages import Page
from reviews import BASE, TOKEN, make_pairs, turns, visit, write_run

from tamis.denoise.tables import read_verdicts
from tamis.report.page import render
from tamis.types import Message, Pair


def choices_of(page):
    return [attrs["value"] for tag, attrs in page.tags if tag == "button" and "value" in attrs]


def test_the_list_and_its_twin_say_the_same(ada):
    twin, page = ada.twin("/"), ada.page("/")
    assert [pair["id"] for pair in twin["pairs"]] == [f"p{number}" for number in range(8)]
    assert twin["start"] == "/pair/1?status=open"
    assert {pair["address"] for pair in twin["pairs"]} <= set(page.values("href", of="a"))
    assert twin["start"] in page.values("href", of="a")
    assert "0 of 8 pairs judged by Ada" in " ".join(page.words.split())
    for pair in twin["pairs"]:
        assert pair["opening"] in page.words
    assert "−3.00" in page.words
    assert "Strength\n" in page.words


def test_a_pair_and_its_twin_say_the_same(ada):
    twin, page = ada.twin("/pair/1"), ada.page("/pair/1")
    assert (twin["id"], twin["strength"], twin["votes"]) == (
        "p0",
        {"mean": -3.0, "std": 0.5},
        [-3.5, -2.5],
    )
    assert twin["people"] == {"chosen": 1, "rejected": 4, "tie": 0}
    assert [twin[side]["label"] for side in ("left", "right")] == ["chosen", "rejected"]
    assert (twin["next"], twin["previous"], twin["mine"]) == ("/pair/2", None, None)
    words = " ".join(page.words.split())
    for text in ("Pair 1 of 8", "−3.00 ± 0.50", "2 of 2", "1 : 4", "quick brown fox", "lazy"):
        assert text in words
    assert choices_of(page) == ["keep", "flip", "tie", "drop"]
    assert page.text.count("<mark>") == 4
    assert twin["next"] in page.values("href", of="a")


def test_accept_asks_for_the_twin_as_well(ada):
    asked = ada.client.get("/pair/1", headers={"accept": "application/json"})
    assert asked.json() == ada.twin("/pair/1")
    assert "json" not in ada.client.get("/pair/1").headers["content-type"]


def test_every_page_links_to_a_twin_that_is_there(ada):
    ada.judge("p0", "keep")
    for address in ("/", "/?status=done&text=fox", "/pair/2?status=open", "/name", "/export"):
        page = ada.page(address)
        (twin,) = [link for link in page.values("href", of="a") if ".json" in link]
        assert ada.client.get(twin).json() == ada.twin(address)


def test_no_link_of_a_page_is_dead(ada):
    ada.judge("p0", "keep")
    seen, waiting = set(), ["/", "/pair/3?subset=odd"]
    while waiting:
        address = waiting.pop()
        if address in seen or address.startswith(("#", "data:")):
            continue
        seen.add(address)
        answer = ada.client.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 200, address
        if "html" in answer.headers["content-type"]:
            page = ada.page(address)
            waiting += page.values("href", "src")
    assert len(seen) > 20


def test_decisions_show_where_they_were_made(ada):
    ada.judge("p0", "flip")
    ada.judge("p1", "tie")
    twin = ada.twin("/pair/1")
    assert (twin["mine"], twin["progress"]["num_done"]) == ("flip", 2)
    assert twin["last"] == {"id": "p1", "rank": 2, "choice": "tie", "address": "/pair/2"}
    pressed = [
        attrs["value"]
        for tag, attrs in ada.page("/pair/1").tags
        if attrs.get("aria-pressed") == "true"
    ]
    assert pressed == ["flip"]
    assert [pair["mine"] for pair in ada.twin("/")["pairs"][:3]] == ["flip", "tie", None]
    assert ada.twin("/")["start"] == "/pair/3?status=open"
    ada.judge("p1", "undo")
    assert ada.twin("/pair/2")["mine"] is None
    assert ada.twin("/pair/2")["last"]["id"] == "p0"


def test_the_list_is_paged(tmp_path):
    with visit(write_run(tmp_path / "run", make_pairs(45))) as ada:
        pages = [ada.twin(f"/?page={number}") for number in (1, 2, 3, 4)]
        assert [len(page["pairs"]) for page in pages] == [20, 20, 5, 5]
        ranks = [pair["rank"] for page in pages[:3] for pair in page["pairs"]]
        assert ranks == list(range(1, 46))
        assert "/?page=3" in ada.page("/?page=2").values("href")
        assert "/?subset=odd&page=2" in ada.page("/?subset=odd").values("href")
        assert ada.client.get("/?page=x").status_code == 400


def test_what_others_say_is_told_after_judging(ada):
    ada.judge("p0", "keep", by="Bo")
    before = ada.twin("/pair/1")
    assert (before["mine"], before["others"]) == (None, None)
    assert ada.twin("/")["pairs"][0]["disputed"] is False
    ada.judge("p0", "flip")
    assert ada.twin("/pair/1")["others"] == {"Bo": "keep"}
    assert ada.twin("/")["pairs"][0]["disputed"] is True
    assert [pair["id"] for pair in ada.twin("/?status=disputed")["pairs"]] == ["p0"]
    assert ada.twin("/")["agreement"][0]["agreement_frac"] == 0.0
    assert "0.0%" in ada.page("/").words


def test_without_scripts_a_form_does_it(ada):
    (form, *_) = ada.page("/pair/1?status=open").forms
    fields = form["fields"] | {"choice": "drop"}
    answer = ada.client.post(form["action"], data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/pair/2?status=open")
    assert ada.twin("/pair/1")["mine"] == "drop"
    again = ada.client.post(form["action"], data=fields)  # the reader pressed reload
    assert again.status_code == 303
    changed = ada.client.post(form["action"], data=fields | {"choice": "keep"})
    assert changed.status_code == 409
    assert ada.twin("/pair/1")["mine"] == "drop"
    (_, undo) = ada.page("/pair/2?status=open").forms[:2]
    assert undo["fields"]["pair"] == "p0"
    answer = ada.client.post(undo["action"], data=undo["fields"])
    assert answer.headers["location"] == "/pair/1?status=open"
    assert ada.twin("/pair/1")["mine"] is None


def test_the_end_of_the_queue_leads_back_to_the_list(ada):
    twin = ada.twin("/pair/8?status=open")
    assert (twin["next"], twin["list"]) == (None, "/?status=open")
    assert ada.page("/pair/8?status=open").forms[0]["fields"]["next"] == "/?status=open"


def test_a_name_is_asked_for_once(run):
    with visit(run, reviewer=None) as guest:
        answer = guest.client.get("/pair/2?status=open")
        assert answer.headers["location"] == "/name?next=/pair/2%3Fstatus%3Dopen"
        assert guest.client.get("/pair/2.json").status_code == 400
        assert guest.twin("/pair/2?reviewer=Bo")["reviewer"] == "Bo"
        (form,) = guest.page(answer.headers["location"]).forms[:1]
        named = guest.client.post("/name", data=form["fields"] | {"reviewer": "Zoë 狐"})
        assert named.headers["location"] == "/pair/2?status=open"
        assert guest.twin("/pair/2")["reviewer"] == "Zoë 狐"
        assert guest.send("p1", "keep").status_code == 200
        assert guest.review.verdicts() == {"p1": {"Zoë 狐": "keep"}}
        refused = guest.client.post("/name", data=form["fields"] | {"reviewer": "  "})
        assert refused.status_code == 400


def test_the_cookie_goes_before_the_option(run):
    with visit(run, reviewer="Ada") as guest:
        guest.client.cookies.set("tamis_reviewer", "Bo")
        assert guest.twin("/")["reviewer"] == "Bo"
        guest.client.cookies.set("tamis_reviewer", "%00")
        assert guest.twin("/")["reviewer"] == "Ada"


def test_export_writes_what_training_reads(ada, run):
    assert ada.twin("/export")["num_reviewed"] == 0
    secret = {"x-tamis-csrf": ada.access.csrf, "accept": "application/json"}
    assert ada.client.post("/export", json={}, headers=secret).status_code == 400
    ada.judge("p0", "flip")
    (form,) = ada.page("/export").forms[:1]
    answer = ada.client.post("/export", data=form["fields"], headers={"accept": "text/html"})
    assert "1 reviewed pair of 8 pairs" in answer.text
    twin = ada.client.post("/export", json={}, headers=secret).json()
    assert twin["report"]["num_flipped"] == 1
    found = {verdict.id: verdict for verdict in read_verdicts(run / "review/verdicts.parquet")}
    assert (found["p0"].target, found["p1"].target) == (0.0, 1.0)


def test_a_blind_review_tells_no_label(run):
    with visit(run, blind=True) as ada:
        pages = [ada.twin(f"/pair/{rank}") for rank in range(1, 9)]
        for rank, twin in enumerate(pages, start=1):
            assert not {"strength", "votes", "p_wrong", "people"} & set(twin)
            assert (twin["left"]["label"], twin["right"]["label"]) == (None, None)
            page = ada.page(f"/pair/{rank}")
            assert choices_of(page)[:2] == ["left", "right"]
            assert not {"Chosen", "Rejected", "Strength", "flip:"} & set(page.words.split())
            assert '"side chosen"' not in page.text
        assert all(pair["strength"] is None for pair in ada.twin("/")["pairs"])
        assert ada.client.get("/?low=0").status_code == 400
        left_is_fox = [
            any("fox" in part["text"] for part in twin["left"]["turns"][0]["parts"])
            for twin in pages
        ]
        assert 0 < sum(left_is_fox) < 8  # sides are shuffled
        for number, is_fox in enumerate(left_is_fox):  # the fox is always the chosen answer
            ada.judge(f"p{number}", "left" if is_fox else "right")
        assert {said["Ada"] for said in ada.review.verdicts().values()} == {"keep"}
        shown = [ada.twin(f"/pair/{rank}")["mine"] for rank in range(1, 9)]
        assert shown == ["left" if is_fox else "right" for is_fox in left_is_fox]
        orders = [
            [ada.review.sides(name, f"p{number}") for number in range(8)] for name in ("Ada", "Bo")
        ]
        assert orders[0] != orders[1]


def test_a_pair_is_found_by_its_id_for_who_asks(run):
    with visit(run, reviewer=None) as guest:
        found = guest.client.get("/find.json?id=p3&reviewer=Bo&status=open")
        assert found.headers["location"] == "/pair/4.json?reviewer=Bo&status=open"
        assert guest.client.get(found.headers["location"]).json()["reviewer"] == "Bo"


@pytest.mark.parametrize("path", ["//evil.example/x", "/%5Cevil.example", "/pair/1%3Fx", "/a%20b"])
def test_a_problem_links_to_its_twin_on_this_server(ada, path):
    page = Page(ada.client.get(f"{BASE}{path}", headers={"accept": "text/html"}).text)
    (twin,) = [link for link in page.values("href", of="a") if link.endswith(".json")]
    assert twin[:1] == "/"
    assert twin[1:2] not in ("/", "\\")
    assert ada.client.get(twin).status_code == 404


ATTACKS = [
    '<script>alert(1)</script>"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1) {{ 7 * 7 }}{% raw %} </textarea></style>",
    "\u202e\u2066right to left \u05d0\u05d1\u05d2 \x0b\x1b[31m",
    "wide" * 30_000,
]


def pair_of(text):
    return Pair(
        text[:60],
        (Message("user", text),),
        turns(text, text, f"chosen {text}"),
        turns(f"rejected {text}"),
        subset=text[:80],
        source=text[:80],
    )


def pages_of(ada):
    addresses = ("/", "/pair/1", "/pair/2", "/export", "/name?next=/x", "/?text=none%20such")
    return [ada.page(address) for address in addresses]


@pytest.fixture(scope="module")
def known_tags(tmp_path_factory):
    """The tags of pages about a harmless text that is as long as can be."""
    run = write_run(tmp_path_factory.mktemp("known"), [pair_of("word " * 24_000), *make_pairs(3)])
    with visit(run) as ada:
        ada.judge(("word " * 24_000)[:60], "keep")
        return {tag for page in pages_of(ada) for tag, _ in page.tags}


@pytest.mark.parametrize("attack", ATTACKS, ids=["script", "quotes", "direction", "huge"])
def test_texts_stay_texts(tmp_path, known_tags, attack):
    odd = pair_of(attack)
    with visit(write_run(tmp_path / "run", [odd, *make_pairs(3)])) as ada:
        ada.judge(odd.id, "keep")
        pages = pages_of(ada)  # which checks that no handler is there and every tag is closed
        for page in pages:
            assert {tag for tag, _ in page.tags} <= known_tags
            assert page.count("script") == 1
            assert "49" not in page.words
            assert len(page.text) < 250_000
        assert attack[:60] in pages[1].words
        found = ada.client.get("/find", params={"id": odd.id})
        assert found.headers["location"] == "/pair/1"
        query = {"text": attack[:60], "subset": attack[:80], "order": "spread"}
        asked = ada.client.get("/.json", params=query).json()["pairs"]
        assert [pair["id"] for pair in asked] == [odd.id]
        assert "Pair 1" in ada.page(asked[0]["address"]).words


def test_turns_of_a_conversation_fold(tmp_path):
    prompt = turns("first", "second", "third", "last question", "x")[:-1]
    pair = Pair("long", prompt, turns("yes"), turns("no"))
    with visit(write_run(tmp_path / "run", [pair])) as ada:
        assert len(ada.twin("/pair/1")["prompt"]) == 4
        assert "3 earlier turns" in ada.page("/pair/1").words


@pytest.mark.parametrize(
    ("address", "status", "message"),
    [
        ("/pair/0", 404, "they are 1 to 8"),
        ("/pair/9", 404, "they are 1 to 8"),
        (f"/pair/{'9' * 5000}", 404, "they are 1 to 8"),
        ("/pair/x", 404, "they are 1 to 8"),
        ("/pair/1?colour=red", 400, "colour"),
        ("/?status=closed", 400, "status"),
        ("/find?id=none", 404, "no pair with this id"),
        ("/static/app.py", 404, "no such file"),
        ("/static/..%2f..%2fapp.py", 404, ""),
        ("/nothing", 404, "Not Found"),
    ],
)
def test_what_is_not_there_is_told_in_both_forms(ada, address, status, message):
    page = ada.client.get(address, headers={"accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert message in page.text
    twin = ada.client.get(address, headers={"accept": "application/json"})
    assert (twin.status_code, list(twin.json())) == (status, ["error"])
    assert message in twin.json()["error"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"pair": "none"}, 404),
        ({"pair": "\ud800"}, 404),
        ({"choice": "maybe"}, 400),
        ({"nonce": "short"}, 400),
        ({"nonce": "x" * 65}, 400),
        ({"reviewer": "\ud800"}, 400),
        ({"choice": "undo"}, 409),
    ],
)
def test_decisions_that_cannot_be_are_not_stored(ada, changes, status):
    body = {"pair": "p0", "choice": "keep", "nonce": "a-new-nonce"} | changes
    headers = {"x-tamis-csrf": ada.access.csrf, "accept": "application/json"}
    headers["content-type"] = "application/json"
    answer = ada.client.post("/decide", content=json.dumps(body), headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert ada.review.verdicts() == {}


@pytest.mark.parametrize("body", ["{", "[1]", '{"pair": 1}', "[" * 30_000])
def test_bodies_that_cannot_be_read_are_refused(ada, body):
    headers = {"content-type": "application/json", "x-tamis-csrf": ada.access.csrf}
    assert ada.client.post("/decide", content=body, headers=headers).status_code == 400


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/ x"],
)
def test_no_form_leads_to_another_site(ada, target):
    nonces = itertools.count()
    for path, fields in {
        "/decide": {"pair": "p0", "choice": "keep", "nonce": f"{next(nonces)}-12345678"},
        "/name": {"reviewer": "Ada"},
    }.items():
        fields |= {"csrf": ada.access.csrf, "next": target}
        assert ada.client.post(path, data=fields).headers["location"] == "/"
    assert ada.page(f"/name?next={target}").forms[0]["fields"]["next"] == "/"
    assert TOKEN not in ada.page("/").text


def test_the_colours_are_those_of_the_report(ada):
    palette = files("tamis").joinpath("palette.css").read_text(encoding="utf-8")
    known = set(re.findall(r"(--[\w-]+): ", palette))
    sheets = [ada.client.get("/static/style.css").text, render([])]
    for sheet in sheets:
        assert palette in sheet
        assert set(re.findall(r"var\((--[\w-]+)", sheet)) <= known
        assert sheet.count(":root {") == 2  # in light and in dark; no colour is said twice
