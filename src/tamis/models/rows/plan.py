"""The layout that was chosen for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tamis.models.rows.tree import MIN_SAVED, PrefixTree, prefix_tree

RowKind = Literal["shared", "packed", "padded"]

NEVER = 10**9  # tokens: more than any prefix saves


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How batches are laid out for a model, and one line that says why.

    ``shared``: what sequences begin with in common is there once. ``packed``: whole sequences one
    after another. ``padded``: rows of equal length.
    """

    kind: RowKind
    why: str

    def tree(self, sequences: Sequence[Sequence[int]]) -> PrefixTree:
        """Lay sequences out, with or without shared prefixes."""
        min_saved = NEVER if self.kind == "packed" else MIN_SAVED
        return prefix_tree(sequences, min_saved=min_saved)
