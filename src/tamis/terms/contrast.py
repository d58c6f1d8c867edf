"""What contrastive terms compare: texts, or the differences of pairs, in two views.

Shapes: B pairs of a batch, S its distinct sequences, N samples, D hidden.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tamis.terms.view import Vectors

On = Literal["pairs", "differences"]


def sample_set(vectors: Vectors, *, on: On) -> tuple[Tensor, Tensor]:
    """Return the N samples in both views, [2, N, D], and which two of them each pair has, [B, 2].

    ``pairs``: the vectors of both sides. ``differences``: chosen minus rejected, and its negation.
    A text, or a difference, that several pairs share is there once, so that it is never compared
    with itself as if it were another.

    >>> chosen, rejected = torch.tensor([0, 0]), torch.tensor([1, 2])
    >>> views = torch.tensor([[[5.0], [3.0], [2.0]]]).repeat(2, 1, 1)
    >>> vectors = Vectors(views, chosen, rejected)
    >>> sample_set(vectors, on="pairs")[1].tolist()
    [[0, 1], [0, 2]]
    >>> samples, own = sample_set(vectors, on="differences")
    >>> samples[0, :, 0].tolist(), own.tolist()
    ([2.0, 3.0, -2.0, -3.0], [[0, 2], [1, 3]])
    """
    chosen_B, rejected_B = vectors.chosen_B, vectors.rejected_B
    if on == "pairs":
        return vectors.views_2SD, torch.stack([chosen_B, rejected_B], dim=1)
    size = vectors.views_2SD.shape[1]
    both = torch.cat([chosen_B * size + rejected_B, rejected_B * size + chosen_B])
    code_N, own = torch.unique(both, return_inverse=True)
    first_N, second_N = code_N // size, code_N % size
    samples_2ND = vectors.views_2SD[:, first_N] - vectors.views_2SD[:, second_N]
    return samples_2ND, own.view(2, len(chosen_B)).T


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each row of ``first`` with each of ``second``, never in half precision.

    A cosine is divided by a small temperature, which would magnify the rounding.
    """
    with torch.autocast(device_type=first.device.type, enabled=False):
        return normalize(first, dim=-1) @ normalize(second, dim=-1).mT
