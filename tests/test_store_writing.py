"""Batches of rows as they reach either database."""

import pytest

from store.engine import transaction
from store.rollouts import Added, add_rollouts, iter_rollouts
from store.selection import Selection
from store.writing import PORTION
from tests.store_examples import rollout


@pytest.mark.parametrize("count", [2, 3])
def test_rows_too_large_for_one_message_are_all_stored(store_engine, count):
    half = "x" * (PORTION // 2 + 1)
    items = [rollout(number, completion=half) for number in range(count)]

    with transaction(store_engine) as session:
        assert add_rollouts(session, items) == Added(count, 0)
        assert add_rollouts(session, items) == Added(0, count)
    with transaction(store_engine) as session:
        stored = [item for page in iter_rollouts(session, Selection()) for item in page]

    assert {item.id for item in stored} == {item.id for item in items}
    assert all(item.completion == half for item in stored)


def test_columns_without_any_value_and_of_every_kind_come_back(store_engine):
    # A column that is empty in all rows has no type of its own on its way to PostgreSQL.
    items = [rollout(number, step=None, reward=None, truth=None, meta={}) for number in range(3)]
    items.append(rollout(3, step=2**40, reward=0.1, truth="\x00 \ud800 \\ {}", meta={"a": [None]}))

    with transaction(store_engine) as session:
        add_rollouts(session, items[:3])
        add_rollouts(session, items[3:])
    with transaction(store_engine) as session:
        stored = [item for page in iter_rollouts(session, Selection()) for item in page]

    found = {item.id: item for item in stored}
    assert [found[item.id] for item in items[:3]] == items[:3]
    last = found[items[3].id]
    assert (last.step, last.reward, last.meta) == (2**40, 0.1, {"a": [None]})
    assert last.truth == "\\x00 \\ud800 \\ {}"
