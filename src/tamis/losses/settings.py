"""The settings of a base loss, which a recipe names, and what the loss asks of its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature

import torch
from torch import Tensor

from tamis.errors import ConfigError

WINNER = "winner_B"

AnyLoss = Callable[..., Tensor]


def with_settings(loss: AnyLoss, settings: Mapping[str, float], *, name: str) -> AnyLoss:
    """Return the loss with these of its settings fixed: keyword arguments that have a default.

    Raises:
        ConfigError: the loss has no such setting or refuses its value, or it asks for something
            that nobody gives.

    >>> from tamis.losses.focal import focal
    >>> with_settings(focal, {"gamma": 0.0}, name="focal")(torch.zeros(1)).tolist()
    [0.6931471824645996]
    """
    keywords = [p for p in signature(loss).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    known = [p.name for p in keywords if p.default is not Parameter.empty]
    asked = [p.name for p in keywords if p.name not in (*known, WINNER)]
    if asked:
        raise ConfigError(f"loss {name!r} asks for {asked[0]!r}; expected a default for it")
    for setting in settings:
        if setting not in known:
            hint = f"expected one of {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"loss {name!r} has no setting {setting!r}; {hint}")
    fixed = partial(loss, **settings) if settings else loss
    # a value that the loss refuses is told before anything is loaded
    given = {WINNER: torch.zeros(1, dtype=torch.int64)} if ranks(loss) else {}
    fixed(torch.zeros(1), **given)
    return fixed


def ranks(loss: AnyLoss) -> bool:
    """Tell whether a loss looks at all pairs that a text wins, and not at each pair alone.

    >>> from tamis.losses.plackett_luce import plackett_luce
    >>> ranks(plackett_luce)
    True
    """
    return WINNER in signature(loss).parameters


def for_batch(loss: AnyLoss) -> Callable[[Tensor], AnyLoss]:
    """Return what makes ``gap_B -> loss_B`` of the loss, given the winners of a batch [B].

    >>> from tamis.losses.plackett_luce import plackett_luce
    >>> for_batch(plackett_luce)(torch.tensor([4, 4]))(torch.zeros(2)).sum().exp().item()
    3.0
    """
    if ranks(loss):
        return lambda winner_B: partial(loss, winner_B=winner_B)
    return lambda _: loss
