"""Batches of rows into a table, safe to repeat, the same on both databases.

Core's ``insert()`` with a list of rows: SQLite runs it as one prepared statement, psycopg sends
it in one pipeline. Measured on 500 reviews a batch, it needs no COPY to reach the goals: see
``benchmarks/``.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.tables import Base

Row = dict[str, Any]


def now() -> str:
    """Return the time in UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def dialect_of(session: Session) -> str:
    """Return ``sqlite`` or ``postgresql``."""
    return session.get_bind().dialect.name


def insert_new(session: Session, mapped: type[Base], rows: Sequence[Row]) -> int:
    """Insert the rows that break no unique key of the table and return how many those were."""
    if not rows:
        return 0
    table = _table(mapped)
    statement = _insert(session, table).on_conflict_do_nothing()
    options = {"preserve_rowcount": True}
    result = session.execute(statement, _in_key_order(table, rows), execution_options=options)
    return cast("CursorResult[Any]", result).rowcount


def insert_or_replace(session: Session, mapped: type[Base], rows: Sequence[Row]) -> None:
    """Insert the rows; where the key is there, its other columns take the new values."""
    if not rows:
        return
    table = _table(mapped)
    statement = _insert(session, table)
    keys = set(table.primary_key.columns.keys())
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    statement = statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
    session.execute(statement, _in_key_order(table, rows))


def _table(mapped: type[Base]) -> Table:
    return cast("Table", mapped.__table__)


def _insert(session: Session, table: Table) -> "postgresql.Insert | sqlite.Insert":
    if dialect_of(session) == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def _in_key_order(table: Table, rows: Iterable[Row]) -> list[Row]:
    """Return the rows sorted by key: two writers that lock in one order cannot deadlock."""
    keys = table.primary_key.columns.keys()
    return sorted(rows, key=lambda row: tuple(row[key] for key in keys))
