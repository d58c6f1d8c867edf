"""Features of a frozen trunk: one vector a text, computed once and kept on disk.

Shapes: M sequences, U distinct ones of a chunk, S of a batch, T tokens, L depths, D hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.load import load_trunk, to_accelerator
from tamis.models.rows.padded import length_batches, pad_right
from tamis.models.source import locate
from tamis.runs import fingerprint, progress, write_array
from tamis.runs.memory import release_freed_memory
from tamis.runs.scratch import Ragged, distinct

Ints = NDArray[np.int64]

CHUNK = 512
NUM_DEPTHS = 3
BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Features of at most 512 distinct texts, and where they stand.

    ``features_ULD`` has one text a row. The sequences ``rows`` of the input are these texts:
    ``rows[i]`` is text ``which[i]``.
    """

    features_ULD: NDArray[np.float32]
    rows: Ints
    which: Ints


def pooled_features(
    config: ModelConfig,
    sequences: Ragged,
    *,
    cache: Path,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[TextFeatures]:
    """Give mean-pooled hidden states at three depths of the trunk, a chunk of texts at a time.

    A depth is the mean, over the attended tokens, of the hidden states after a third, two thirds
    and all of the layers: lower layers keep the surface of a text, the last its meaning, and heads
    on all three find more wrong labels than heads on the last alone.

    Each distinct sequence is computed once. Every 512 of them, in order of length, make a chunk
    that is written atomically to ``cache`` under a hash of the model and of its ids: a run that was
    killed goes on after its last complete chunk, with the same result bit for bit, and another
    model or other texts never meet an old chunk. Memory holds one chunk, and some hundred bytes a
    sequence.

    Raises:
        ConfigError: the model cannot be loaded, the cache cannot be written, a sequence is empty.
    """
    if not len(sequences) or (sequences.length_M == 0).any():
        raise ConfigError("features need at least one sequence, and no empty one")
    found = distinct(sequences, shortest_first=True)
    starts = range(0, len(found.first_U), CHUNK)
    model_key = _model_key(config)
    paths = [
        cache / f"features-{_chunk_key(chunk, model_key, batch_tokens)}.npy"
        for chunk in (_texts(sequences, found.first_U[start : start + CHUNK]) for start in starts)
    ]
    trunk = None if all(path.is_file() for path in paths) else load_trunk(config)
    if trunk is not None:
        to_accelerator(trunk)
    by_text_M = np.argsort(found.which_M, kind="stable")
    ends = np.searchsorted(found.which_M[by_text_M], [start + CHUNK for start in starts])
    with progress("reading texts", total=len(found.first_U)) as advance:
        for path, start, rows in zip(paths, starts, np.split(by_text_M, ends[:-1]), strict=True):
            if not path.is_file() and trunk is not None:
                chunk = _texts(sequences, found.first_U[start : start + CHUNK])
                write_array(path, _chunk_features(trunk, chunk, batch_tokens=batch_tokens))
                release_freed_memory()
            features_ULD = np.load(path)
            yield TextFeatures(features_ULD, rows, found.which_M[rows] - start)
            advance(len(features_ULD))


def _texts(sequences: Ragged, rows: Ints) -> list[tuple[int, ...]]:
    return [tuple(sequences[row].tolist()) for row in rows]


def mean_pool(hidden_STD: Tensor, mask_ST: Tensor) -> Tensor:
    """Return the mean of the hidden states over the attended tokens, float32 of shape [S, D].

    >>> mean_pool(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]])).tolist()
    [[2.0]]
    """
    weight_ST1 = mask_ST.unsqueeze(-1).float()
    return (hidden_STD.float() * weight_ST1).sum(1) / weight_ST1.sum(1)


def _chunk_features(
    trunk: PreTrainedModel, chunk: Sequence[tuple[int, ...]], *, batch_tokens: int
) -> NDArray[np.float32]:
    features = []
    order: list[int] = []
    with torch.inference_mode():
        for batch in length_batches([len(ids) for ids in chunk], batch_tokens=batch_tokens):
            # the mask says which tokens count, so any id will do as padding
            input_ids_ST, mask_ST = pad_right([chunk[i] for i in batch], pad_id=0)
            mask_ST = mask_ST.to(trunk.device)
            states = trunk(
                input_ids=input_ids_ST.to(trunk.device),
                attention_mask=mask_ST,
                output_hidden_states=True,
            ).hidden_states
            pooled = [mean_pool(states[depth], mask_ST) for depth in depths(len(states) - 1)]
            features.append(torch.stack(pooled, dim=1).cpu().numpy())
            order += batch
    features_ULD = np.concatenate(features)
    return features_ULD[np.argsort(order)]


def depths(num_layers: int) -> list[int]:
    """Return after how many layers the hidden states are read: thirds, without repeats.

    >>> depths(6), depths(30), depths(1)
    ([2, 4, 6], [10, 20, 30], [1])
    """
    thirds = {-(-num_layers * part // NUM_DEPTHS) for part in range(1, NUM_DEPTHS + 1)}
    return sorted(thirds)


def _model_key(config: ModelConfig) -> str:
    location = Path(locate(config.path))
    weights = fingerprint(location) if location.is_dir() else config.path
    return f"{weights} {config.num_layers} {config.dtype} {config.revision} {NUM_DEPTHS} depths"


def _chunk_key(chunk: Sequence[tuple[int, ...]], model_key: str, batch_tokens: int) -> str:
    digest = hashlib.sha256(f"{model_key} {batch_tokens}".encode())
    for ids in chunk:
        digest.update(np.asarray(ids, np.int64).tobytes() + b"|")
    return digest.hexdigest()[:24]
