"""The log of decisions, and what it comes to."""

import os
import sqlite3

import pytest
from sqlalchemy import create_engine

from tamis.errors import ConfigError
from tamis.review.book import Book, DecisionError, count_choices, reviewer_name
from tamis.review.store import Decision, Row, Store, database_url

# another database to test with, such as postgresql+psycopg://user@host/name; its table is emptied
ELSEWHERE = os.environ.get("TAMIS_TEST_DATABASE")


@pytest.fixture(params=["default", "url", *([ELSEWHERE] if ELSEWHERE else [])])
def address(request, tmp_path):
    """Where decisions are kept: the default file, one by its URL, or a database elsewhere."""
    if request.param == "default":
        return database_url(None, default=tmp_path / "review" / "log.sqlite")
    if request.param == "url":
        return database_url(f"sqlite:///{tmp_path}/other.sqlite", default=tmp_path / "unused")
    engine = create_engine(request.param)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS tamis_decisions")
    engine.dispose()
    return database_url(request.param, default=tmp_path / "unused")


@pytest.fixture
def store(address):
    opened = Store(address)
    yield opened
    opened.close()


def decision(choice, *, pair="p", by="Ada", nonce=None):
    return Decision(pair, by, choice, nonce or f"{pair}-{by}-{choice}")


def test_a_decision_sent_twice_is_stored_once(store):
    first = store.append(decision("keep"))
    assert store.append(decision("keep")) == first
    assert store.read() == [first]
    assert (first.id, first.decision) == (1, decision("keep"))
    assert first.made_at.endswith("+00:00")
    assert store.find("p-Ada-keep") == first
    assert store.find("other") is None
    assert store.read(after=1) == []


def test_every_commit_is_on_disk_before_it_returns(tmp_path):
    store = Store(database_url(None, default=tmp_path / "review" / "log.sqlite"))
    with store._engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous")
        ]
    assert found == ["wal", 2]  # 2 is FULL
    store.append(decision("flip"))
    with sqlite3.connect(tmp_path / "review" / "log.sqlite") as other:
        rows = other.execute("SELECT pair_id, reviewer, choice FROM tamis_decisions").fetchall()
    other.close()
    store.close()
    assert rows == [("p", "Ada", "flip")]


def test_undo_takes_back_one_decision_at_a_time(store):
    book = Book(store)
    seen = []
    for number, choice in enumerate(["keep", "flip", "undo", "tie", "undo", "undo"]):
        book.decide(decision(choice, nonce=f"nonce{number}"))
        seen.append(book.verdicts().get("p", {}).get("Ada"))
    assert seen == ["keep", "flip", "keep", "tie", "keep", None]
    with pytest.raises(DecisionError, match="nothing to undo"):
        book.decide(decision("undo", nonce="nonce9"))
    assert len(store.read()) == 6
    assert book.decide(decision("undo", nonce="nonce5")).id == 6  # sent again: no second undo


def test_undo_is_the_reviewers_own(store):
    book = Book(store)
    book.decide(decision("keep", by="Bo"))
    with pytest.raises(DecisionError):
        book.decide(decision("undo", by="Ada"))
    assert book.verdicts() == {"p": {"Bo": "keep"}}


def test_a_nonce_stands_for_one_decision(store):
    book = Book(store)
    book.decide(decision("keep", nonce="same-nonce"))
    with pytest.raises(DecisionError, match="another answer"):
        book.decide(decision("flip", nonce="same-nonce"))
    assert book.verdicts() == {"p": {"Ada": "keep"}}


def test_the_last_decision_is_the_latest_that_holds(store):
    book = Book(store)
    assert book.last("Ada", among="pqr") is None
    book.decide(decision("keep", pair="p"))
    book.decide(decision("flip", pair="q"))
    book.decide(decision("tie", pair="r", by="Bo"))
    assert book.last("Ada", among="pqr") == ("q", "flip")
    book.decide(decision("undo", pair="q"))
    assert book.last("Ada", among="pqr") == ("p", "keep")


def test_several_processes_share_a_store(store, address):
    other = Store(address)
    book, elsewhere = Book(store), Book(other)
    book.decide(decision("keep"))
    assert elsewhere.verdicts() == {"p": {"Ada": "keep"}}
    elsewhere.decide(decision("flip", by="Bo"))
    assert book.verdicts() == {"p": {"Ada": "keep", "Bo": "flip"}}
    assert count_choices(book.verdicts()) == {"keep": 1, "flip": 1, "tie": 0, "drop": 0}
    other.close()


class LateStore:
    """A store of another kind, where a lower number may be committed after a higher one."""

    def __init__(self):
        self.rows = []

    def size(self):
        return len(self.rows)

    def read(self, *, after=0):
        return sorted((row for row in self.rows if row.id > after), key=lambda row: row.id)


def test_a_number_that_comes_late_is_not_missed():
    store = LateStore()
    book = Book(store)
    store.rows = [Row(2, decision("flip"), "")]
    assert book.verdicts() == {"p": {"Ada": "flip"}}
    store.rows += [Row(1, decision("keep"), ""), Row(3, decision("undo"), "")]
    assert book.verdicts() == {"p": {"Ada": "keep"}}


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("nonsense://x", "driver is missing"),
        ("postgresql+nothing://me:secret@host/name", "driver is missing"),
        ("://", "expected a file, or a URL"),
    ],
)
def test_a_database_that_cannot_be_is_named(tmp_path, address, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        Store(database_url(address, default=tmp_path / "unused"))
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "review.sqlite"
    path.write_bytes(b"no database " * 100)
    with pytest.raises(ConfigError, match=r"review\.sqlite: cannot be opened"):
        Store(database_url(str(path), default=tmp_path / "unused"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        database_url(None, default=blocked / "review.sqlite")


def test_a_table_with_other_columns_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "log.sqlite") as other:
        other.execute("CREATE TABLE tamis_decisions (id INTEGER)")
    other.close()
    with pytest.raises(ConfigError, match="no such column"):
        Store(database_url(str(tmp_path / "log.sqlite"), default=tmp_path / "unused"))


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\x00b", "\u202eadA", "\ud800"])
def test_names_that_cannot_be_are_refused(name):
    with pytest.raises(ConfigError, match="expected a name"):
        reviewer_name(name)
