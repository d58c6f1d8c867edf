"""What is said where a package is missing that one of our extras installs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from tamis.errors import ConfigError

Extra = Literal["review", "serve", "trl"]
PACKAGES: dict[Extra, frozenset[str]] = {
    "review": frozenset({"fastapi", "sqlalchemy", "starlette", "uvicorn"}),
    "serve": frozenset({"fastapi", "prometheus_client", "starlette", "uvicorn"}),
    "trl": frozenset({"trl"}),
}


@contextmanager
def needing(extra: Extra, *, what: str) -> Iterator[None]:
    """Name the extra where an import fails for want of it; ``what`` needs it.

    Raises:
        ConfigError: one of its packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES[extra]:
            raise
        raise ConfigError(f"{what} needs {package}: pip install 'tamis[{extra}]'") from error
