"""From the names in a recipe to an objective: the base loss, its settings, and its terms.

Shapes: N pairs of the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from pydantic import ValidationError
from torch import nn

from tamis import plugins
from tamis.errors import ConfigError, shorten
from tamis.losses.settings import ranks, with_settings
from tamis.terms.view import Beginning, Columns, KnownPairs, Need, TermSettings
from tamis.train.config import TermValue, TrainConfig
from tamis.train.dataset import TrainingSet
from tamis.train.objective import Objective, WeightedTerm, base_objective
from tamis.train.rankings import check_rankable
from tamis.train.reading import Read, read_last, read_tokens
from tamis.train.tokens import with_tokens
from tamis.train.views import read_views

SETTINGS, WHERE = "train.objective.loss_settings", "train.objective.terms"


@dataclass(frozen=True, slots=True)
class Assembled:
    """An objective, and what has to be known of the pairs before it can be minimised.

    Attributes:
        loss: the name of the base loss.
        objective: of a model and a batch.
        ranks: the base loss looks at all pairs that a text wins in a batch.
        columns: of each term that there is, the function that makes its columns.
        reads: the models whose files make columns, by term and setting (`pcrm.encoder`).
        needs: what terms ask for beside scores, and the first term that asks for it.
        modules: of each term that has one, the function that makes the part that is trained.
    """

    loss: str
    objective: Objective
    ranks: bool
    columns: Mapping[str, Callable[[KnownPairs, int], Columns]]
    reads: Mapping[str, str]
    needs: Mapping[Need, str]
    modules: Mapping[str, Callable[[Beginning], nn.Module]]

    def check(self, data: TrainingSet) -> None:
        """Check that the verdicts are such as the base loss can read.

        Raises:
            ConfigError: it ranks, and a target or a weight is neither 0 nor 1.
        """
        if self.ranks:
            check_rankable(data, loss=self.loss)

    def known(self, pairs: KnownPairs, *, seed: int) -> dict[str, Columns]:
        """Return the columns of each term, for all pairs.

        Raises:
            ConfigError: a term cannot make them, or they are not one finite number a pair.
        """
        made = {name: columns(pairs, seed) for name, columns in self.columns.items()}
        for term, columns in made.items():
            for name, value_N in columns.items():
                if np.shape(value_N) != (len(pairs.encoded),) or not np.isfinite(value_N).all():
                    raise ConfigError(
                        f"{WHERE}.{term}: its column {name!r} is not one finite number for each "
                        f"of {len(pairs.encoded)} pairs"
                    )
        return {
            term: {name: np.asarray(value_N, np.float32) for name, value_N in columns.items()}
            for term, columns in made.items()
        }


def assemble(train: TrainConfig) -> Assembled:
    """Find the base loss and the terms that a recipe names, and put them together.

    A term whose coefficient is 0 is checked and left out, so that training is plain, to the bit.

    Raises:
        ConfigError: there is no such loss, term or setting, they contradict each other, or every
            coefficient is 0.
    """
    chosen = train.objective
    loss = plugins.load("loss", train.loss)
    with _at(SETTINGS):
        phi = with_settings(loss, chosen.loss_settings, name=train.loss)
    _check_ranking(train, is_ranking=ranks(phi))
    terms: list[WeightedTerm] = []
    columns: dict[str, Callable[[KnownPairs, int], Columns]] = {}
    reads: dict[str, str] = {}
    needs: dict[Need, str] = {}
    modules: dict[str, Callable[[Beginning], nn.Module]] = {}
    for name, content in chosen.terms.items():
        with _at(WHERE):
            term = plugins.load("term", name)
        settings = _settings(name, content)
        own_needs = _needs(name, settings)
        if settings.coefficient == 0:
            continue
        columns[name] = _maker(name, settings)
        with _at(f"{WHERE}.{name}"):
            own_reads = _models_read(name, settings)
        reads |= {f"{name}.{key}": path for key, path in own_reads.items()}
        needs = dict.fromkeys(own_needs, name) | needs
        modules |= _module_makers(name, settings)
        loss_of = partial(term, settings=settings)
        terms.append(WeightedTerm(name, settings.coefficient, loss_of, own_needs, name in modules))
    _check_effect(train, terms)
    _check_needs(train, needs)
    objective = base_objective(
        phi, coefficient=chosen.base_coefficient, terms=terms, read=_read(train, needs)
    )
    return Assembled(
        train.loss,
        objective,
        ranks(phi),
        columns=columns,
        reads=reads,
        needs=needs,
        modules=modules,
    )


@contextmanager
def _at(key: str) -> Iterator[None]:
    """Say in an error which key of a recipe it is about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error


