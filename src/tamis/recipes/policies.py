"""The denoising policy that a recipe names, and the settings that it reads."""

from __future__ import annotations

from collections.abc import Callable

from tamis import plugins
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import SUSPECTS, Decision
from tamis.errors import ConfigError

ANY = frozenset({"policy", "outside", "trusted"})


def policy_of(config: DenoiseConfig) -> Callable[..., Decision]:
    """Return the policy.

    A module says by ``READS`` which settings it reads beside those that go for every policy; one
    that says nothing is taken to read all. Where ``outside`` is drop, the settings that say which
    pairs are suspected are read for every policy.

    Raises:
        ConfigError: there is no such policy, or it does not read a setting that is not as it comes.
    """
    decide = plugins.load("denoise", config.policy)
    reads = _reads(config.policy)
    if reads is None:
        return decide
    reads |= ANY | (SUSPECTS if config.outside == "drop" else frozenset())
    for name, field in type(config).model_fields.items():
        if name not in reads and getattr(config, name) != field.default:
            raise ConfigError(
                f"denoise.{name} is {getattr(config, name)}, which policy {config.policy} does "
                f"not read; leave it out, or choose one of {', '.join(_readers(name))}"
            )
    return decide


def _readers(name: str) -> list[str]:
    return [one for one in plugins.available("denoise") if name in (_reads(one) or ())]


def _reads(policy: str) -> frozenset[str] | None:
    reads: frozenset[str] | None = plugins.offered("denoise", policy, "READS")
    return reads
