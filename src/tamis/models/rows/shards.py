"""Files of remembered states, float32 [T, D] each, and beside each the ids of its sequences.

The name of a file is a hash of the model and of the sequences. Shapes: T tokens, D hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tamis.errors import DataError
from tamis.models.score import ids_key

STATES, IDS = ".npy", ".ids.npy"

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """Some sequences, in lexical order, their keys, and the file of their states."""

    texts: Sequence[Ids]
    keys: Sequence[bytes]
    path: Path

    @property
    def ids_path(self) -> Path:
        """The file of the sequences' ids."""
        return self.path.with_suffix(IDS)


def shard_of(folder: Path, name: str, texts: Sequence[Ids]) -> Shard:
    """Return the shard of some sequences; its file may be there or not."""
    keys = [ids_key(ids) for ids in texts]
    of_texts = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
    return Shard(texts, keys, folder / f"{name}-{of_texts}{STATES}")


def found_shards(folder: Path, name: str) -> list[Shard]:
    """Return the shards of a model whose states are there.

    Raises:
        DataError: ids are not those that the name of their file says.
    """
    found = []
    for path in sorted(folder.glob(f"{name}-*{IDS}")):
        flat = np.load(path, allow_pickle=False).tolist()
        texts, start = [], 0
        while start < len(flat):
            end = start + 1 + flat[start]
            texts.append(tuple(flat[start + 1 : end]))
            start = end
        shard = shard_of(folder, name, texts)
        if shard.ids_path != path:
            raise DataError(f"{path}: expected ids of texts that were read; remove the file")
        if shard.path.is_file():
            found.append(shard)
    return found


def unread(texts: Mapping[bytes, Ids], shards: Sequence[Shard]) -> list[Ids]:
    """Return the texts, given by key, that none of the shards has, in lexical order."""
    known = {text for shard in shards for text in shard.keys}
    return sorted(ids for text, ids in texts.items() if text not in known)
