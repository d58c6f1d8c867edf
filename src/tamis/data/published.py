"""Rows as data sets on the hub have them, so that a recipe can be checked where there is no hub.

The texts are made up; columns and their kinds are those of the data sets' cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamis.data.config import DataConfig
from tamis.data.recognise import load_convention, recognise, rename_columns
from tamis.errors import DataError
from tamis.types import Dropped, Pair

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "Anthropic/hh-rlhf": {
        "chosen": "\n\nHuman: Is it late?\n\nAssistant: It is nine.",
        "rejected": "\n\nHuman: Is it late?\n\nAssistant: Perhaps.",
    },
    "llm-blender/Unified-Feedback": {
        "id": "0",
        "conv_A": [
            {"role": "user", "content": "Is it late?"},
            {"role": "assistant", "content": "It is nine."},
        ],
        "conv_B": [
            {"role": "user", "content": "Is it late?"},
            {"role": "assistant", "content": "Perhaps."},
        ],
        "conv_A_rating": 4.0,
        "conv_B_rating": 2.0,
        "source": "made-up",
    },
}


def as_published(config: DataConfig) -> str | None:
    """Return how a data set of the hub would be read, by its published columns, in words.

    ``None`` where these are not known.

    Raises:
        DataError: no convention has such columns, or a row like them gives no pair.
        ConfigError: there is no convention of that name.
    """
    row = PUBLISHED.get(config.path)
    if row is None:
        return None
    ((_, renamed),) = rename_columns([(0, dict(row))], config.columns)
    convention = (
        recognise([renamed], config.path)
        if config.convention is None
        else load_convention(config.convention)
    )
    made = list(convention.pairs(iter([(0, renamed)]), config.path))
    if not any(isinstance(item, Pair) for item in made):
        reasons = ", ".join(item.kind for item in made if isinstance(item, Dropped)) or "nothing"
        raise DataError(
            f"{config.path}: a row with its published columns ({', '.join(row)}) gives no pair by "
            f"convention {convention.name}: {reasons}"
        )
    return f"convention {convention.name}, by its published columns {', '.join(row)}"
