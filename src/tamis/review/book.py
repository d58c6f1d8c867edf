"""What the log of decisions comes to: every reviewer's present verdict on every pair."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Container, Mapping
from typing import final

from tamis.errors import ConfigError, TamisError, shorten
from tamis.review.store import Choice, Decision, Row, Store

Verdicts = Mapping[str, Mapping[str, Choice]]  # pair -> reviewer -> choice


class DecisionError(TamisError):
    """A decision that contradicts what is stored, and was not stored."""


@final
class Book:
    """The verdicts that hold now, kept up to date with the store.

    A decision replaces the reviewer's earlier one on the pair; ``undo`` takes the last one back, so
    that the one before holds again. Several processes may write to one store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._clear()

    def decide(self, decision: Decision) -> Row:
        """Store a decision; one that was stored before is returned as it is.

        Raises:
            DecisionError: there is nothing to undo, or the nonce was used for something else.
        """
        with self._lock:
            stored = self._store.find(decision.nonce)
            if stored is None:
                self._refresh()
                if decision.choice == "undo" and not self._stack(decision):
                    raise DecisionError("there is nothing to undo on this pair")
                stored = self._store.append(decision)
                self._refresh()
        if stored.decision != decision:
            raise DecisionError(
                "this form was sent before, with another answer; load the page again"
            )
        return stored

    def verdicts(self) -> dict[str, dict[str, Choice]]:
        """Return each pair that somebody judged, with what each of them says."""
        with self._lock:
            self._refresh()
            found: dict[str, dict[str, Choice]] = {}
            for (reviewer, pair_id), stack in self._stacks.items():
                if stack:
                    found.setdefault(pair_id, {})[reviewer] = stack[-1][1]
            return found

    def last(self, reviewer: str, *, among: Container[str]) -> tuple[str, Choice] | None:
        """Return the reviewer's latest decision on these pairs that was not taken back."""
        with self._lock:
            self._refresh()
            latest = max(
                (
                    (*stack[-1], pair_id)
                    for (name, pair_id), stack in self._stacks.items()
                    if name == reviewer and stack and pair_id in among
                ),
                default=None,
            )
        return None if latest is None else (latest[2], latest[1])

    def _stack(self, decision: Decision) -> list[tuple[int, Choice]]:
        return self._stacks.get((decision.reviewer, decision.pair_id), [])

    def _clear(self) -> None:
        self._stacks: dict[tuple[str, str], list[tuple[int, Choice]]] = {}
        self._num_read, self._last_id = 0, 0

    def _refresh(self) -> None:
        """Read what is new in the log; all of it where a lower number was committed later."""
        size = self._store.size()
        if size == self._num_read:
            return
        rows = self._store.read(after=self._last_id)
        if self._num_read + len(rows) != size:
            self._clear()
            rows = self._store.read()
        for row in rows:
            self._apply(row)

    def _apply(self, row: Row) -> None:
        decision = row.decision
        stack = self._stacks.setdefault((decision.reviewer, decision.pair_id), [])
        if decision.choice != "undo":
            stack.append((row.id, decision.choice))
        elif stack:
            stack.pop()
        self._num_read += 1
        self._last_id = row.id


def reviewer_name(text: str) -> str:
    """Return a reviewer's name without the spaces around it.

    Raises:
        ConfigError: it is empty, longer than 60 characters, or holds what cannot be printed.

    >>> reviewer_name("  Ada L. ")
    'Ada L.'
    """
    name = " ".join(text.split())
    if not 1 <= len(name) <= 60 or not name.isprintable():
        raise ConfigError(f"reviewer {shorten(text)}: expected a name of 1 to 60 characters")
    return name


def count_choices(verdicts: Verdicts) -> dict[str, int]:
    """Return how often each choice holds, over all pairs and reviewers."""
    counts = Counter(choice for said in verdicts.values() for choice in said.values())
    return {choice: counts[choice] for choice in ("keep", "flip", "tie", "drop")}
