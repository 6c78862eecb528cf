"""Copies of a store."""

from pathlib import Path

from sqlalchemy import Engine


def backup(engine: Engine, path: Path) -> int:
    """Write a copy of the store as a new SQLite store and return its size in bytes.

    A SQLite store is copied by SQLite's backup interface while others may write; of a PostgreSQL
    store every table is copied inside one read-only snapshot.

    Raises:
        UsageError: ``path`` exists.
    """
    raise NotImplementedError
