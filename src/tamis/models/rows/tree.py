"""Sequences laid out so that what several of them begin with is there once.

A pair is two sequences that part after the prompt, a K-wise group K of them, and a system prompt is
shared by all: together they are a forest whose branches are runs of tokens. Shapes: S sequences,
M nodes, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

MIN_SAVED = 8  # a node costs every layer a kernel call or two; a few tokens cost less


@dataclass(frozen=True)
class PrefixTree:
    """A forest of M runs of tokens, parents before children, T tokens in all.

    Attributes:
        token_ids: of all nodes, one after another [T].
        positions: of each token in its own sequence, from 0 [T].
        lengths: tokens of each node [M].
        parents: the node that each continues, -1 for a beginning [M].
        reads: where in ``token_ids`` each sequence has its last token [S].
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    lengths: tuple[int, ...]
    parents: tuple[int, ...]
    reads: tuple[int, ...]

    @cached_property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """The nodes from the beginning to each node, itself included [M]."""
        paths: list[tuple[int, ...]] = []
        for node, parent in enumerate(self.parents):
            paths.append((*paths[parent], node) if parent >= 0 else (node,))
        return tuple(paths)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each node starts, and at last T, [M + 1]."""
        return (0, *accumulate(self.lengths))

    @cached_property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Where the tokens of each sequence are, in order [S]."""
        spans = [range(start, stop) for start, stop in pairwise(self.starts)]
        return tuple(
            tuple(row for node in self.paths[self.node_of_token[read]] for row in spans[node])
            for read in self.reads
        )

    @cached_property
    def node_of_token(self) -> tuple[int, ...]:
        """The node of each token [T]."""
        return tuple(node for node, length in enumerate(self.lengths) for _ in range(length))


def prefix_tree(sequences: Sequence[Sequence[int]], *, min_saved: int = MIN_SAVED) -> PrefixTree:
    """Lay sequences of token ids out as a forest.

    The common beginning is found on the ids, over all sequences, never assumed. It is shared where
    that saves at least ``min_saved`` tokens; equal sequences are there once.

    Args:
        sequences: token ids of S sequences, none empty.
        min_saved: tokens; a huge number packs whole sequences, one node each.

    >>> tree = prefix_tree([[1, 2, 3, 4], [1, 2, 3, 5, 6]], min_saved=1)
    >>> tree.token_ids, tree.lengths, tree.parents, tree.reads
    ((1, 2, 3, 4, 5, 6), (3, 1, 2), (-1, 0, 0), (3, 5))
    >>> tree.positions
    (0, 1, 2, 3, 3, 4)
    """
    rows = [tuple(sequence) for sequence in sequences]
    order = sorted(range(len(rows)), key=rows.__getitem__)
    token_ids: list[int] = []
    positions: list[int] = []
    lengths: list[int] = []
    parents: list[int] = []
    reads = [0] * len(rows)
    # (start, stop): rows of `order` that agree up to `depth`, where they leave node `parent`
    todo = [(0, len(order), 0, -1)] if order else []
    while todo:
        start, stop, depth, parent = todo.pop()
        row, last = rows[order[start]], rows[order[stop - 1]]
        shared = common_prefix(row, last, start=depth)
        if row == last or (shared - depth) * (stop - start - 1) >= min_saved:
            token_ids += row[depth:shared]
            positions += range(depth, shared)
            lengths.append(shared - depth)
            parents.append(parent)
            depth, parent = shared, len(parents) - 1
            while start < stop and len(rows[order[start]]) == depth:  # the shortest come first
                reads[order[start]] = len(token_ids) - 1
                start += 1
        ranges = _parted(rows, order, start, stop, at=shared)
        todo += [(low, high, depth, parent) for low, high in reversed(ranges)]
    return PrefixTree(
        tuple(token_ids), tuple(positions), tuple(lengths), tuple(parents), tuple(reads)
    )


def common_prefix(first: tuple[int, ...], second: tuple[int, ...], *, start: int = 0) -> int:
    """Return how many leading ids two sequences share, given that ``start`` of them are the same.

    >>> common_prefix((1, 2, 3), (1, 2, 4, 5))
    2
    """
    low, high = start, min(len(first), len(second))
    while low < high:  # slices compare in C: a search by halves beats a loop over ids
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _parted(
    rows: Sequence[tuple[int, ...]], order: Sequence[int], start: int, stop: int, *, at: int
) -> list[tuple[int, int]]:
    """Cut a range of sorted rows where their id at one place changes; rows that end there apart."""
    ranges: list[tuple[int, int]] = []
    for index in range(start, stop):
        token = rows[order[index]][at : at + 1]
        if ranges and rows[order[index - 1]][at : at + 1] == token:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return ranges
