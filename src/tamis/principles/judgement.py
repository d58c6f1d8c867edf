"""What a judge is asked, and what it says. A judge is a module with the function ``judge``.

Shapes: N pairs, P principles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tamis.principles.aggregate import Bools, Floats
from tamis.principles.config import PrinciplesConfig
from tamis.principles.principle import Principle
from tamis.types import Pair


@dataclass(frozen=True, slots=True)
class Judgement:
    """Scores of every pair and principle, in favour of the stored chosen answer where positive.

    ``score_12_NP`` was given with the chosen answer shown first, ``score_21_NP`` with it second; a
    judge that does not see an order gives the same twice. Any unit: it cancels within a principle.
    NaN: not judged. ``known_NP`` says what examples may show; a pair that shows a principle
    without a score learns nothing of it. ``report`` is JSON-safe.
    """

    score_12_NP: Floats
    score_21_NP: Floats
    known_NP: Bools
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """What a judge needs besides pairs and principles.

    ``asked_NP`` are the scores that the draw needs if the judge knows every principle; a judge that
    is free of charge may give more. ``folder`` outlives a crash. ``notice`` takes a line for the
    user.
    """

    asked_NP: Bools
    config: PrinciplesConfig
    folder: Path
    notice: Callable[[str], None]


class Judge(Protocol):
    """The function ``judge`` of a judge's module."""

    def __call__(
        self, pairs: Sequence[Pair], principles: Sequence[Principle], *, task: Task
    ) -> Judgement:
        """Return the scores of these pairs under these principles."""


def report_line(counts: Mapping[str, int]) -> str:
    """Write counts as one line.

    >>> report_line({"questions": 1200, "from the cache": 0})
    '1,200 questions'
    """
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
