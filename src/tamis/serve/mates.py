"""Which waiting texts go through the model together with the one that has waited longest.

The longest waiting one always goes, so that none waits for ever, and its company is chosen so that
little is computed for nothing:

* Where prefixes are shared, the texts go by age, and each brings along those that share much of it,
  as answers to one prompt do. What most of all that wait share, a system prompt say, counts for
  nothing. No new family begins when the pass has enough tokens; one that has begun may take it to
  twice as many.
* Where whole texts are packed, they go by age.
* Where rows are padded, texts of like length go together, from among those that have waited
  longest.

Choosing by cost alone would save a little more, and let late texts pass early ones so often that a
few wait for several times as long; long passes do the same. Simulated with HH dialogues and 64
clients, each with one text on its way: company by cost and passes of 4,096 tokens have 0.98 of the
offline rate, and the slowest of a hundred texts waits 1.84 times the offline time of 64 texts
(shared; with eight clients a prompt 0.56 and 3.24); as above with 1,024 tokens, 0.95 and 1.28 (0.93
and 1.43). `make bench-serve` measures it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice, takewhile

from tamis.models.rows.plan import RowKind
from tamis.models.rows.tree import common_prefix

Ids = tuple[int, ...]

CPU_TOKENS = 1536  # enough on a CPU: a token of a longer pass costs no less
CPU_PASSES = 4  # at most, side by side on a CPU
USED = 0.8  # of its cores at least
KIN = 0.4  # so much of the longer of two texts, at its beginning, is shared in a family
MOST = 0.75  # of those that wait: what they share with the longest waiting one makes no family
FULL = 2  # times enough: where a family ends, too
WINDOW = 1.5  # times enough tokens: the longest waiting texts that padded rows are chosen from
LIKE, SLACK = 0.85, 8  # lengths, shortest to longest: a ratio, and tokens that do not matter
LOOKED_AT = 1024  # of the longest waiting texts, so that choosing costs little in a long queue


def cpu_passes(num_cores: int) -> int:
    """Return how many passes go side by side on a CPU, so that nearly all cores have work.

    Small passes use one core well and several badly.

    >>> [cpu_passes(num_cores) for num_cores in (1, 2, 3, 5, 6, 7, 8, 16)]
    [1, 2, 3, 4, 3, 3, 4, 4]
    """
    numbers = range(1, min(CPU_PASSES, num_cores) + 1)
    return max(n for n in numbers if n * (num_cores // n) >= USED * num_cores)


def choose_mates(
    waiting: Sequence[Ids],
    *,
    batch_tokens: int,
    kind: RowKind,
    enough_tokens: int | None = None,
) -> list[int]:
    """Return the indices of the texts of the next batch, the first waiting one among them.

    The batch has at most ``batch_tokens`` tokens, as the layout counts them, or one text.

    Args:
        waiting: token ids of the waiting texts, the longest waiting first; at least one.
        batch_tokens: of a forward pass at most.
        kind: the layout of the model, see `tamis.models.rows`.
        enough_tokens: with so many a pass is worth while; ``None``: ``batch_tokens``.

    >>> waiting = [(1, 2, 3), (7, 8, 9), (1, 2, 4)]
    >>> choose_mates(waiting, batch_tokens=6, kind="shared")
    [0, 2]
    >>> choose_mates(waiting, batch_tokens=6, kind="packed")
    [0, 1]
    >>> choose_mates([(1, 2), (1,) * 9, (3, 4)], batch_tokens=9, kind="padded")
    [0, 2]
    """
    enough = min(batch_tokens, enough_tokens or batch_tokens)
    waiting = waiting[:LOOKED_AT]
    if kind == "padded":
        return sorted(_like_lengths(waiting, batch_tokens=enough))
    shares = kind == "shared"
    start = _shared_by_most(waiting) if shares else 0
    most = min(batch_tokens, start + FULL * enough)
    chosen: list[int] = []
    rows: list[Ids] = []  # sorted, so that what a text shares is with one of its neighbours
    num_tokens = 0
    left = dict.fromkeys(range(len(waiting)))
    while left and (not chosen or num_tokens < start + enough):
        for index in _family(waiting, left, start=start) if shares else [next(iter(left))]:
            place = bisect_left(rows, waiting[index])
            near = rows[max(0, place - 1) : place + 1] if shares else []
            shared = max((common_prefix(row, waiting[index]) for row in near), default=0)
            num_tokens += len(waiting[index]) - shared
            if chosen and num_tokens > most:
                return chosen
            chosen.append(index)
            rows.insert(place, waiting[index])
            del left[index]
    return chosen


def _shared_by_most(waiting: Sequence[Ids]) -> int:
    """Return how many tokens most of the others begin with as the first one does, 0 if alone."""
    shared = sorted(common_prefix(waiting[0], ids) for ids in waiting[1:])
    return shared[math.floor((1 - MOST) * len(shared))] if shared else 0


def _family(waiting: Sequence[Ids], left: Iterable[int], *, start: int) -> list[int]:
    """Return the longest waiting of those that are left, and its kin; ``start`` tokens are none."""
    first, *others = left
    return [first, *(i for i in others if _are_kin(waiting[first], waiting[i], start=start))]


def _are_kin(one: Ids, other: Ids, *, start: int) -> bool:
    shorter, longer = sorted((len(one), len(other)))
    least = start + max(1, math.ceil(KIN * (longer - start)))
    return least <= shorter and one[:least] == other[:least]


def _like_lengths(waiting: Sequence[Ids], *, batch_tokens: int) -> list[int]:
    """Return texts of like length around the first one, as many as fit.

    Of the longest waiting ones in the order of their lengths, they are a run that grows by the
    neighbour that costs less and ends where neither fits.
    """
    ends = accumulate(len(ids) for ids in waiting)
    num_near = sum(1 for _ in takewhile(lambda end: end <= WINDOW * batch_tokens, ends))
    lengths = [len(ids) for ids in islice(waiting, max(1, num_near))]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)

    def cost(low: int, high: int) -> float:
        shortest, longest = lengths[order[low]], lengths[order[high]]
        is_like = shortest >= LIKE * longest - SLACK
        return (high - low + 1) * longest if is_like else math.inf

    low = high = order.index(0)
    while True:
        grown = [
            (cost(*ends), ends)
            for ends in ((low - 1, high), (low, high + 1))
            if ends[0] >= 0 and ends[1] < len(order)
        ]
        if not grown or min(grown)[0] > batch_tokens:
            return order[low : high + 1]
        _, (low, high) = min(grown)
