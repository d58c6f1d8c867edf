"""A small run directory to review, and a client of its page, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi.testclient import TestClient
from pages import Page

from tamis.data import write_pairs
from tamis.review.app import make_app
from tamis.review.config import ReviewConfig
from tamis.review.guard import Access, access_for
from tamis.review.serve import Sources, open_review
from tamis.review.session import Review
from tamis.types import Message, Pair, Votes
from tamis.vote.table import STRENGTH_SCHEMA

NUM = 8
TOKEN = "a-token-for-the-tests"
BASE = "http://127.0.0.1:8765"


def turns(*texts: str) -> tuple[Message, ...]:
    """A conversation that ends with the assistant."""
    roles = itertools.cycle(["assistant", "user"])
    return tuple(reversed([Message(next(roles), text) for text in reversed(texts)]))


def make_pairs(num_pairs: int = NUM) -> list[Pair]:
    """Pairs p0, p1, ...; the votes of ``write_run`` suspect p0 most, then p1, and so on."""
    return [
        Pair(
            f"p{number}",
            (Message("user", f"Question {number}: which animal is quick?"),),
            turns(f"The quick brown fox, and that is answer {number}."),
            turns(f"The lazy brown dog, and that is answer {number}."),
            group=f"g{number}",
            subset="even" if number % 2 == 0 else "odd",
            source="one" if number < 6 else "two",
            votes=Votes(1, 4) if number == 0 else None,
            row=number,
        )
        for number in range(num_pairs)
    ]


def write_run(run: Path, pairs: Sequence[Pair] | None = None) -> Path:
    """Write data and votes; the files have other orders than the suspicion."""
    pairs = make_pairs() if pairs is None else pairs
    mean_of = {pair.id: float(place) - 3.0 for place, pair in enumerate(pairs)}
    write_pairs(run / "data" / "pairs.parquet", list(reversed(pairs)))
    ids = [pair.id for pair in (*pairs[1::2], *pairs[::2])]
    rows = [
        {
            "id": name,
            "mean": mean_of[name],
            "std": 0.5,
            "agreement": 0.5,
            "votes": [mean_of[name] - 0.5, None, mean_of[name] + 0.5],
        }
        for name in ids
    ]
    (run / "vote").mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=STRENGTH_SCHEMA)
    pq.write_table(table, run / "vote" / "strength.parquet")
    return run


def sources_of(run: Path, **changes: Any) -> Sources:
    """The files of a run, as the command line names them."""
    found = {
        "pairs": run / "data" / "pairs.parquet",
        "strength": run / "vote" / "strength.parquet",
        "out": run / "review",
        "wrong": run / "denoise" / "wrong.parquet",
        "base": run / "denoise" / "verdicts.parquet",
    }
    return Sources(**(found | changes))


@dataclass
class Visitor:
    """A browser without a screen: it has the cookie, and knows the secret of the forms."""

    client: TestClient
    access: Access
    review: Review
    _nonces: Iterator[int] = field(default_factory=itertools.count)

    def twin(self, address: str) -> dict[str, Any]:
        """The JSON twin of a page that must be there."""
        path, mark, query = address.partition("?")
        answer = self.client.get(f"{path}.json{mark}{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def page(self, address: str) -> Page:
        """A page that must be there."""
        answer = self.client.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 200, answer.text
        page = Page(answer.text)
        assert not page.values("style")  # which the content policy forbids
        return page

    def send(self, pair: str, choice: str, **more: str) -> Any:
        """Send a decision as the page's script does."""
        body = {"pair": pair, "choice": choice, "nonce": f"nonce-{next(self._nonces):04d}", **more}
        headers = {"x-tamis-csrf": self.access.csrf, "accept": "application/json"}
        return self.client.post("/decide", json=body, headers=headers)

    def judge(self, pair: str, choice: str, *, by: str = "Ada") -> None:
        """Send a decision that must be stored."""
        answer = self.send(pair, choice, reviewer=by)
        assert answer.status_code == 200, answer.text


@contextmanager
def visit(
    run: Path,
    *,
    blind: bool = False,
    reviewer: str | None = "Ada",
    signed_in: bool = True,
    **host: Any,
) -> Iterator[Visitor]:
    """Open the review of a run in this process."""
    access = access_for(ReviewConfig(token=TOKEN, **host))
    with open_review(sources_of(run), blind=blind) as review:
        app = make_app(review, access=access, reviewer=reviewer)
        client = TestClient(app, base_url=BASE, follow_redirects=False)
        if signed_in:
            assert client.get(f"/?token={TOKEN}").status_code == 200
        yield Visitor(client, access, review)
