"""How the launcher, such as `accelerate launch`, said that weights are spread over processes."""

from __future__ import annotations

import os

FSDP, DEEPSPEED, VERSION = "ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "FSDP_VERSION"


def spreads_weights() -> bool:
    """Tell whether the launcher spreads them, so that a model need not fit on one device."""
    return _is_on(FSDP) or _is_on(DEEPSPEED)


def hides_weights() -> bool:
    """Tell whether it spreads them so that they can be read in the forward pass of a model alone.

    With FSDP2 they are read after it as well (see `tamis.train.shard.KeepsGathered`).
    """
    return spreads_weights() and not (_is_on(FSDP) and os.environ.get(VERSION) == "2")


def _is_on(name: str) -> bool:
    return os.environ.get(name, "").lower() == "true"
