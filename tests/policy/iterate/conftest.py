"""Points of rounds, made up."""

from collections.abc import Callable

import pytest

from tamis.policy.iterate.points import RoundPoint
from tamis.types import Interval


def flat(value: float, *, half: float = 0.0) -> Interval:
    return Interval(value, value - half, value + half, 10)


def make_points(*rounds: dict) -> list[RoundPoint]:
    """Points of the start policy and of rounds; each dictionary overrides what is unremarkable.

    ``quality``, ``win_rate`` and ``gold_gain`` may be numbers, whose interval is then 0.05 to
    either side.
    """
    points = []
    for place, own in enumerate(rounds):
        values = {
            "name": f"round-{place - 1:02d}" if place else "start",
            "kl": float(place),
            "tokens": 20.0,
            "finished_frac": 0.9,
            "repeated_frac": 0.1,
            "distinct_2": 0.8,
            "spread_ratio": 1.0,
        } | own
        for key in ("kl", "tokens"):
            values[key] = flat(values[key])
        for key in ("quality", "win_rate", "gold_gain"):
            if isinstance(values.get(key), float):
                values[key] = flat(values[key], half=0.05 if place else 0.0)
        points.append(RoundPoint(**values))
    return points


@pytest.fixture(scope="session")
def points() -> Callable[..., list[RoundPoint]]:
    return make_points
