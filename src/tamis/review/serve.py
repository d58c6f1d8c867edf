"""Opening a review from the files of a run, and serving its page."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from tamis.errors import ConfigError
from tamis.review.app import make_app
from tamis.review.book import Book, reviewer_name
from tamis.review.config import ReviewConfig
from tamis.review.guard import access_for
from tamis.review.queue import load_queue
from tamis.review.session import Review
from tamis.review.store import Store, database_url

DATABASE = "review.sqlite"
PAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a review; ``out`` is the folder written to.

    ``wrong`` (P(label wrong) of each pair) and ``base`` (verdicts) are left out where no file is.
    """

    pairs: Path
    strength: Path
    out: Path
    wrong: Path | None = None
    base: Path | None = None
    database: str | None = None


@contextmanager
def open_review(sources: Sources, *, blind: bool = False) -> Iterator[Review]:
    """Open pairs, votes and decisions, and close the database at the end.

    Raises:
        ConfigError: the database cannot be opened.
        DataError: a file is missing or damaged, or the files do not belong together.
    """
    wrong, base = _existing(sources.wrong), _existing(sources.base)
    queue = load_queue(sources.pairs, strength=sources.strength, wrong=wrong)
    store = Store(database_url(sources.database, default=sources.out / DATABASE))
    try:
        yield Review(queue, Book(store), out=sources.out, base=base, blind=blind)
    finally:
        store.close()


def serve(review: Review, config: ReviewConfig, *, announce: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; ``announce`` is given the address that opens it.

    Raises:
        ConfigError: the address cannot be listened on, or the reviewer's name cannot be.
    """
    reviewer = None if config.reviewer is None else reviewer_name(config.reviewer)
    access = access_for(config)
    with _listening(config) as listener:
        port = listener.getsockname()[1]
        app = make_app(review, access=access, reviewer=reviewer)
        settings = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            limit_concurrency=PAGES_AT_ONCE,
            timeout_graceful_shutdown=5,
        )
        name = config.host.strip("[]")
        shown = f"[{name}]" if ":" in name else name
        token = f"?token={access.token}" if access.token else ""
        announce(f"http://{shown}:{port}/{token}")
        with suppress(KeyboardInterrupt):  # raised again by the server after it has ended
            uvicorn.Server(settings).run(sockets=[listener])


@contextmanager
def _listening(config: ReviewConfig) -> Iterator[socket.socket]:
    host = config.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, config.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {config.port}: {error.strerror or error}; "
            "choose another with --host or --port"
        ) from error
    with listener:
        yield listener


def _existing(path: Path | None) -> Path | None:
    return path if path is not None and path.is_file() else None
