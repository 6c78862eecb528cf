"""Alembic's environment: runs on the connection that ``store.schema.migration`` hands over."""

from alembic import context
from sqlalchemy import Connection

from store.schema import VERSION_TABLE
from store.tables import Base

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    # SQLite changes a table by copying it.
    render_as_batch=True,
    # The caller's transaction holds the whole migration.
    transactional_ddl=False,
)
context.run_migrations()
