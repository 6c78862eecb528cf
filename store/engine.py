"""Open a store: a SQLite file or PostgreSQL, with its schema checked."""

import sqlite3
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from sqlalchemy import URL, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.orm import Session

from dca.domain.errors import MissingExtra, StoreError, StoreUnreachable, UsageError
from store import schema
from store.codecs import from_json, to_json

BUSY_SECONDS = 30
"""How long a SQLite writer waits for another one."""
CONNECT_SECONDS = 10
"""How long PostgreSQL may take to answer the first call."""
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
_SECRET_PARAMETERS = ("password", "sslpassword")


def safe_url(url: str) -> str:
    """Return the URL as it may be shown: passwords as ``***``."""
    parsed = _parse(url)
    if parsed.drivername == "sqlite":
        return url
    hidden = {name: "***" for name in _SECRET_PARAMETERS if name in parsed.query}
    shown = parsed.update_query_dict(hidden).render_as_string(hide_password=True)
    return shown.replace(quote_plus("***"), "***")


def open_store(url: str, *, migrate: bool = True) -> Engine:
    """Connect to a store and check its schema.

    Args:
        url: A file name, ``sqlite:///FILE``, ``sqlite://`` (in memory) or ``postgresql://...``.
        migrate: Whether to build the tables in an empty database.

    Raises:
        StoreUnreachable: No connection.
        SchemaOutdated: The schema is older or newer than this version writes, or missing.
        StoreError: The file is no database, the driver cannot read the address, or the database
            holds other tables under our names.
        UsageError: The URL names no database that DCA knows.
    """
    engine = connect(url)
    with ExitStack() as undo:
        undo.callback(engine.dispose)
        if schema.is_empty(engine) and migrate:
            upgrade(engine)
        schema.check(engine)
        undo.pop_all()
    return engine


def connect(url: str) -> Engine:
    """Connect to a database without a look at its schema; errors as ``open_store``."""
    parsed = _parse(url)
    engine = _sqlite(parsed) if parsed.drivername == "sqlite" else _postgres(parsed)
    shown = safe_url(url)
    try:
        engine.connect().close()
    except OperationalError as error:
        engine.dispose()
        # Not chained: a driver's message may quote the connection string.
        raise StoreUnreachable(
            f"no connection to {shown}: {_reason(error, parsed)}",
            hint="Check the address, and that the folder or the server is there.",
        ) from None
    except DatabaseError as error:
        engine.dispose()
        raise StoreError(f"{shown} cannot be opened: {_reason(error, parsed)}") from None
    return engine


@contextmanager
def transaction(engine: Engine) -> Generator[Session]:
    """Give a session whose work is committed at the end, or undone when an error leaves it.

    Raises:
        StoreError: The database failed: full, locked, read-only, gone.
    """
    with transactions(engine) as session, session.begin():
        yield session


@contextmanager
def transactions(engine: Engine) -> Generator[Session]:
    """Give a session for long work in parts: the caller commits after each.

    What is not committed at the end is undone.

    Raises:
        StoreError: The database failed: full, locked, read-only, gone.
    """
    try:
        with Session(engine, expire_on_commit=False) as session:
            yield session
    except (IntegrityError, ProgrammingError):
        raise  # Our own bug, not the database's fault.
    except DBAPIError as error:
        raise StoreError(f"the store failed: {_reason(error, engine.url)}") from error


def upgrade(engine: Engine) -> str:
    """Bring the schema to the one that this version writes; return its revision.

    Raises:
        SchemaOutdated: The schema is newer.
    """
    return schema.upgrade(engine)


def _parse(url: str) -> URL:
    """Return the URL with the driver that DCA uses; a bare file name becomes SQLite."""
    if "://" not in url:
        return URL.create("sqlite", database=str(Path(url).expanduser()))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text is not quoted: it may hold a password.
        raise UsageError("the store's URL cannot be read", hint=_FORMS_HINT) from None
    if parsed.drivername in _POSTGRES:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "sqlite":
        raise UsageError(f"no store can be kept in {parsed.drivername!r}", hint=_FORMS_HINT)
    if parsed.host:
        raise UsageError(f"{url!r} names a host: a file needs three slashes", hint=_FORMS_HINT)
    return parsed


_FORMS_HINT = "Use a file name, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."


def _reason(error: DBAPIError, url: URL) -> str:
    """Return the driver's message on one line, without passwords."""
    text = " ".join(str(error.orig).split())
    for secret in (url.password, *(url.query.get(name) for name in _SECRET_PARAMETERS)):
        text = text.replace(str(secret), "***") if secret else text
    return text


def _sqlite(url: URL) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    options: dict[str, Any] = {}
    if in_memory:
        # One connection for all threads, else each would see its own empty database.
        options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    engine = _create(url, **options)

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        _write_ahead(connection)

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn on write-ahead logging, which the file then keeps.

    SQLite does not wait for other connections while it changes the journal, so this does. Where a
    file system cannot do it, SQLite keeps its journal, which is slower and just as safe.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not locked or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _postgres(url: URL) -> Engine:
    seconds = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    try:
        return _create(url, pool_pre_ping=True, connect_args=seconds)
    except ModuleNotFoundError:
        raise MissingExtra(
            "PostgreSQL needs psycopg, which is not installed",
            hint="pip install '.[postgres]' in the project's folder",
        ) from None


def _create(url: URL, **options: Any) -> Engine:  # noqa: ANN401 - create_engine's own options
    return create_engine(
        url,
        json_serializer=to_json,
        json_deserializer=from_json,
        # Statements carry whole completions: no error message may quote them.
        hide_parameters=True,
        **options,
    )
