"""Encoded pairs that lie on disk: what training and head voters read of a data set.

Shapes: N pairs, B of them; the 2N sequences of the pairs, chosen and rejected in turn.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, final, overload

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tamis.models.tokenise import EncodedPair, cut_answers, encode_pairs
from tamis.runs.scratch import Ragged, RaggedWriter
from tamis.types import Pair

CHUNK_PAIRS = 512


@final
class EncodedPairs(Sequence[EncodedPair]):
    """N encoded pairs whose ids are in a scratch file (see `tamis.runs.scratch`).

    ``sequences`` has the ids: row 2i of the chosen side of pair i, row 2i + 1 of the rejected.
    ``num_cut_N`` says how many ids of its prompt each pair lost, to fit.
    """

    def __init__(
        self, sequences: Ragged, *, prefix_N: NDArray[np.int32], num_cut_N: NDArray[np.int32]
    ) -> None:
        self.sequences, self.num_cut_N = sequences, num_cut_N
        self._prefix_N = prefix_N

    def __len__(self) -> int:
        return len(self._prefix_N)

    @overload
    def __getitem__(self, index: int) -> EncodedPair: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedPair]: ...
    def __getitem__(self, index: int | slice) -> EncodedPair | list[EncodedPair]:
        """Return one encoded pair, or a list of them."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return EncodedPair(
            chosen=tuple(self.sequences[2 * number].tolist()),
            rejected=tuple(self.sequences[2 * number + 1].tolist()),
            num_prefix=int(self._prefix_N[number]),
            num_cut=int(self.num_cut_N[number]),
        )

    @property
    def length_N(self) -> NDArray[np.int64]:  # noqa: N802
        """Tokens of each pair, the common prefix counted once."""
        length_N2 = self.sequences.length_M.reshape(-1, 2)
        return np.asarray(length_N2.sum(axis=1) - self._prefix_N)


@final
class EncodedWriter:
    """Writes encoded pairs to a scratch file, one at a time; a context that closes it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._sequences = RaggedWriter(dtype=np.int32, folder=folder)
        self._prefix, self._cut = array("i"), array("i")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sequences.__exit__()

    def add(self, encoded: EncodedPair) -> None:
        """Append a pair.

        Raises:
            ConfigError: the folder is full.
        """
        self._sequences.add(encoded.chosen)
        self._sequences.add(encoded.rejected)
        self._prefix.append(encoded.num_prefix)
        self._cut.append(encoded.num_cut)

    def finish(self) -> EncodedPairs:
        """Return all pairs."""
        prefix_N, num_cut_N = np.array(self._prefix, np.int32), np.array(self._cut, np.int32)
        return EncodedPairs(self._sequences.finish(), prefix_N=prefix_N, num_cut_N=num_cut_N)


def distinct_sides(
    pairs: Sequence[EncodedPair],
) -> tuple[list[tuple[int, ...]], NDArray[np.int64], NDArray[np.int64]]:
    """Return every sequence of B pairs once, shortest first, and which of them the sides are.

    The second and third results say where the chosen and the rejected side of each pair are in
    the first [B].
    """
    distinct = dict.fromkeys(ids for pair in pairs for ids in (pair.chosen, pair.rejected))
    sequences = sorted(distinct, key=len)
    place_of = {ids: place for place, ids in enumerate(sequences)}
    chosen_B = np.array([place_of[pair.chosen] for pair in pairs], np.int64)
    rejected_B = np.array([place_of[pair.rejected] for pair in pairs], np.int64)
    return sequences, chosen_B, rejected_B


def encode_in_chunks(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], *, max_length: int
) -> Iterator[EncodedPair]:
    """Give the pairs encoded, 512 at a time; answers that do not fit lose their first tokens.

    Raises:
        DataError: the chat template refuses a conversation.
    """
    for start in range(0, len(pairs), CHUNK_PAIRS):
        chunk = pairs[start : start + CHUNK_PAIRS]
        encoded = encode_pairs(tokenizer, chunk, max_length=max_length)
        for pair, ids in zip(chunk, encoded, strict=True):
            yield cut_answers(tokenizer, pair, ids, max_length=max_length)


def store_pairs(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    *,
    max_length: int,
    folder: Path | None = None,
) -> EncodedPairs:
    """Encode all pairs into a scratch file in ``folder``; see `encode_in_chunks`.

    Raises:
        DataError: the chat template refuses a conversation.
        ConfigError: the folder cannot be written, or is full.
    """
    with EncodedWriter(folder) as writer:
        for encoded in encode_in_chunks(tokenizer, pairs, max_length=max_length):
            writer.add(encoded)
        return writer.finish()
