"""Copies of a store."""

import sqlite3
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, insert, select

from dca.domain.errors import UsageError
from store import schema
from store.engine import open_store
from store.tables import Base

_ROWS = 500
"""Rows in memory at once while tables are copied."""


def backup(engine: Engine, path: Path) -> int:
    """Write a copy of the store as a new SQLite store and return its size in bytes.

    Others may write meanwhile: the copy is the store at one moment. A SQLite store is copied page
    by page, whatever its schema; of a PostgreSQL store every table is copied row by row. The copy
    appears under its name when it is complete.

    Raises:
        UsageError: ``path`` exists.
        SchemaOutdated: A PostgreSQL store whose schema is not the one of this version.
    """
    if path.exists():
        raise UsageError(f"{path} exists", hint="Name a new file, or remove that one.")
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    if engine.dialect.name == "sqlite":
        _copy_pages(engine, part)
    else:
        schema.check(engine)
        _copy_tables(engine, part)
    part.rename(path)
    return path.stat().st_size


def _copy_pages(engine: Engine, part: Path) -> None:
    with engine.connect() as connection:
        source = cast("sqlite3.Connection", connection.connection.driver_connection)
        target = sqlite3.connect(part)
        try:
            source.backup(target)
        finally:
            target.close()


def _copy_tables(engine: Engine, part: Path) -> None:
    copy = open_store(str(part))
    snapshot = engine.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    try:
        with snapshot.connect() as source, copy.begin() as target:
            for table in Base.metadata.sorted_tables:
                _copy_rows(source, target, table)
    finally:
        # The last connection to close folds the write-ahead log into the file.
        copy.dispose()


def _copy_rows(source: Connection, target: Connection, table: Any) -> None:  # noqa: ANN401 - typed below
    rows = source.execution_options(yield_per=_ROWS).execute(select(table)).mappings()
    for batch in rows.partitions():
        target.execute(insert(table), [dict(row) for row in batch])
