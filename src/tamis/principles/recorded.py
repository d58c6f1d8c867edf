"""The layout that a reward model was trained with, in its checkpoint's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from tamis.errors import ConfigError
from tamis.models.adapted import NOTES, adapter_notes
from tamis.models.checkpoint import ADAPTER, CONFIG
from tamis.principles.layout import Layout, layout_named, layout_of
from tamis.runs import read_json, write_json
from tamis.types import Pair

KEY = "principles_layout"


def record_layout(checkpoint: Path, pairs: Iterable[Pair]) -> None:
    """Write the layout of the training pairs into a checkpoint, where all of them have the same.

    An adapter beside it gets it as well.

    Pairs without principles have none; nothing is written then, and nothing refused later.

    Raises:
        DataError: the checkpoint has no configuration.
        ConfigError: it cannot be written.
    """
    layouts: set[Layout | None] = set()
    for pair in pairs:
        layouts.add(layout_of(pair))
        if None in layouts or len(layouts) > 1:
            return
    for layout in layouts:
        write_json(checkpoint / CONFIG, {**read_json(checkpoint / CONFIG), KEY: layout})
        adapter = checkpoint / ADAPTER
        if adapter.is_dir():
            write_json(adapter / NOTES, {**adapter_notes(adapter), KEY: layout})


def recorded_layout(config: PretrainedConfig | Mapping[str, Any]) -> Layout | None:
    """Return the layout that a model's configuration records, or ``None`` where it has none.

    >>> recorded_layout({"principles_layout": "answer_first"})
    'answer_first'
    """
    return layout_named(_recorded(config))


def recorded_layout_in(folder: Path) -> Layout | None:
    """Return the layout that the checkpoint or the adapter in a folder records, without loading it.

    Raises:
        ConfigError: the record of an adapter is no JSON object.
        DataError: a file is no JSON.
    """
    notes = adapter_notes(folder)
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    both = notes | config if isinstance(config, dict) else notes
    return recorded_layout(both)


def check_layout(
    config: PretrainedConfig | Mapping[str, Any], layout: Layout, *, name: str = "the model"
) -> None:
    """Refuse principles in another layout than the one that a model was trained with.

    A model that does not say is taken at the caller's word.

    Raises:
        ConfigError: it was trained with the other one.
    """
    known = _recorded(config)
    if known is not None and known != layout:
        raise ConfigError(
            f"{name} learned principles in the layout {known} and is asked in {layout}; expected "
            f"layout: {known}"
        )


def _recorded(config: PretrainedConfig | Mapping[str, Any]) -> Any:
    return config.get(KEY) if isinstance(config, Mapping) else getattr(config, KEY, None)
