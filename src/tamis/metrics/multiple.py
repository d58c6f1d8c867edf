"""Many comparisons at once: p-values from intervals, and Holm's correction.

Shapes: C comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from tamis.types import Interval

Z95 = 1.959963984540054


def p_value(difference: Interval) -> float:
    """Return the two-sided p-value of "no difference", from an estimate and its 95% interval.

    The interval is taken for that of a normal estimate: its width gives the standard error. A
    bootstrap of some thousand resamples cannot itself resolve the small values that a correction
    for hundreds of comparisons asks about. An interval without width says 1 where the estimate is
    0, and 0 elsewhere.

    >>> round(p_value(Interval(0.01, -0.01, 0.03)), 3), p_value(Interval(0.0, 0.0, 0.0))
    (0.327, 1.0)
    """
    error = (difference.high - difference.low) / (2 * Z95)
    if error <= 0.0:
        return 1.0 if difference.value == 0.0 else 0.0
    return float(2 * norm.sf(abs(difference.value) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that one of C true "no differences" falls below a by chance a.

    The k-th smallest is multiplied by C + 1 - k and is never below the one before it.

    Reference: Holm, "A simple sequentially rejective multiple test procedure" (Scandinavian Journal
    of Statistics 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p_C = np.asarray(p_values, dtype=np.float64)
    order_C = np.argsort(p_C, kind="stable")
    factor_C = np.arange(len(p_C), 0, -1)
    rising_C = np.maximum.accumulate(np.minimum(1.0, p_C[order_C] * factor_C))
    adjusted_C = np.empty_like(rising_C)
    adjusted_C[order_C] = rising_C
    return [float(value) for value in adjusted_C]
