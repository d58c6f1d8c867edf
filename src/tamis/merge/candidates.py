"""Scores of members and of averages of them, as their users would get them.

Shapes: N pairs.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from tamis.merge.average import write_merged
from tamis.merge.members import Member
from tamis.models.checkpoint import load_scorer
from tamis.models.score import score_pairs
from tamis.runs import write_array
from tamis.types import Pair

Scores = NDArray[np.float64]


@final
class Candidates:
    """Weighted averages of members, scored on pairs; what was scored once is kept in a folder.

    An average is written to a scratch directory and loaded like any checkpoint, one at a time.
    """

    def __init__(self, members: Sequence[Member], *, work: Path, base: str | None = None) -> None:
        """Take the members, and a folder for scores that outlives a kill.

        Args:
            members: as `open_members` returned them.
            work: holds scores, and one average at a time.
            base: see `write_merged`.
        """
        self._members, self._work, self._base = list(members), work, base

    def __len__(self) -> int:
        return len(self._members)

    def one(self, number: int) -> tuple[float, ...]:
        """Return the weights that stand for one member."""
        return tuple(float(number == other) for other in range(len(self)))

    def scores(self, weights: Sequence[float], pairs: Sequence[Pair], *, name: str) -> Scores:
        """Return the scores of both sides of N pairs, [N, 2], by the average with these weights.

        Args:
            weights: one for each member.
            pairs: what to score.
            name: of the pairs; scores of equal weights and name are computed once.

        Raises:
            ConfigError: see `write_merged`; or the average cannot be loaded.
        """
        key = hashlib.sha256(repr(tuple(weights)).encode()).hexdigest()[:16]
        kept = self._work / "scores" / f"{name}-{key}.npy"
        if kept.is_file():
            return np.asarray(np.load(kept, allow_pickle=False))
        found = self._score(weights, pairs)
        write_array(kept, found)
        return found

    def _score(self, weights: Sequence[float], pairs: Sequence[Pair]) -> Scores:
        used = [number for number, weight in enumerate(weights) if weight]
        member = self._members[used[0]]
        path, scratch = member.path, self._work / "candidate"
        if len(used) > 1 or member.kind == "adapter":
            write_merged(self._members, weights_K=weights, out=scratch, base=self._base)
            path = scratch
        scorer = load_scorer(str(path))
        found = score_pairs(scorer.model, scorer.tokenizer, pairs, max_length=scorer.max_length)
        shutil.rmtree(scratch, ignore_errors=True)
        return np.stack([found.chosen_N, found.rejected_N], axis=1).astype(np.float64)
