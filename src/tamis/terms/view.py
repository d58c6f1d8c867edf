"""What a term sees: of a batch while training runs, and of all pairs before.

Shapes: B pairs of a batch, N pairs of the data set, S distinct sequences of a batch, T tokens of a
batch, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from tamis.models.config import ModelConfig
from tamis.models.rows.memory import StateMemory
from tamis.models.tokenise import EncodedPair
from tamis.types import Config, Pair

CHUNK_PAIRS = 512

Columns = dict[str, NDArray[np.float32]]
Need = Literal["views", "tokens"]


class TermSettings(Config):
    """The settings that every term has; a term adds its own, or another default."""

    coefficient: float = Field(1.0, ge=0, description="what the term is multiplied with")


@dataclass(frozen=True, slots=True)
class Vectors:
    """What the output layer reads of each distinct sequence of a batch, in two views.

    Attributes:
        views_2SD: float32; each view has parts of it dropped out at random, while training.
        chosen_B: which of the S sequences is the chosen side of each pair.
        rejected_B: the same of the rejected side.
    """

    views_2SD: Tensor
    chosen_B: Tensor
    rejected_B: Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a batch, and the states in which a decoder has read them.

    Attributes:
        states_TD: the trunk's last states at all tokens, as the batch was laid out.
        embeddings_VD: the trunk's input embeddings, with which many models predict, too.
        ids: token ids of each distinct sequence [S].
        places: where in ``states_TD`` each of its tokens is [S].
        chosen_B: which of the S sequences is the chosen side of each pair.
        rejected_B: the same of the rejected side.
        start_B: how many tokens the two sides of a pair begin with in common.
    """

    states_TD: Tensor
    embeddings_VD: Tensor
    ids: Sequence[Sequence[int]]
    places: Sequence[Sequence[int]]
    chosen_B: Sequence[int]
    rejected_B: Sequence[int]
    start_B: Sequence[int]


@dataclass(frozen=True, slots=True)
class View:
    """What a term sees of B pairs, turned so that target >= 0.5; all float32.

    A term without needs sees each pair once for every place at which it is read, with the scores at
    that place, and the mean over its places is taken afterwards: with ``form: token`` at every
    token, and in both views where another term needs them. A term with needs sees each pair once,
    with the scores of its whole texts.

    Attributes:
        score_chosen_B: rewards of the answers believed better.
        score_rejected_B: rewards of the others.
        target_B: P(chosen is better), in [0.5, 1].
        margin_B: the required gap, signed.
        columns: the term's own numbers of each pair, by name.
        vectors: for terms that need ``views``.
        tokens: for terms that need ``tokens``.
        module: the term's own module, for terms that have one.
    """

    score_chosen_B: Tensor
    score_rejected_B: Tensor
    target_B: Tensor
    margin_B: Tensor
    columns: Mapping[str, Tensor]
    vectors: Vectors | None = None
    tokens: Tokens | None = None
    module: nn.Module | None = None

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
        model: the model that training starts from.
        memory: states of its frozen layers for these texts, where they are remembered.
    """

    encoded: Sequence[EncodedPair]
    pairs: Sequence[Pair]
    swapped_N: NDArray[np.bool_]
    work: Path
    model: ModelConfig | None = None
    memory: StateMemory | None = None

    def oriented(self) -> Iterator[list[Pair]]:
        """Give the texts of all pairs, turned, 512 pairs at a time."""
        for start in range(0, len(self.pairs), CHUNK_PAIRS):
            chunk = self.pairs[start : start + CHUNK_PAIRS]
            swapped = self.swapped_N[start : start + CHUNK_PAIRS]
            yield [pair.swapped() if s else pair for pair, s in zip(chunk, swapped, strict=True)]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the module of a term is made from.

    Attributes:
        model: the model that training starts from.
        hidden_size: dimensions of the vector that the output layer reads.
        seed: of whatever is drawn.
    """

    model: ModelConfig
    hidden_size: int
    seed: int
