"""The schema's revision: read it, check it, change it."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from dca.domain.errors import SchemaOutdated, StoreError
from store.tables import Base

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0005"
"""Revision that this version writes; revisions are numbered in the order of time."""
VERSION_TABLE = "dca_schema"
"""Not Alembic's own name: a store may share a database with another program's tables."""
_LOCK = 0x64636100
"""Advisory lock of migrations on PostgreSQL."""


def revision(connection: Connection) -> str | None:
    """Return the schema's revision, ``None`` when there is no DCA schema."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant


def is_empty(engine: Engine) -> bool:
    """Tell whether the database holds no DCA schema yet.

    Raises:
        StoreError: It holds tables under our names that are not ours.
    """
    with engine.connect() as connection:
        # In this order: another process that migrates meanwhile commits both at once.
        taken = set(inspect(connection).get_table_names()) & set(Base.metadata.tables)
        if revision(connection) is not None:
            return False
    if taken:
        raise StoreError(
            f"the database already holds other tables named {', '.join(sorted(taken))}",
            hint="Use a new file, or another database or schema.",
        )
    return True


def check(engine: Engine) -> None:
    """Raise ``SchemaOutdated`` unless the schema is the one that this version writes."""
    with engine.connect() as connection:
        found = revision(connection)
    if found is None:
        raise SchemaOutdated("the database holds no tables yet", hint="Run `dca db upgrade`.")
    if found < HEAD:
        raise SchemaOutdated(
            f"the store has schema {found}, this version needs {HEAD}",
            hint="Run `dca db backup`, then `dca db upgrade`.",
        )
    _refuse_newer(found)


def _refuse_newer(found: str | None) -> None:
    if found is not None and found > HEAD:
        raise SchemaOutdated(
            f"the store has schema {found}, newer than {HEAD} of this version",
            hint="Install the version of DCA that wrote it, or a later one.",
        )


def upgrade(engine: Engine) -> str:
    """Bring the schema to ``HEAD``, alone, in one transaction; return ``HEAD``."""
    # Alembic takes a tenth of a second to import, and few commands migrate.
    from alembic import command  # noqa: PLC0415 - see above

    with migration(engine) as config:
        connection: Connection = config.attributes["connection"]
        _refuse_newer(revision(connection))
        command.upgrade(config, "head")
    return HEAD


@contextmanager
def migration(engine: Engine, versions: Sequence[Path] = ()) -> "Generator[Config]":
    """Give an Alembic configuration on a connection that holds the only right to migrate.

    Everything is committed at the end, or undone when an error leaves it. On SQLite foreign keys
    are off meanwhile, because Alembic changes a table by copying and dropping it, which would
    delete the rows that point to it; they are checked before the commit.

    Args:
        engine: Engine of the store.
        versions: Further folders of revisions.
    """
    from alembic.config import Config  # noqa: PLC0415 - see upgrade

    with engine.connect() as connection, as_file(files("store") / "migrations") as folder:
        config = Config()
        # Alembic reads options with % interpolation.
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        folders = [str(path).replace("%", "%%") for path in (folder / "versions", *versions)]
        config.set_main_option("version_locations", "\n".join(folders))
        config.attributes["connection"] = connection
        with _alone(connection):
            yield config


@contextmanager
def _alone(connection: Connection) -> Generator[None]:
    if connection.dialect.name == "postgresql":
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield
        return
    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    # The driver opens no transaction for DDL by itself.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StoreError(f"the migration leaves rows of {broken[0]!r} that point nowhere")
        connection.commit()
    finally:
        connection.rollback()
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
