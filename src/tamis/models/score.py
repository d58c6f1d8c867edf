"""The one path from token ids to scores.

Shapes: N sequences or pairs of a data set, S sequences of a batch, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tamis.errors import ConfigError
from tamis.models.rows.choose import row_plan
from tamis.models.rows.inputs import model_inputs
from tamis.models.rows.padded import length_batches
from tamis.models.rows.tree import common_prefix
from tamis.models.tokenise import cut_answers, encode_pairs, pad_id_of
from tamis.runs import progress
from tamis.types import Pair

BATCH_TOKENS = 4096
CHUNK_PAIRS = 1024


@dataclass(frozen=True, slots=True)
class PairScores:
    """The rewards of both sides of N pairs, float32.

    ``num_over_length`` pairs had answers longer than the model reads: these sides lost their first
    tokens, because a benchmark item has to get a score.
    """

    chosen_N: NDArray[np.float32]
    rejected_N: NDArray[np.float32]
    num_over_length: int = 0


def score_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    *,
    max_length: int,
    batch_tokens: int = BATCH_TOKENS,
) -> PairScores:
    """Score both sides of each pair; each distinct sequence is computed once.

    Pairs are tokenised and scored a thousand at a time: beside their scores, memory holds some
    hundred bytes a pair, which tell texts that were scored already.

    Raises:
        DataError: the chat template refuses a conversation.
        ConfigError: the model's padding id is not the tokenizer's.
    """
    score = _SequenceScorer(model, pad_id=pad_id_of(tokenizer), batch_tokens=batch_tokens)
    scores_N2 = np.empty((len(pairs), 2), np.float32)
    num_over_length = 0
    with progress("scoring", total=len(pairs)) as advance:
        for start in range(0, len(pairs), CHUNK_PAIRS):
            chunk = pairs[start : start + CHUNK_PAIRS]
            sequences, num_over = pair_sequences(tokenizer, chunk, max_length=max_length)
            num_over_length += num_over
            scores_N2[start : start + len(chunk)] = score(sequences).reshape(-1, 2)
            advance(len(chunk))
    return PairScores(scores_N2[:, 0], scores_N2[:, 1], num_over_length)


def score_sequences(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    pad_id: int,
    batch_tokens: int = BATCH_TOKENS,
) -> NDArray[np.float32]:
    """Return the reward of each sequence of token ids, float32 of shape [N].

    Each distinct sequence is computed once, in batches of at most ``batch_tokens`` tokens, as the
    model was prepared by `choose_rows`: sequences that begin alike share that part, or similar
    lengths are padded on the right. Batch mates change a score by less than 1e-4 in float32. The
    scored token is the last one.

    Raises:
        ConfigError: the model's padding id is not ``pad_id``, or a sequence ends with it: the
            model's head would read another token than the last.
    """
    return _SequenceScorer(model, pad_id=pad_id, batch_tokens=batch_tokens)(sequences)


class _SequenceScorer:
    """Scores sequences and remembers what it scored."""

    def __init__(self, model: PreTrainedModel, *, pad_id: int, batch_tokens: int) -> None:
        self._model, self._pad_id, self._batch_tokens = model, pad_id, batch_tokens
        self._scores: dict[bytes, np.float32] = {}

    def __call__(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the reward of each sequence."""
        _check_read_position(self._model, sequences, pad_id=self._pad_id)
        keys = [ids_key(ids) for ids in sequences]
        new = {
            key: ids for key, ids in zip(keys, sequences, strict=True) if key not in self._scores
        }
        found = _scores(
            self._model, list(new.values()), pad_id=self._pad_id, batch_tokens=self._batch_tokens
        )
        self._scores.update(zip(new, found, strict=True))
        return np.array([self._scores[key] for key in keys], np.float32)


def ids_key(ids: Sequence[int]) -> bytes:
    """Return 16 bytes that stand for a sequence of token ids."""
    return hashlib.blake2b(np.asarray(ids, np.int64).tobytes(), digest_size=16).digest()


def pair_sequences(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], *, max_length: int
) -> tuple[list[Sequence[int]], int]:
    """Return chosen and rejected ids of each pair in turn, and how many pairs were too long.

    Of a pair that is longer than ``max_length``, answers lose their first tokens (`cut_answers`).

    Raises:
        DataError: the chat template refuses a conversation.
    """
    sequences: list[Sequence[int]] = []
    num_over_length = 0
    for pair, encoded in zip(
        pairs, encode_pairs(tokenizer, pairs, max_length=max_length), strict=True
    ):
        fitting = cut_answers(tokenizer, pair, encoded, max_length=max_length)
        num_over_length += fitting is not encoded
        sequences += [fitting.chosen, fitting.rejected]
    return sequences, num_over_length


def tree_batches(sequences: Sequence[Sequence[int]], *, batch_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of batches whose trees have at most ``batch_tokens`` tokens.

    Sequences that begin alike come together. A sequence that is longer makes a batch of its own.

    >>> list(tree_batches([[1, 2, 3], [7, 8], [1, 2, 4]], batch_tokens=4))
    [[0, 2], [1]]
    """
    rows = [tuple(sequence) for sequence in sequences]
    order = sorted(range(len(rows)), key=rows.__getitem__)
    batch: list[int] = []
    num_tokens = 0
    for index in order:
        ids = rows[index]
        new = len(ids) - (common_prefix(rows[batch[-1]], ids) if batch else 0)
        if batch and num_tokens + new > batch_tokens:
            yield batch
            batch, num_tokens, new = [], 0, len(ids)
        batch.append(index)
        num_tokens += new
    if batch:
        yield batch


def _scores(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, pad_id: int, batch_tokens: int
) -> NDArray[np.float32]:
    """Return the scores of distinct sequences."""
    plan = row_plan(model)
    scores_U = np.empty(len(sequences), np.float32)
    if plan.kind == "padded":
        batches = length_batches([len(ids) for ids in sequences], batch_tokens=batch_tokens)
    else:
        batches = tree_batches(sequences, batch_tokens=batch_tokens)
    was_training = model.training
    model.train(False)
    try:
        with torch.inference_mode():
            for batch in batches:
                inputs = model_inputs([sequences[i] for i in batch], plan=plan, pad_id=pad_id)
                moved = {
                    name: value.to(model.device) if isinstance(value, Tensor) else value
                    for name, value in inputs.items()
                }
                scores_U[batch] = model(**moved).logits[:, 0].float().cpu().numpy()
    finally:
        model.train(was_training)
    return scores_U


def _check_read_position(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, pad_id: int
) -> None:
    found = model.config.get_text_config().pad_token_id
    if found != pad_id:
        raise ConfigError(f"the model pads with id {found}, the tokenizer with {pad_id}")
    if any(len(ids) == 0 or ids[-1] == pad_id for ids in sequences):
        raise ConfigError(f"a sequence is empty or ends with the padding id {pad_id}")
