"""Feature differences of pairs under a frozen trunk: what linear heads vote on.

Shape legend: N pairs, L depths of the trunk, D hidden dimensions of one depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.models.config import ModelConfig
from tamis.models.encoded import store_pairs
from tamis.models.features import pooled_features
from tamis.models.tokenise import load_tokenizer
from tamis.runs.scratch import scratch_array
from tamis.types import Pair

ROWS = 1024  # of a matrix on disk that are in memory at once

Features = NDArray[np.float32]


def frozen_differences(pairs: Sequence[Pair], *, model: ModelConfig, cache: Path) -> Features:
    """Return feature(chosen) - feature(rejected) of each pair, [N, L, D], in a scratch file.

    The features are mean-pooled hidden states at several depths of the trunk; they are computed
    once a text and kept in ``cache``, where the scratch file is too.

    Raises:
        DataError: no pairs.
    """
    if not pairs:
        raise DataError("there are no pairs to vote on")
    tokenizer = load_tokenizer(model)
    max_length = int(tokenizer.model_max_length)
    stored = store_pairs(tokenizer, pairs, max_length=max_length, folder=cache)
    diff_NLD: Features | None = None
    for texts in pooled_features(model, stored.sequences, cache=cache):
        if diff_NLD is None:
            shape = (len(pairs), *texts.features_ULD.shape[1:])
            diff_NLD = scratch_array(shape, dtype=np.float32, folder=cache)
        for some in _slices(len(texts.rows)):
            numbers, sides = np.divmod(texts.rows[some], 2)  # chosen and rejected take turns
            signed = texts.features_ULD[texts.which[some]]
            signed[sides == 1] *= -1
            for side in (0, 1):  # a pair is there once a side, so that no addition gets lost
                diff_NLD[numbers[sides == side]] += signed[sides == side]
    assert diff_NLD is not None  # there are pairs, so there are texts
    return diff_NLD


def depth_scales(diff_NLD: Features) -> NDArray[np.float64]:
    """Return the root mean square of the differences at each depth, [L]; 1 where it is 0.

    Divided by it, lower layers, which see the surface of a text, count as much as the last, and
    one learning rate fits all models.

    Raises:
        DataError: a feature is not finite, or no pair differs for the model.

    >>> depth_scales(np.array([[[3.0, 4.0]], [[-3.0, -4.0]]])).tolist() == [12.5**0.5]
    True
    """
    total_L = np.zeros(diff_NLD.shape[1])
    for some in _slices(len(diff_NLD)):
        sum_NL = np.square(diff_NLD[some], dtype=np.float64).sum(axis=2)
        total_L = np.concatenate([total_L[None], sum_NL]).sum(axis=0)
    scale_L = np.sqrt(total_L / (len(diff_NLD) * diff_NLD.shape[2]))
    if not np.isfinite(scale_L).all() or not scale_L.any():
        raise DataError("the model's features are not finite, or are the same for both answers")
    return np.where(scale_L == 0.0, 1.0, scale_L)


def flatten(
    diff_NLD: Features, *, scale_L: NDArray[np.float64], folder: Path | None = None
) -> Features:
    """Return the differences scaled by depth, as one row a pair [N, L * D].

    With a folder, the result is in a scratch file there.
    """
    num_pairs, num_depths, width = diff_NLD.shape
    flat_ND = scratch_array((num_pairs, num_depths * width), dtype=np.float32, folder=folder)
    for some in _slices(num_pairs):
        flat_ND[some] = (diff_NLD[some] / scale_L[:, None]).reshape(-1, num_depths * width)
    return flat_ND


def _slices(num_rows: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, num_rows, ROWS))
