"""From the names in a configuration to a policy's objective: the base loss and its terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from tamis import plugins
from tamis.errors import ConfigError, shorten
from tamis.losses.settings import ranks, with_settings
from tamis.policy.align.config import AlignConfig
from tamis.policy.align.objective import PolicyObjective, PolicyTerm, policy_objective
from tamis.policy.align.view import Brought, PolicyNeed, Trained
from tamis.terms.view import Beginning, KnownPairs, TermSettings
from tamis.train.config import TermValue

BRADLEY_TERRY = "bradley_terry"


@dataclass(frozen=True, slots=True)
class Assembled:
    """An objective, and what has to be known or made before it can be minimised.

    Attributes:
        objective: of what the policy computed of a batch.
        is_plain: nothing is asked for but Bradley-Terry on implied rewards, which is DPO.
        columns: of each term, the function that makes its columns.
        brings: of each term that brings texts, the function that makes them.
        reads: files and models that terms read, by term and setting (``pcrm.encoder``).
        needs: what terms ask for of their texts, by term.
        modules: of each term that has one, the function that makes the part that is trained.
        measures: of each term that has one, the function that adds to the report.
    """

    objective: PolicyObjective
    is_plain: bool
    columns: Mapping[str, Callable[[KnownPairs, int], Mapping[str, NDArray[np.float32]]]]
    brings: Mapping[str, Callable[[KnownPairs, int], Brought]]
    reads: Mapping[str, str]
    needs: Mapping[str, frozenset[PolicyNeed]]
    modules: Mapping[str, Callable[[Beginning], nn.Module]]
    measures: Mapping[str, Callable[[Trained, int], dict[str, Any]]]


def assemble(config: AlignConfig) -> Assembled:
    """Find the base loss and the terms that are named, and put them together.

    A term whose coefficient is 0 is checked and left out, so that with every extra switched off a
    run is plain DPO, to the bit.

    Raises:
        ConfigError: there is no such loss, term or setting, the loss ranks, or a term reads what a
            policy does not have.
    """
    loss = plugins.load("loss", config.loss)
    phi = with_settings(loss, config.loss_settings, name=config.loss)
    if ranks(phi):
        raise ConfigError(
            f"loss {config.loss} ranks all answers to a prompt, and a policy is trained on pairs; "
            f"choose {BRADLEY_TERRY}"
        )
    named = [_Found.of(name, content) for name, content in config.terms.items()]
    found = [term for term in named if term.settings.coefficient != 0]
    terms = [
        PolicyTerm(
            term.name,
            term.settings.coefficient,
            partial(plugins.load(term.kind, term.name), settings=term.settings),
            has_module=term.offered("module") is not None,
            is_judged=term.offered("JUDGED") is not False,
        )
        for term in found
    ]
    objective = policy_objective(
        phi, beta=config.beta, coefficient=config.base_coefficient, terms=terms
    )
    is_plain = config.loss == BRADLEY_TERRY and config.base_coefficient == 1 and not terms
    return Assembled(
        objective,
        is_plain=is_plain,
        columns={t.name: t.seeded("columns") for t in found if t.offered("columns")},
        brings={t.name: t.seeded("brings") for t in found if t.offered("brings")},
        reads={f"{t.name}.{key}": path for t in found for key, path in t.reads().items()},
        needs={t.name: t.needs() for t in found},
        modules={t.name: t.plain("module") for t in found if t.offered("module")},
        measures={t.name: t.seeded("measure") for t in found if t.offered("measure")},
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A term's module, by its family and name, and its settings."""

    kind: plugins.Kind
    name: str
    settings: TermSettings

    @classmethod
    def of(cls, name: str, content: Mapping[str, TermValue]) -> _Found:
        kind = _kind_of(name)
        found = cls(kind, name, _settings(kind, name, content))
        wanted = found.offered("needs")
        strange = (set(wanted(found.settings)) if wanted else set()) - set(get_args(PolicyNeed))
        if strange:
            raise ConfigError(
                f"terms.{name} reads {min(strange)} of a reward model, which a policy does not "
                f"have; expected one of {', '.join(plugins.available('policy_term'))}, or a term "
                "that reads scores alone"
            )
        return found

    def offered(self, attribute: str) -> Any:
        return plugins.offered(self.kind, self.name, attribute)

    def plain(self, attribute: str) -> Callable[..., Any]:
        return partial(self.offered(attribute), settings=self.settings)

    def seeded(self, attribute: str) -> Callable[[Any, int], Any]:
        function = self.plain(attribute)
        return lambda known, seed: function(known, seed=seed)

    def reads(self) -> dict[str, str]:
        reads = self.offered("reads")
        return {} if reads is None else dict(reads(self.settings))

    def needs(self) -> frozenset[PolicyNeed]:
        needs = self.offered("needs")
        return frozenset() if needs is None else frozenset(needs(self.settings))


def _kind_of(name: str) -> plugins.Kind:
    """Return the family in which a term is found; a policy's own come first."""
    own = plugins.available("policy_term")
    if "." in name or name in own:
        return "policy_term"
    if name in plugins.available("term"):
        return "term"
    raise ConfigError(
        f"unknown term {name!r}; expected one of {', '.join(own)}, a term of tamis.terms that "
        "reads scores alone, or a dotted path of a module"
    )


def _settings(kind: plugins.Kind, name: str, content: Mapping[str, TermValue]) -> TermSettings:
    model = plugins.offered(kind, name, "Settings")
    if not (isinstance(model, type) and issubclass(model, TermSettings)):
        raise ConfigError(f"term {name!r} lacks a class Settings made from TermSettings")
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(("terms", name, *map(str, problem["loc"])))
        if problem["type"] == "extra_forbidden":
            raise ConfigError(
                f"unknown key {where!r}; expected one of {', '.join(model.model_fields)}"
            ) from error
        if problem["type"] == "value_error":
            raise ConfigError(f"{where}: {problem['ctx']['error']}") from error
        raise ConfigError(
            f"key {where!r} is {shorten(problem['input'])}: {problem['msg']}"
        ) from error
