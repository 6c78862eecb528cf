"""Batches of rows into a table, safe to repeat, the same on both databases.

New rows pass SQLAlchemy's compiler by, which would cost more than the database: SQLite runs one
prepared statement over tuples, PostgreSQL takes whole columns as arrays. That is as fast as COPY
into a temporary table, and one statement: ``benchmarks/store_writes.py`` measures it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import JSON, Boolean, Float, Integer, LargeBinary, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.codecs import storable, to_json
from store.tables import AnyText, Base, Key

Row = dict[str, Any]
Line = tuple[Any, ...]
"""The values of a row, as a driver takes them."""
PORTION = 16 * 1024 * 1024
"""Characters and bytes beyond which rows go to PostgreSQL in several messages."""


def now() -> str:
    """Return the time in UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def dialect_of(session: Session) -> str:
    """Return ``sqlite`` or ``postgresql``."""
    return session.get_bind().dialect.name


def insert_new(session: Session, mapped: type[Base], rows: Sequence[Row]) -> int:
    """Insert the rows that break no unique key of the table and return how many those were.

    All rows have the same columns.
    """
    if not rows:
        return 0
    table, names = table_of(mapped), tuple(rows[0])
    lines = _lines(table, names, _in_key_order(table, rows))
    connection = session.connection()
    into = f"INSERT INTO {table.name} ({', '.join(names)})"
    if dialect_of(session) == "postgresql":
        arrays = ", ".join(f"%b::{_kind(table.columns[name].type)}[]" for name in names)
        chosen = f"SELECT * FROM unnest({arrays})"  # noqa: S608 - our own types
        statement = f"{into} {chosen} ON CONFLICT DO NOTHING"
        portions = (tuple(map(list, zip(*part, strict=True))) for part in _portions(lines))
        return sum(connection.exec_driver_sql(statement, part).rowcount for part in portions)
    statement = f"{into} VALUES ({', '.join('?' * len(names))}) ON CONFLICT DO NOTHING"
    options = {"preserve_rowcount": True}
    return connection.exec_driver_sql(statement, lines, execution_options=options).rowcount


def _lines(table: Table, names: Sequence[str], rows: Sequence[Row]) -> list[Line]:
    """Return the values of rows as a driver takes them, in the order of ``names``."""
    columns = ([row[name] for row in rows] for name in names)
    kinds = (table.columns[name].type for name in names)
    written = (_written(kind, column) for kind, column in zip(kinds, columns, strict=True))
    return list(zip(*written, strict=True))


def _written(kind: object, values: list[Any]) -> list[Any]:
    """Return the values of a column as a driver takes them."""
    if isinstance(kind, JSON):
        return [None if value is None else to_json(value) for value in values]
    if isinstance(kind, AnyText | Key):
        return [None if value is None else storable(value) for value in values]
    return values


def _portions(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Yield lines together whose texts and bytes are not too large for one message."""
    part: list[Line] = []
    size = 0
    for line in lines:
        part.append(line)
        size += sum(len(value) for value in line if isinstance(value, str | bytes))
        if size > PORTION:
            yield part
            part, size = [], 0
    if part:
        yield part


def _kind(kind: object) -> str:
    """Return the name of a column's type on PostgreSQL."""
    return next(name for known, name in _KINDS if isinstance(kind, known))


_KINDS: tuple[tuple[type[object], str], ...] = (
    (AnyText, "text"),
    (Key, "text"),
    (JSON, "json"),
    (LargeBinary, "bytea"),
    (Boolean, "boolean"),
    (Float, "double precision"),
    (Integer, "bigint"),
)


def insert_or_replace(session: Session, mapped: type[Base], rows: Sequence[Row]) -> None:
    """Insert the rows; where the key is there, its other columns take the new values."""
    if not rows:
        return
    table = table_of(mapped)
    statement = _insert(session, table)
    keys = set(table.primary_key.columns.keys())
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    statement = statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
    session.execute(statement, _in_key_order(table, rows))


def table_of(mapped: type[Base]) -> Table:
    """Return the table below a mapping."""
    return cast("Table", mapped.__table__)


def _insert(session: Session, table: Table) -> "postgresql.Insert | sqlite.Insert":
    if dialect_of(session) == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def _in_key_order(table: Table, rows: Iterable[Row]) -> list[Row]:
    """Return the rows sorted by key: two writers that lock in one order cannot deadlock."""
    keys = table.primary_key.columns.keys()
    return sorted(rows, key=lambda row: tuple(row[key] for key in keys))
