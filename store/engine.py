"""Open a store: SQLite file or PostgreSQL, schema checked."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.orm import Session


def safe_url(url: str) -> str:
    """Return the URL as it may be shown: the password as ``***``."""
    raise NotImplementedError


def open_store(url: str, *, migrate: bool = True) -> Engine:
    """Connect to a store and check its schema.

    Args:
        url: A file name, ``sqlite:///FILE``, ``sqlite://`` (in memory) or ``postgresql://...``.
        migrate: Whether to build the tables in an empty database.

    Raises:
        StoreUnreachable: No connection.
        SchemaOutdated: The schema is older or newer than this version writes, or missing.
        UsageError: The URL names no database that DCA knows.
    """
    raise NotImplementedError


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """Give a session whose work is committed at the end, or undone when an error leaves it."""
    raise NotImplementedError
    yield


def upgrade(engine: Engine) -> str:
    """Bring the schema to the one that this version writes; return its revision."""
    raise NotImplementedError
