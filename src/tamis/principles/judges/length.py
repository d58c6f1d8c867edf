"""A rule for tests and small studies: ``concise`` wants short answers, ``detailed`` long ones.

The score is the difference of the two answers' characters (of their last turns), in both orders.
It knows no other principle, so no example shows another.

Shapes: N pairs, P principles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tamis.errors import ConfigError
from tamis.metrics import length_delta
from tamis.principles.judgement import Judgement, Task
from tamis.principles.principle import Principle
from tamis.types import Pair

SIGNS = {"concise": -1.0, "detailed": 1.0}


def judge(
    pairs: Sequence[Pair],
    principles: Sequence[Principle],
    *,
    task: Task,  # noqa: ARG001
) -> Judgement:
    """Return the difference of lengths, with the sign that the principle asks for.

    Raises:
        ConfigError: neither ``concise`` nor ``detailed`` is among the principles.
    """
    sign_P = np.array([SIGNS.get(principle.name, np.nan) for principle in principles])
    if np.isnan(sign_P).all():
        raise ConfigError(
            f"the judge length knows the principles {' and '.join(SIGNS)}; found "
            f"{', '.join(principle.name for principle in principles)}"
        )
    score_NP = length_delta(pairs)[:, None] * sign_P
    return Judgement(score_NP, score_NP, np.isfinite(score_NP))
