"""The layout that a reward model was trained with, in its checkpoint's configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import PretrainedConfig

from tamis.errors import ConfigError
from tamis.models.adapted import NOTES, adapter_notes
from tamis.models.checkpoint import ADAPTER, CONFIG
from tamis.principles.layout import Layout, layout_of
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


def check_layout(config: PretrainedConfig, layout: Layout, *, name: str = "the model") -> None:
    """Refuse principles in another layout than the one that a model was trained with.

    A model that does not say is taken at the caller's word.

    Raises:
        ConfigError: it was trained with the other one.
    """
    known = getattr(config, KEY, None)
    if known is not None and known != layout:
        raise ConfigError(
            f"{name} learned principles in the layout {known} and is asked in {layout}; expected "
            f"layout: {known}"
        )
