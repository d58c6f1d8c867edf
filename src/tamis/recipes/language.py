"""Training that begins at a reward model, whose terms read the head of a language model."""

from __future__ import annotations

from tamis.models.config import ModelConfig
from tamis.models.source import at_revision
from tamis.terms.view import TermSettings
from tamis.train.assemble import settings_kind
from tamis.train.config import TermValue, TrainConfig

SETTING = "language_model"


def naming_language_model(train: TrainConfig, base: ModelConfig) -> TrainConfig:
    """Name the model that a reward model was made from to the terms that read its head.

    A reward model keeps no language model head unless it is its embeddings. It is named with its
    revision, where it has one; what a recipe names itself stays.

    Raises:
        ConfigError: there is no such term.
    """
    named = at_revision(base.path, base.revision)
    terms: dict[str, dict[str, TermValue]] = {
        name: {SETTING: named, **content} if _reads_head(settings_kind(name)) else content
        for name, content in train.objective.terms.items()
    }
    objective = train.objective.model_copy(update={"terms": terms})
    return train.model_copy(update={"objective": objective})


def _reads_head(kind: type[TermSettings]) -> bool:
    return SETTING in kind.model_fields
