"""Where the weights of a model lie, how they are loaded, and what tells them from others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers.utils.hub import cached_file, extract_commit_hash

from tamis.data.read import split_revision
from tamis.errors import ConfigError
from tamis.evaluate.scorers.options import ScorerOptions
from tamis.models.adapted import ADAPTER_CONFIG, adapter_base, is_adapter
from tamis.models.config import ModelConfig
from tamis.models.source import loading, locate, quiet
from tamis.models.start import read_start
from tamis.runs import fingerprint

CONFIG = "config.json"
# what scores do not depend on
UNREAD = frozenset({"README.md", "calibrator.json", ".gitattributes"})


def model_at(address: str, *, options: ScorerOptions) -> ModelConfig:
    """Return how the model at an address is loaded; an adapter on the hub is fetched.

    Args:
        address: a folder, ``package:name/folder``, or a hub id, perhaps with ``@REVISION``.
        options: of the scorer.

    Raises:
        ConfigError: it is a hub id that cannot be reached, or nothing is there.
    """
    path, revision = split_revision(address)
    folder = _fetched_adapter(path, revision=revision)
    return ModelConfig(
        path=path if folder is None else folder,
        revision=revision if folder is None else None,
        max_length=options.max_length,
        dtype=options.dtype,
        chat_template=options.chat_template,
        trust_remote_code=options.trust_remote_code,
    )


def model_identity(path: str, *, revision: str | None = None) -> dict[str, Any]:
    """Return what tells a model from others; of an adapter, its base as well.

    Raises:
        ConfigError: see `weights_identity`, or an adapter names no base.
    """
    found: dict[str, Any] = weights_identity(path, revision=revision)
    folder = Path(locate(path))
    if is_adapter(folder):
        base = adapter_base(folder, start=read_start(folder))
        found["base"] = weights_identity(base.path, revision=base.revision)
    return found


def weights_identity(path: str, *, revision: str | None = None) -> dict[str, Any]:
    """Return what tells weights from others: a hash of their files, or their commit on the hub.

    Of a folder, model card and notes of the training do not count, and folders in it neither.

    Raises:
        ConfigError: it is a hub id that cannot be reached, or nothing is there.
    """
    folder = Path(locate(path))
    if not folder.is_dir():
        commit = extract_commit_hash(str(hub_file(path, CONFIG, revision=revision)), None)
        return {"hub": path, "commit": commit}
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name not in UNREAD:
            digest.update(f"{file.name}\0{fingerprint(file)}\n".encode())
    return {"weights": digest.hexdigest()}


def config_file(path: str, *, revision: str | None = None) -> Path | None:
    """Return the configuration of a model; ``None`` where a folder has none.

    Raises:
        ConfigError: it is a hub id that cannot be reached.
    """
    folder = Path(locate(path))
    if not folder.is_dir():
        return hub_file(path, CONFIG, revision=revision)
    file = folder / CONFIG
    return file if file.is_file() else None


def hub_file(path: str, name: str, *, revision: str | None = None) -> Path:
    """Return a file of a model of the hub, in the hub's cache.

    Raises:
        ConfigError: it is not there, or cannot be reached.
    """
    with loading(path), quiet():
        found = cached_file(path, name, revision=revision)
    if found is None:
        raise ConfigError(f"model {path} has no {name}")
    return Path(found)


def _fetched_adapter(path: str, *, revision: str | None) -> str | None:
    """Return the folder of an adapter on the hub, once it is there, or ``None`` for other models.

    Raises:
        ConfigError: a hub id that cannot be reached, or that is neither.
    """
    if Path(locate(path)).is_dir():
        return None
    try:
        hub_file(path, CONFIG, revision=revision)
    except ConfigError as error:
        try:
            hub_file(path, ADAPTER_CONFIG, revision=revision)
        except ConfigError:
            raise error from None
    else:
        return None
    with loading(path), quiet():
        return snapshot_download(path, revision=revision)
