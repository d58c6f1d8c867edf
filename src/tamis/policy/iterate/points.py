"""What is known of the policy of each round, measured on held-out prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from tamis.types import Interval

START = "start"  # the name of the policy that the first round begins with


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """How many responses a reward model scored how high, of a policy and of the start policy.

    ``edges`` are those of the bins, one more than there are counts.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    start_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RoundPoint:
    """One policy: the one that the loop starts from, or the one that a round ended with.

    Intervals are of means over held-out prompts. Scores of two reward models cannot be compared, so
    what reward models say is told as a difference to the responses of the start policy to the same
    prompts, scored by the same model.

    Attributes:
        name: ``start``, or the folder of the round.
        kl: KL divergence from the start policy, in nats a response; 0 for the start itself.
        tokens: length of a response.
        perplexity: of the responses under the start policy.
        finished_frac: share of the responses that ended before the limit of tokens.
        distinct_1: distinct words of all words (see `tamis.metrics.diversity`).
        distinct_2: distinct bigrams of all bigrams.
        self_bleu: how alike the responses are to each other.
        repeated_frac: share of the four-grams of a response that were there before in it.
        quality: what rounds are compared by: the gold reward's gain, or the judge's win rate.
        proxy_gain: by how much the round's reward model prefers the responses to those of the start
            policy, in standard deviations of the latter's scores.
        proxy_since_best: by how much it prefers them to those of the policy that had the best
            quality before this round, in the same way.
        gold_gain: as ``proxy_gain``, of the gold reward.
        win_rate: of the policy against the start policy, by the judge, a tie counting half.
        spread_ratio: how much more the reward models of the round disagree about the responses than
            about those of the start policy; above 1 is more.
        scores: by the round's reward model.
    """

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


def as_json(points: Sequence[RoundPoint]) -> list[dict[str, Any]]:
    """Return points as plain values; `points_from` reads them again."""
    return [asdict(point) for point in points]


def points_from(values: Any) -> list[RoundPoint]:
    """Return the points that `as_json` made plain.

    >>> one = RoundPoint(START, Interval(0.0, 0.0, 0.0, 3), Interval(9.5, 8.0, 11.0, 3))
    >>> points_from(as_json([one])) == [one]
    True
    """
    return TypeAdapter(list[RoundPoint]).validate_python(values)
