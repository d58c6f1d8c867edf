"""How alike the two answers of a pair are, before any reward model has read them.

Shapes: N pairs, D dimensions of a vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def length_similarity(first_N: NDArray[np.int64], second_N: NDArray[np.int64]) -> Floats:
    """Return the shorter length over the longer one, in [0, 1]; 1 where both are 0.

    >>> length_similarity(np.array([2, 0, 3]), np.array([4, 0, 3])).tolist()
    [0.5, 1.0, 1.0]
    """
    longer_N = np.maximum(first_N, second_N)
    shorter_N = np.minimum(first_N, second_N)
    return np.where(longer_N == 0, 1.0, shorter_N / np.maximum(longer_N, 1))


def angular_similarity(first_ND: NDArray[np.float32], second_ND: NDArray[np.float32]) -> Floats:
    """Return ``(pi - arccos c) / pi`` with the cosine ``c``, clamped to [0, 1]: in [0.5, 1].

    No vector may be zero.

    >>> a, b = np.array([[1.0, 0.0]] * 3), np.array([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> angular_similarity(a, b).tolist()
    [1.0, 0.5, 0.5]
    """
    dot_N = np.einsum("nd,nd->n", first_ND, second_ND, dtype=np.float64)
    norm_N = np.linalg.norm(first_ND, axis=1) * np.linalg.norm(second_ND, axis=1)
    cosine_N = np.clip(dot_N / norm_N.astype(np.float64), 0.0, 1.0)
    return np.asarray((np.pi - np.arccos(cosine_N)) / np.pi)
