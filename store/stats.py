"""What the store holds, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Table, func, select, text
from sqlalchemy.orm import Session

from store import schema
from store.engine import safe_url
from store.tables import Base
from store.writing import dialect_of


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts and size of one store."""

    url: str
    """Where it is; a password shows as ``***``."""
    revision: str
    """Schema revision."""
    rows: Mapping[str, int]
    """Table name to its number of rows."""
    bytes: int
    """Size of the tables with their indexes, without the write-ahead log."""


def stats(session: Session) -> Stats:
    """Count every table and measure the database."""
    tables = Base.metadata.sorted_tables
    counts = [select(func.count()).select_from(table).scalar_subquery() for table in tables]
    names = [table.name for table in tables]
    rows = dict(zip(names, session.execute(select(*counts)).one(), strict=True))
    connection = session.connection()
    return Stats(
        url=safe_url(connection.engine.url.render_as_string(hide_password=True)),
        revision=schema.revision(connection) or "",
        rows=rows,
        bytes=_size(session, tables),
    )


def _size(session: Session, tables: Sequence[Table]) -> int:
    if dialect_of(session) == "sqlite":
        pages = session.scalar(text("SELECT page_count FROM pragma_page_count"))
        page_bytes = session.scalar(text("SELECT page_size FROM pragma_page_size"))
        return int(pages) * int(page_bytes)
    sizes = [func.pg_total_relation_size(func.to_regclass(table.name)) for table in tables]
    return sum(session.execute(select(*sizes)).one())
