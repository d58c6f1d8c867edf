"""What people decided, in a database: a log that is only ever appended to.

SQLite by default, any other database that SQLAlchemy reaches by its URL.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, final

from sqlalchemy import (
    URL,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from tamis.errors import ConfigError

Choice = Literal["keep", "flip", "tie", "drop"]
Action = Literal["keep", "flip", "tie", "drop", "undo"]

_METADATA = MetaData()
_DECISIONS = Table(
    "tamis_decisions",
    _METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("pair_id", Text, nullable=False),
    Column("reviewer", String(80), nullable=False),
    Column("choice", String(8), nullable=False),
    Column("made_at", String(40), nullable=False),
    Column("nonce", String(80), nullable=False, unique=True),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer said of a pair; ``undo`` takes back what they said of it before.

    ``nonce`` is made by the page that sends the decision, so that one sent twice is stored once.
    """

    pair_id: str
    reviewer: str
    choice: Action
    nonce: str


@dataclass(frozen=True, slots=True)
class Row:
    """A stored decision, with its number in the log and the time (ISO 8601, UTC)."""

    id: int
    decision: Decision
    made_at: str


@final
class Store:
    """The table of decisions. What ``append`` has returned survives a crash of this process."""

    def __init__(self, url: str | URL) -> None:
        """Open the database, and make the table where there is none.

        Raises:
            ConfigError: the URL names no database, its driver is missing, or it cannot be opened.
        """
        try:
            address = make_url(url)
        except ArgumentError as error:
            raise ConfigError(
                f"database {str(url)!r}: expected a file, or a URL such as "
                "postgresql+psycopg://user@host/name"
            ) from error
        self.name = address.render_as_string()  # without its password
        try:
            self._engine = _engine(address)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise ConfigError(f"database {self.name}: its driver is missing: {error}") from error
        try:
            with self._engine.begin() as connection:
                _METADATA.create_all(connection)
                connection.execute(select(_DECISIONS).limit(1)).all()
        except (SQLAlchemyError, OSError) as error:
            self._engine.dispose()
            reason = getattr(error, "orig", None) or error
            raise ConfigError(f"database {self.name}: cannot be opened: {reason}") from error

    def append(self, decision: Decision) -> Row:
        """Write a decision to disk; return the one that is there already under its nonce."""
        made_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            with self._engine.begin() as connection:
                statement = insert(_DECISIONS).values(**asdict(decision), made_at=made_at)
                key = connection.execute(statement).inserted_primary_key
        except IntegrityError:
            stored = self.find(decision.nonce)
            if stored is None:
                raise
            return stored
        return Row(int(key[0]) if key else 0, decision, made_at)

    def find(self, nonce: str) -> Row | None:
        """Return the decision with this nonce, if it is stored."""
        statement = select(_DECISIONS).where(_DECISIONS.c.nonce == nonce)
        with self._engine.connect() as connection:
            found = connection.execute(statement).first()
        return None if found is None else _row(found)

    def size(self) -> int:
        """Return how many decisions are stored."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count(_DECISIONS.c.id))).scalar_one())

    def read(self, *, after: int = 0) -> list[Row]:
        """Return the decisions with a number above ``after``, in the order of the log."""
        statement = select(_DECISIONS).where(_DECISIONS.c.id > after).order_by(_DECISIONS.c.id)
        with self._engine.connect() as connection:
            return [_row(found) for found in connection.execute(statement)]

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def database_url(text: str | None, *, default: Path) -> str | URL:
    """Return the URL that was given, or that of an SQLite file: the one named, else the default."""
    if text is not None and "://" in text:
        return text
    path = default if text is None else Path(text).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    return URL.create("sqlite", database=str(path.resolve()))


def _engine(address: URL) -> Engine:
    engine = create_engine(address)
    if address.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _make_durable)
    return engine


def _make_durable(connection: Any, _: object) -> None:
    """Let readers go on during a write, and let no commit return before it is on disk."""
    cursor = connection.cursor()
    for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _row(found: Any) -> Row:
    decision = Decision(found.pair_id, found.reviewer, found.choice, found.nonce)
    return Row(found.id, decision, found.made_at)
