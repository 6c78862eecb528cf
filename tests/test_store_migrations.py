import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from dca.domain.errors import StoreError
from store import schema
from store.consensus import add_consensus, add_version, consensus_of
from store.engine import connect, transaction
from store.reviews import add_answers, add_reviewers, reviews_of
from store.rollouts import add_rollouts, iter_rollouts
from store.selection import Selection
from store.tables import Base
from tests.store_examples import (
    LABELS,
    REVIEWER,
    consensus,
    full_rollout,
    review,
    rollout,
    version,
)

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("rollouts") as table:
        table.add_column(sa.Column("language", sa.Text(), nullable=False, server_default="en"))
        table.alter_column("truth", new_column_name="reference")
    op.create_index("ix_rollouts_language", "rollouts", ["language"])
    {last}


def downgrade():
    op.drop_index("ix_rollouts_language", "rollouts")
    with op.batch_alter_table("rollouts") as table:
        table.alter_column("reference", new_column_name="truth")
        table.drop_column("language")
"""


@pytest.fixture
def next_revision(tmp_path):
    """Write a revision after the last, which rebuilds the table that all others point to."""

    def write(last="pass"):
        folder = tmp_path / "100% next"
        folder.mkdir()
        (folder / "next.py").write_text(NEXT.format(last=last, head=schema.HEAD))
        return [folder]

    return write


def fill(engine):
    """Add a rollout with everything that hangs on it, and return what the store holds."""
    item = full_rollout()
    with transaction(engine) as session:
        add_rollouts(session, [item, rollout(1)])
        add_reviewers(session, [REVIEWER])
        add_answers(session, [review(item), review(rollout(1))])
        number = add_version(session, version()).id
        add_consensus(session, number, [consensus(item)])
    return held(engine)


def held(engine):
    """Return everything that a reader sees."""
    with transaction(engine) as session:
        rollouts = [item for page in iter_rollouts(session, Selection()) for item in page]
        ids = [item.id for item in rollouts]
        return (
            rollouts,
            reviews_of(session, ids, label_set=LABELS),
            consensus_of(session, 1, ids),
        )


def test_the_mappings_equal_what_the_migrations_build(store_engine):
    options = {"version_table": schema.VERSION_TABLE, "compare_type": True}

    with store_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
        found = {name: names_in(inspect(connection), name) for name in Base.metadata.tables}

    assert found == {
        name: (
            table.primary_key.name,
            {key.name for key in table.foreign_key_constraints},
            {index.name for index in table.indexes},
        )
        for name, table in Base.metadata.tables.items()
    }


def names_in(inspector, table):
    """Return the names of a table's keys and indexes in the database."""
    return (
        inspector.get_pk_constraint(table)["name"],
        {key["name"] for key in inspector.get_foreign_keys(table)},
        {index["name"] for index in inspector.get_indexes(table)},
    )


def test_the_head_is_the_last_shipped_revision(store_engine):
    with schema.migration(store_engine) as config:
        script = ScriptDirectory.from_config(config)
        revisions = [revision.revision for revision in script.walk_revisions()]

    assert revisions[0] == schema.HEAD
    assert revisions == sorted(revisions, reverse=True)


def test_data_survives_an_upgrade_and_the_way_back(store_engine, next_revision):
    before = fill(store_engine)
    folders = next_revision()

    with schema.migration(store_engine, folders) as config:
        command.upgrade(config, "9999")
    with store_engine.connect() as connection:
        found = connection.execute(text("SELECT language, reference FROM rollouts ORDER BY id"))
        assert [tuple(row) for row in found] == [("en", None), ("en", "4")]
        assert connection.scalar(text("SELECT count(*) FROM reviews")) == 2
        assert schema.revision(connection) == "9999"
    with schema.migration(store_engine, folders) as config:
        command.downgrade(config, schema.HEAD)

    assert held(store_engine) == before
    schema.check(store_engine)
    with store_engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": schema.VERSION_TABLE}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_a_store_can_be_taken_down_and_built_again(store_engine):
    before = fill(store_engine)

    with schema.migration(store_engine) as config:
        command.downgrade(config, "base")
    with store_engine.connect() as connection:
        assert inspect(connection).get_table_names() == [schema.VERSION_TABLE]
    schema.upgrade(store_engine)

    assert held(store_engine) == ([], {}, {})
    assert fill(store_engine) == before


def test_a_migration_that_fails_half_way_leaves_everything_as_it_was(store_engine, next_revision):
    before = fill(store_engine)
    folders = next_revision(last="raise ZeroDivisionError")

    def migrate():
        with schema.migration(store_engine, folders) as config:
            command.upgrade(config, "9999")

    with pytest.raises(ZeroDivisionError):
        migrate()

    schema.check(store_engine)
    assert held(store_engine) == before
    with store_engine.connect() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns("rollouts")}
    assert "language" not in columns


def test_a_migration_that_orphans_rows_is_undone_on_sqlite(tmp_path, next_revision):
    engine = connect(str(tmp_path / "dca.db"))
    schema.upgrade(engine)
    before = fill(engine)
    folders = next_revision(last='op.execute("DELETE FROM rollouts")')

    def migrate():
        with schema.migration(engine, folders) as config:
            command.upgrade(config, "9999")

    with pytest.raises(StoreError, match=r"leaves rows of '.*' that point nowhere"):
        migrate()

    assert held(engine) == before
    engine.dispose()
