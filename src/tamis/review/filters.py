"""Which pairs a reviewer looks at, and in which order.

Shapes: N pairs of the queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlencode

import numpy as np
from pydantic import Field, ValidationError, model_validator

from tamis.errors import ConfigError, shorten
from tamis.review.book import Verdicts
from tamis.review.queue import Bools, Ints, Queue
from tamis.types import Config

Status = Literal["all", "open", "done", "disputed"]
Order = Literal["suspicion", "spread"]
STATUSES: tuple[Status, ...] = get_args(Status)
ORDERS: tuple[Order, ...] = get_args(Order)


class Filters(Config):
    """The pairs to show: all of them unless told, the most suspicious first.

    ``spread`` visits all strengths evenly instead, for labels that calibrate P(wrong): such labels
    should not come from suspicious pairs alone.
    """

    status: Status = Field("all", description="open and done are the reviewer's own")
    order: Order = Field("suspicion", description="suspicion, or spread over all strengths")
    subset: str | None = Field(None, description="pairs of this subset")
    source: str | None = Field(None, description="pairs of this source")
    low: float | None = Field(None, description="lowest strength")
    high: float | None = Field(None, description="highest strength")
    text: str | None = Field(None, max_length=200, description="part of the id or of a text")

    @model_validator(mode="after")
    def _one_range(self) -> Filters:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self

    @property
    def query(self) -> str:
        """The filters as they stand in an address, with the question mark; empty for none."""
        given = self.model_dump(exclude_defaults=True)
        return f"?{urlencode(given)}" if given else ""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The ranks that the filters leave, in the order of the reader, and the neighbours of a pair.

    ``in_scope_N`` marks by rank the pairs that all filters but the status leave.
    """

    shown: Ints
    in_scope_N: Bools
    next: int | None
    previous: int | None


def filters_of(query: Mapping[str, str]) -> Filters:
    """Read filters from the parameters of an address; empty ones count as not given.

    Raises:
        ConfigError: a parameter is unknown, or its value cannot be.
    """
    given: dict[str, Any] = {name: value for name, value in query.items() if value.strip()}
    try:
        return Filters.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "filters"
        raise ConfigError(f"{name}: {first['msg']}; found {shorten(first['input'])}") from error


def select(
    queue: Queue,
    filters: Filters,
    *,
    verdicts: Verdicts,
    reviewer: str,
    at: int | None = None,
) -> Selection:
    """Return the ranks that the filters leave, and the neighbours of the pair that is looked at.

    The next pair is one that the filters leave; the one before is looked for regardless of status,
    since the pair just judged is no longer an open one.
    """
    order = reading_order(len(queue), filters.order)
    in_scope_N = _scope(queue, filters)
    scope_N = in_scope_N[order - 1]
    shown_N = scope_N & _status(queue, filters.status, verdicts, reviewer)[order - 1]
    following: int | None = None
    previous: int | None = None
    if at is not None:
        place = int(np.flatnonzero(order == at)[0])
        later, earlier = np.flatnonzero(shown_N[place + 1 :]), np.flatnonzero(scope_N[:place])
        following = int(order[place + 1 + later[0]]) if len(later) else None
        previous = int(order[earlier[-1]]) if len(earlier) else None
    return Selection(order[shown_N], in_scope_N, following, previous)


def reading_order(num_pairs: int, order: Order) -> Ints:
    """Return the ranks in the order in which they are read.

    ``spread`` sorts them by their reversed binary digits, so that any first part of the order is
    spread evenly over all ranks (the sequence of van der Corput).

    >>> reading_order(5, "spread").tolist()
    [1, 5, 3, 2, 4]
    """
    place_N = np.arange(num_pairs)
    if order == "suspicion":
        return place_N + 1
    reversed_N = np.zeros(num_pairs, np.int64)
    for bit in range(max(num_pairs - 1, 1).bit_length()):
        reversed_N = 2 * reversed_N + (place_N >> bit & 1)
    return np.argsort(reversed_N, kind="stable") + 1


def _scope(queue: Queue, filters: Filters) -> Bools:
    kept_N = np.ones(len(queue), bool)
    if filters.subset is not None:
        kept_N &= queue.subsets.are(filters.subset)
    if filters.source is not None:
        kept_N &= queue.sources.are(filters.source)
    if filters.low is not None:
        kept_N &= queue.mean_N >= filters.low
    if filters.high is not None:
        kept_N &= queue.mean_N <= filters.high
    if filters.text is not None:
        kept_N &= queue.search(filters.text)
    return kept_N


def _status(queue: Queue, status: Status, verdicts: Verdicts, reviewer: str) -> Bools:
    if status == "all":
        return np.ones(len(queue), bool)
    if status == "disputed":
        marked = [pair for pair, said in verdicts.items() if len(set(said.values())) > 1]
    else:
        marked = [pair for pair, said in verdicts.items() if reviewer in said]
    marked_N = np.zeros(len(queue), bool)
    marked_N[[queue.rank_of[pair] - 1 for pair in marked if pair in queue.rank_of]] = True
    return ~marked_N if status == "open" else marked_N
