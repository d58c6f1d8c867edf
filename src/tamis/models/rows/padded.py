"""Padded rows: sequences of similar length side by side.

Shapes: S sequences of a batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def length_batches(lengths: Sequence[int], *, batch_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of batches of similar length, longest first, each within ``batch_tokens``.

    A sequence that is longer than ``batch_tokens`` makes a batch of its own.

    >>> list(length_batches([2, 9, 3, 3], batch_tokens=9))
    [[1], [2, 3, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count


def pad_right(sequences: Sequence[Sequence[int]], *, pad_id: int) -> tuple[Tensor, Tensor]:
    """Return ``input_ids_ST`` and ``attention_mask_ST`` (int64) of sequences padded on the right.

    >>> pad_right([[1, 2], [3]], pad_id=0)[0].tolist()
    [[1, 2], [3, 0]]
    """
    width = max(map(len, sequences))
    input_ids_ST = torch.full((len(sequences), width), pad_id)
    mask_ST = torch.zeros((len(sequences), width), dtype=torch.int64)
    for row, ids in enumerate(sequences):
        input_ids_ST[row, : len(ids)] = torch.tensor(ids)
        mask_ST[row, : len(ids)] = 1
    return input_ids_ST, mask_ST
