"""Batches of rows into a table, safe to repeat, the same on both databases.

New rows pass SQLAlchemy's compiler by, which would cost more than the database: SQLite runs one
prepared statement over tuples, PostgreSQL takes them by COPY into a temporary table. Measured by
``benchmarks/store_writes.py``.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import JSON, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from store.codecs import storable, to_json
from store.tables import AnyText, Base, Key

Row = dict[str, Any]


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
    if dialect_of(session) == "postgresql":
        return _copy_new(connection, table.name, ", ".join(names), lines)
    marks = ", ".join("?" * len(names))
    values = f"VALUES ({marks}) ON CONFLICT DO NOTHING"
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) {values}"
    options = {"preserve_rowcount": True}
    return connection.exec_driver_sql(statement, lines, execution_options=options).rowcount


def _copy_new(
    connection: Connection, table: str, names: str, lines: Iterable[tuple[Any, ...]]
) -> int:
    """Insert new rows into a table of PostgreSQL and return how many were new."""
    staged = f"new_{table}"
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {staged} (LIKE {table}) ON COMMIT DELETE ROWS"
    )
    driver = connection.connection
    try:
        with driver.cursor().copy(f"COPY {staged} ({names}) FROM STDIN") as copy:
            for line in lines:
                copy.write_row(line)
    except connection.dialect.loaded_dbapi.Error as error:
        raise OperationalError(f"COPY {staged}", None, error) from error
    chosen = f"SELECT {names} FROM {staged} ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
    added = connection.exec_driver_sql(f"INSERT INTO {table} ({names}) {chosen}").rowcount
    connection.exec_driver_sql(f"DELETE FROM {staged}")  # noqa: S608 - our own name
    return added


def _lines(table: Table, names: Sequence[str], rows: Sequence[Row]) -> list[tuple[Any, ...]]:
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
