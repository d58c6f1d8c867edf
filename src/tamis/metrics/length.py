"""The cheapest rule of all: how much longer the chosen answer is.

Annotators and judges prefer long answers, so a reward model has to be compared with "always the
longer" and, where that is below chance, "always the shorter" (Singhal et al., "A Long Way to Go:
Investigating Length Correlations in RLHF", 2023).

Shapes: N pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tamis.types import Pair


def length_delta(pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
    """Return characters of the chosen answer minus characters of the rejected one, per pair.

    The answer is the last message of the side. As a score gap it plays "always the longer"; its
    negative plays "always the shorter".

    >>> from tamis.types import Message
    >>> pair = Pair("p", (), (Message("assistant", "four"),), (Message("assistant", "seven!!"),))
    >>> length_delta([pair]).tolist()
    [-3.0]
    """
    return np.array(
        [len(p.chosen[-1].content) - len(p.rejected[-1].content) for p in pairs], dtype=np.float64
    )


def log_length_ratio(pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
    """Return log((chosen + 1) / (rejected + 1)) in characters of the last messages, per pair.

    >>> from tamis.types import Message
    >>> pair = Pair("p", (), (Message("assistant", "one"),), (Message("assistant", "x"),))
    >>> log_length_ratio([pair]).round(3).tolist()
    [0.693]
    """
    return np.array(
        [
            np.log(len(p.chosen[-1].content) + 1) - np.log(len(p.rejected[-1].content) + 1)
            for p in pairs
        ],
        dtype=np.float64,
    )
