"""What a term sees: of a batch while training runs, and of all pairs before.

Shapes: B pairs of a batch, N pairs of the data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from tamis.models.tokenise import EncodedPair
from tamis.types import Config, Pair

CHUNK_PAIRS = 512

Columns = dict[str, NDArray[np.float32]]


class TermSettings(Config):
    """The settings that every term has; a term adds its own, or another default."""

    coefficient: float = Field(1.0, ge=0, description="what the term is multiplied with")


@dataclass(frozen=True, slots=True)
class View:
    """What a term sees of B pairs, turned so that target >= 0.5; all float32.

    With ``form: token`` each pair is there once for every place at which it is read, with the
    scores at that place, and the mean over its places is taken afterwards.

    Attributes:
        score_chosen_B: rewards of the answers believed better.
        score_rejected_B: rewards of the others.
        target_B: P(chosen is better), in [0.5, 1].
        margin_B: the required gap, signed.
        columns: the term's own numbers of each pair, by name.
    """

    score_chosen_B: Tensor
    score_rejected_B: Tensor
    target_B: Tensor
    margin_B: Tensor
    columns: Mapping[str, Tensor]

    @property
    def delta_B(self) -> Tensor:  # noqa: N802
        """Reward of chosen minus reward of rejected."""
        return self.score_chosen_B - self.score_rejected_B


@dataclass(frozen=True, slots=True)
class KnownPairs:
    """What is known of the N pairs of a run before it starts.

    Attributes:
        encoded: their token ids, turned so that target >= 0.5; on disk.
        pairs: their texts, as they are stored; perhaps on disk.
        swapped_N: which of ``pairs`` have to be turned.
        work: a folder for what is computed at length, so that a run that was killed finds it.
    """

    encoded: Sequence[EncodedPair]
    pairs: Sequence[Pair]
    swapped_N: NDArray[np.bool_]
    work: Path

    def oriented(self) -> Iterator[list[Pair]]:
        """Give the texts of all pairs, turned, 512 pairs at a time."""
        for start in range(0, len(self.pairs), CHUNK_PAIRS):
            chunk = self.pairs[start : start + CHUNK_PAIRS]
            swapped = self.swapped_N[start : start + CHUNK_PAIRS]
            yield [pair.swapped() if s else pair for pair, s in zip(chunk, swapped, strict=True)]
