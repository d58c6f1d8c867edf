"""The parts of what rounds of iterated RLHF write that the report shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tamis.types import Interval

START = "start"


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """Counts of scores in bins, of a round's policy and of the start policy."""

    edges: list[float]
    counts: list[int]
    start_counts: list[int]


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured of one policy, the start policy or that of a round."""

    name: str
    kl: Interval
    tokens: Interval
    perplexity: float | None = None
    finished_frac: float | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    self_bleu: float | None = None
    repeated_frac: float | None = None
    quality: Interval | None = None
    proxy_gain: Interval | None = None
    proxy_since_best: Interval | None = None
    gold_gain: Interval | None = None
    win_rate: Interval | None = None
    spread_ratio: float | None = None
    scores: ScoreCounts | None = None

    @property
    def label(self) -> str:
        """The name as people say it.

        >>> zero = Interval(0.0, 0.0, 0.0)
        >>> Point("round-01", zero, zero).label
        'round 1'
        """
        number = self.name.removeprefix("round-")
        return f"round {int(number)}" if number.isdigit() else self.name


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the rounds stopped."""

    rule: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Best:
    """Which point is kept, and why."""

    place: int
    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One held-out prompt with the answer of the start policy and that of the best one."""

    prompt: list[dict[str, str]]
    start: list[dict[str, str]]
    best: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class RoundsReport:
    """``rounds.json``; ``quality`` says what rounds are compared by, "" where by nothing.

    ``idle`` says what no rule can notice. ``judge`` has the counts of the judge by round: name,
    win, tie, lose and further figures.
    """

    points: list[Point]
    best: Best
    num_planned: int
    is_over: bool
    quality: str = ""
    reasons: list[Reason] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    judge: list[dict[str, Any]] = field(default_factory=list)