def _check_ranking(train: TrainConfig, *, is_ranking: bool) -> None:
    if is_ranking and train.sampler != "group":
        raise ConfigError(
            f"loss {train.loss} ranks the answers to a prompt that are in one batch, and sampler "
            f"is {train.sampler}, which scatters them; choose sampler group"
        )
    if is_ranking and train.objective.form == "token":
        raise ConfigError(
            f"loss {train.loss} ranks whole answers, and form is token; choose form sequence"
        )


def _settings(name: str, content: Mapping[str, TermValue]) -> TermSettings:
    kind = settings_kind(name)
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join((WHERE, name, *map(str, problem["loc"])))
        if problem["type"] == "extra_forbidden":
            raise ConfigError(
                f"unknown key {where!r}; expected one of {', '.join(kind.model_fields)}"
            ) from error
        if problem["type"] == "value_error":  # of a rule of the term's, which says what it expects
            raise ConfigError(f"{where}: {problem['ctx']['error']}") from error
        raise ConfigError(
            f"key {where!r} is {shorten(problem['input'])}: {problem['msg']}"
        ) from error


def term_needs(name: str, content: Mapping[str, TermValue]) -> frozenset[Need]:
    """Return what a term of a recipe reads beside scores.

    Raises:
        ConfigError: there is no such term or setting.
    """
    return _needs(name, _settings(name, content))


def settings_kind(name: str) -> type[TermSettings]:
    """Return the class of a term's settings.

    Raises:
        ConfigError: there is no such term, or it has no such class.
    """
    with _at(WHERE):
        plugins.load("term", name)
    kind = plugins.offered("term", name, "Settings")
    if not (isinstance(kind, type) and issubclass(kind, TermSettings)):
        raise ConfigError(f"term {name!r} lacks a class Settings made from TermSettings")
    return kind


def _maker(name: str, settings: TermSettings) -> Callable[[KnownPairs, int], Columns]:
    make = plugins.offered("term", name, "columns")
    if make is None:
        return lambda _pairs, _seed: {}
    return lambda pairs, seed: dict(make(pairs, settings=settings, seed=seed))


def _models_read(name: str, settings: TermSettings) -> dict[str, str]:
    reads = plugins.offered("term", name, "reads")
    return {} if reads is None else dict(reads(settings))


def _needs(name: str, settings: TermSettings) -> frozenset[Need]:
    ask = plugins.offered("term", name, "needs")
    asked = frozenset() if ask is None else frozenset(ask(settings))
    for need in asked - set(get_args(Need)):
        raise ConfigError(
            f"term {name!r} needs {need!r}; expected one of {', '.join(get_args(Need))}"
        )
    return asked


def _module_makers(
    name: str, settings: TermSettings
) -> dict[str, Callable[[Beginning], nn.Module]]:
    make = plugins.offered("term", name, "module")
    return {} if make is None else {name: lambda beginning: make(beginning, settings=settings)}


def _check_effect(train: TrainConfig, terms: Sequence[WeightedTerm]) -> None:
    """Check that there is something to minimise, and that each term can change what is trained.

    Of users' own terms that read more than scores it is not known what they act on.

    Raises:
        ConfigError: a term, or the whole objective, would change no weight.
    """
    if train.objective.base_coefficient == 0 and not terms:
        raise ConfigError(
            "train.objective: base_coefficient is 0, and so is that of every term, so nothing is "
            "minimised; choose one above 0"
        )
    for term in terms:
        if train.lora.part == "head" and term.needs and "." not in term.name:
            raise ConfigError(
                f"{WHERE}.{term.name} acts on the trunk alone, and lora.part is head, which "
                "freezes it; leave the term out, or choose part all"
            )


def _check_needs(train: TrainConfig, needs: Mapping[Need, str]) -> None:
    """Check what the settings say of terms that read more than scores.

    Raises:
        ConfigError: they do not go together.
    """
    views = train.objective.views
    if "views" not in needs:
        return
    where = f"{WHERE}.{needs['views']} compares two views of a text"
    if train.objective.form == "token":
        raise ConfigError(f"{where}, and form is token; choose form sequence")
    if views.where == "inside" and "tokens" in needs:
        raise ConfigError(
            f"{where}, made inside the model, and {WHERE}.{needs['tokens']} reads tokens, which "
            "takes one pass; choose views.where read"
        )
    if views.where == "inside" and train.compute.gradient_checkpointing:
        raise ConfigError(
            f"{where}, made inside the model, and gradient_checkpointing is on, which would draw "
            "other dropout on the way back; choose views.where read, or switch it off"
        )


def _read(train: TrainConfig, needs: Mapping[Need, str]) -> Read:
    if "views" in needs:
        read = read_views(train.objective.views)
    else:
        read = read_last if train.objective.form == "sequence" else read_tokens
    return with_tokens(read) if "tokens" in needs else read
