"""One review: the pairs, what people said of them, and what is made of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tamis.errors import TamisError
from tamis.review.book import Book, Verdicts
from tamis.review.export import export
from tamis.review.queue import Queue
from tamis.review.store import Action, Choice, Decision, Row

Given = Literal["keep", "flip", "tie", "drop", "left", "right", "undo"]
GIVEN: tuple[Given, ...] = get_args(Given)
Side = Literal["chosen", "rejected"]


class NoSuchPairError(TamisError):
    """A pair was asked for that is not in the queue."""


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """The pairs of a vote and the book of decisions on them.

    ``base`` are the verdicts that hold for pairs nobody judged. A ``blind`` review hides labels,
    strengths and votes, and shuffles the sides of each pair, for each reviewer in their own way.
    """

    queue: Queue
    book: Book
    out: Path
    base: Path | None = None
    blind: bool = False

    def decide(self, *, pair_id: str, reviewer: str, given: Given, nonce: str) -> Row:
        """Store what a reviewer said of a pair: a choice, or the side that is better.

        Raises:
            NoSuchPairError: there is no such pair.
            DecisionError: it contradicts what is stored.
        """
        if pair_id not in self.queue.rank_of:
            raise NoSuchPairError("there is no pair with this id")
        choice: Action
        if given == "left" or given == "right":
            better = self.sides(reviewer, pair_id)[0 if given == "left" else 1]
            choice = "keep" if better == "chosen" else "flip"
        else:
            choice = given
        return self.book.decide(Decision(pair_id, reviewer, choice, nonce))

    def verdicts(self) -> Verdicts:
        """Return the verdicts on pairs of this queue; a database may hold those of other data."""
        found = self.book.verdicts()
        return {pair: said for pair, said in found.items() if pair in self.queue.rank_of}

    def sides(self, reviewer: str, pair_id: str) -> tuple[Side, Side]:
        """Return which answer stands left and which right."""
        digest = hashlib.sha256(f"{reviewer}\0{pair_id}".encode()).digest()
        swapped = self.blind and digest[0] % 2 == 1
        return ("rejected", "chosen") if swapped else ("chosen", "rejected")

    def as_shown(self, choice: Choice | None, *, pair_id: str, reviewer: str) -> str | None:
        """Return a choice in the words of the page: a blind one knows sides, and no label."""
        if not self.blind or choice not in ("keep", "flip"):
            return choice
        better: Side = "chosen" if choice == "keep" else "rejected"
        return "left" if self.sides(reviewer, pair_id)[0] == better else "right"

    def write(self) -> dict[str, Any]:
        """Write verdicts, trusted labels and their report, and return the report."""
        return export(self.queue, self.book.verdicts(), out=self.out, base=self.base)
