"""Rows of a data set on the hub, and of directories that the datasets library knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tamis.errors import ConfigError, DataError, shorten


def read_hub(
    path: str, *, hub_config: str | None, hub_split: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the rows of a data set on the hub (or in the local cache of the datasets library).

    Raises:
        DataError: it cannot be loaded.
    """
    import datasets  # takes seconds to import, and files need none of it

    try:
        rows = datasets.load_dataset(path, hub_config, split=hub_split)
    except Exception as error:  # the library raises a dozen unrelated types
        where = f"configuration {hub_config!r}, split {hub_split!r}"
        raise DataError(
            f"{path}: neither a file nor a data set that can be reached on the hub ({where}): "
            f"{_first_line(error)}"
        ) from error
    yield from enumerate(dict(row) for row in rows)


def read_directory(path: Path, *, hub_split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give the rows of a directory written by ``save_to_disk``.

    Raises:
        ConfigError: it holds several splits and ``hub_split`` is none of them.
        DataError: the directory is no such one, or is damaged.
    """
    import datasets  # takes seconds to import, and files need none of it

    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # the library raises a dozen unrelated types
        raise DataError(
            f"{path}: expected a directory saved by datasets.save_to_disk: {_first_line(error)}"
        ) from error
    if isinstance(found, datasets.DatasetDict):
        if hub_split not in found:
            raise ConfigError(f"{path}: no split {hub_split!r}; there is {sorted(found)}")
        found = found[hub_split]
    yield from enumerate(dict(row) for row in found)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else shorten(error)}"
