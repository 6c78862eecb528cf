"""The source's own ids: one text each, also in stores that are older than the rule."""

import pytest
from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from store import schema
from store.engine import transaction
from store.rollouts import Added, add_rollouts, count_rollouts, iter_rollouts
from store.selection import Selection
from tests.store_examples import full_rollout, rollout


def named(number, name, **changed):
    return rollout(number, meta={"source_id": name}, **changed)


def keys(engine):
    with engine.connect() as connection:
        found = connection.execute(text("SELECT id, source_key FROM rollouts"))
        return {row.id: row.source_key for row in found}


def test_an_id_of_the_source_stands_for_one_text_of_its_group_and_model(store_engine):
    first, other = named(1, "a"), named(2, "a")
    elsewhere = [named(3, "a", group="g2"), named(4, "a", model="m"), named(5, "b"), rollout(6)]

    with transaction(store_engine) as session:
        assert add_rollouts(session, [first]) == Added(1, 0)
        assert add_rollouts(session, [other]) == Added(0, 0, reused=(other.id,))
        assert add_rollouts(session, [first, other, *elsewhere]) == Added(4, 1, reused=(other.id,))
        changed = named(1, "a", reward=0.0)
        assert add_rollouts(session, [changed, other, rollout(7)]) == Added(
            1, 0, (first.id,), (other.id,)
        )
        assert count_rollouts(session, Selection()) == 6


def test_of_one_id_of_the_source_in_a_batch_the_first_is_stored(store_engine):
    with transaction(store_engine) as session:
        late, early = named(2, "a"), named(1, "a")
        assert add_rollouts(session, [late, early, late]) == Added(1, 1, reused=(early.id,))
        ((stored,),) = iter_rollouts(session, Selection())

    assert stored == late


def test_only_a_text_is_an_id_of_the_source():
    assert rollout(1, meta={"source_id": 7}).source_key is None
    assert rollout(1).source_key is None
    assert named(1, "7").source_key == named(2, "7").source_key
    assert len(named(1, "7").source_key) == 20


@pytest.fixture
def older(store_engine):
    """A store before the rule, with three texts under one id and others beside them."""
    rollouts = [
        *(named(number, "a") for number in (1, 2, 3)),
        named(4, "é\ud800" if store_engine.dialect.name == "sqlite" else "é"),
        named(5, "a", group="g2"),
        rollout(6, meta={"source_id": ["a"]}),
        rollout(7),
        full_rollout(),
        *(named(number, f"n{number}") for number in range(10, 1200)),
    ]
    with transaction(store_engine) as session:
        add_rollouts(session, [item for item in rollouts if item.id[:5] not in ("00002", "00003")])
    with schema.migration(store_engine) as config:
        command.downgrade(config, "0002")
    with store_engine.begin() as connection:
        columns = inspect(connection).get_columns("rollouts")
        rest = ", ".join(column["name"] for column in columns if column["name"] != "id")
        for number in (2, 3):
            connection.execute(
                text(
                    f"INSERT INTO rollouts (id, {rest}) SELECT '0000{number}g1', {rest}"  # noqa: S608 - our own names
                    " FROM rollouts WHERE id = '00001g1'"
                )
            )
    return rollouts


def test_an_upgrade_gives_old_rollouts_their_keys_and_the_way_back_takes_them(store_engine, older):
    with store_engine.connect() as connection:
        assert schema.revision(connection) == "0002"
        assert "source_key" not in {
            column["name"] for column in inspect(connection).get_columns("rollouts")
        }
    schema.upgrade(store_engine)

    found = keys(store_engine)
    assert found == {
        item.id: None if item.id in ("00002g1", "00003g1") else item.source_key for item in older
    }
    assert found["00001g1"] is not None
    with transaction(store_engine) as session:
        assert add_rollouts(session, [older[0], named(8, "a")]) == Added(0, 1, reused=("00008g1",))
        assert count_rollouts(session, Selection()) == len(older)
    with store_engine.connect() as connection:
        options = {"version_table": schema.VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert context.get_current_revision() == schema.HEAD
