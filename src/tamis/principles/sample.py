"""Which principles a policy is rewarded by: drawn for each rollout, and fixed ones behind them.

As in SALMON (arXiv 2310.05910): without replacement, by weights that depend on the type of the
prompt, k = 3 of them; fixed prohibitions are appended when a policy exploits the reward model,
without training it again.

Shapes: P principles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.errors import ConfigError
from tamis.principles.principle import Principle, Stance, take_stance

NUM_SAMPLED = 3
# shipped principles that answer the exploits published for SALMON
INTERVENTIONS = ("no_self_praise", "direct", "no_extra_examples")


def sampling_weights(
    principles: Sequence[Principle], *, prompt_type: str | None = None
) -> NDArray[np.float64]:
    """Return the weight of each principle for prompts of a type: its own plus that of the type.

    >>> numeric = Principle("sound", ("Compute.",), ("Guess.",), 1.0, {"reasoning": 128.0})
    >>> sampling_weights([numeric], prompt_type="reasoning").tolist()
    [129.0]
    """
    own_P = np.array([principle.weight for principle in principles], np.float64)
    if prompt_type is None:
        return own_P
    return own_P + [principle.prompt_types.get(prompt_type, 0.0) for principle in principles]


def sample_principles(
    principles: Sequence[Principle],
    *,
    rng: np.random.Generator,
    num_sampled: int = NUM_SAMPLED,
    prompt_type: str | None = None,
) -> list[Stance]:
    """Draw principles for one rollout, all of them wanted, without replacement.

    One after the other, each with a probability proportional to its weight among those left.
    Weight 0 is never drawn. Each is given in a wording drawn at random.

    Raises:
        ConfigError: fewer than ``num_sampled`` principles have a weight above 0.
    """
    weight_P = sampling_weights(principles, prompt_type=prompt_type)
    num_able = int((weight_P > 0).sum())
    if num_able < num_sampled:
        raise ConfigError(
            f"{num_sampled} principles are to be drawn; {num_able} have a weight above 0"
        )
    share_P = weight_P / weight_P.sum()
    drawn = rng.choice(len(principles), num_sampled, replace=False, p=share_P)
    return [take_stance(principles[place], wording=float(rng.random())) for place in drawn]


def with_interventions(drawn: Sequence[Stance], fixed: Sequence[Stance]) -> list[Stance]:
    """Return the drawn principles with fixed ones behind them.

    A drawn principle that is fixed as well stands there once, in the fixed wording.

    >>> brief, modest = Stance("brief", "Be brief."), Stance("modest", "Be modest.")
    >>> [s.name for s in with_interventions([modest, brief], [modest])]
    ['brief', 'modest']
    """
    texts = {stance.text for stance in fixed}
    names = {stance.name for stance in fixed if stance.name != "free"}
    kept = [s for s in drawn if s.name not in names and s.text not in texts]
    return [*kept, *fixed]
