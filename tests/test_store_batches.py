"""Batches and kept replies in the store, and the claims that a batch holds."""

import pytest
from alembic import command
from sqlalchemy import inspect, text

from dca.domain.review import Usage
from store import schema
from store.batches import (
    BatchItem,
    add_batch,
    change_batch,
    count_live,
    finish_batch,
    get_batch,
    items_of,
    live_batches,
    remote_ids,
    submitter_is_gone,
    tell_batch,
)
from store.claims import claim, claimed, reap
from store.engine import transaction
from store.jobs import finish_job, list_jobs, start_job
from store.replies import (
    Asker,
    KeptReply,
    common_dialogues,
    drop_replies,
    keep_replies,
    replies_of,
)
from store.reviews import add_answers, add_reviewers, answered
from store.rollouts import add_rollouts
from tests.store_examples import LABELS, OTHER, REVIEWER, abstention, key, review, rollout

ASKER = Asker(REVIEWER.digest, "p1", LABELS)
ELSE = Asker(OTHER.digest, "p1", LABELS)
KEYS = [key(rollout(number)).id for number in range(4)]
ITEMS = [BatchItem(KEYS[0], 1, 0, 900, ("r0",)), BatchItem(KEYS[1], 2, 1, 800, ("r1", "r2"))]


@pytest.fixture
def engine(store_engine):
    """A store with four rollouts and two reviewers."""
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(number) for number in range(4)])
        add_reviewers(session, [REVIEWER, OTHER])
    return store_engine


def begun(engine, name="b1", claims=3, asker=ASKER):
    """Return a running job, and a batch of it that holds ``claims`` claims."""
    with transaction(engine) as session:
        job = start_job(session, "review", {})
        claim(session, job, KEYS)
        worst = (5, 6)
        return job, add_batch(session, name, asker, ITEMS, KEYS[:claims], run=job, worst=worst)


def statuses(engine):
    """Return number of each job to its state."""
    with transaction(engine) as session:
        return {job.id: job.status for job in list_jobs(session)}


def test_a_batch_is_written_down_with_its_requests(engine):
    job, batch = begun(engine)

    with transaction(engine) as session:
        assert get_batch(session, "b1") == batch
        assert live_batches(session, ASKER) == [batch]
        assert live_batches(session, ELSE) == []
        assert items_of(session, "b1") == ITEMS
        assert remote_ids(session) == frozenset()
        assert not submitter_is_gone(session, batch)
    assert (batch.run, batch.remote, batch.state, batch.requests) == (job, None, "submitting", 2)
    assert (batch.nanodollars, batch.tokens) == (5, 6)
    assert statuses(engine) == {job: "running", batch.job: "submitted"}


def test_the_claims_of_a_batch_outlive_the_run_that_submitted_it(engine):
    job, batch = begun(engine)

    with transaction(engine) as session:
        finish_job(session, job, "lost")
        assert reap(session).claims == 1  # The fourth was in no batch.
        assert submitter_is_gone(session, batch)
        other = start_job(session, "review", {})
        assert claim(session, other, KEYS) == {KEYS[3]}
        assert claimed(session, [*KEYS[1:3], "unheard of"]) == set(KEYS[1:3])


@pytest.mark.parametrize(
    ("state", "outcome"), [("done", "done"), ("failed", "failed"), ("unsent", "failed")]
)
def test_a_batch_that_has_ended_lets_its_claims_go(engine, state, outcome):
    _, batch = begun(engine)

    with transaction(engine) as session:
        change_batch(session, "b1", "open", remote="batch_7")
        tell_batch(session, batch, 1)
        opened = get_batch(session, "b1")
        finish_batch(session, batch, state, counts={"answered": 2}, message="so it was")
        assert remote_ids(session) == {"batch_7"}
        assert live_batches(session, ASKER) == []
        assert count_live(session) == 0
        assert claimed(session, KEYS) == {KEYS[3]}
        ended = get_batch(session, "b1")
        (job,) = [job for job in list_jobs(session) if job.id == batch.job]
    assert (opened.state, opened.remote) == ("open", "batch_7")
    assert (ended.state, ended.counts, ended.message) == (state, {"answered": 2}, "so it was")
    assert (job.status, job.done, job.total, job.message) == (outcome, 1, 2, "so it was")


def test_batches_are_listed_by_age_and_state(engine):
    begun(engine, "b2")
    begun(engine, "b1")
    begun(engine, "b3", asker=ELSE)

    with transaction(engine) as session:
        change_batch(session, "b2", "cancelling")
        assert [(batch.id, batch.state) for batch in live_batches(session, ASKER)] == [
            ("b2", "cancelling"),
            ("b1", "submitting"),
        ]
        assert count_live(session) == 3


def kept(turn, dialogue="d1", **changed):
    columns = {"question": f"q{turn}", "body": b"{\x00\xff}", "usage": Usage(input_tokens=turn)}
    return KeptReply(dialogue, turn, **{**columns, **changed})


def test_replies_are_kept_by_turn_and_the_last_one_counts(engine):
    failed = kept(2, body=None, fault="503", tries=1, usage=Usage())
    again = kept(2, body=None, fault="504", tries=2, usage=Usage())

    with transaction(engine) as session:
        keep_replies(session, ASKER, [failed, kept(1), kept(1, "d2", rollouts=("r1", "r2"))])
        keep_replies(session, ASKER, [again])
        keep_replies(session, ELSE, [kept(1, "d3", rollouts=("r1", "r3"))])
        found = replies_of(session, ["d1", "d2", "none"])
        together = common_dialogues(session, ASKER)
        drop_replies(session, ["d1", "none"])
        drop_replies(session, [])
        left = replies_of(session, ["d1", "d2"])

    assert found == {
        "d1": [kept(1), again],
        "d2": [kept(1, "d2", rollouts=("r1", "r2"))],
    }
    assert together == [("d2", ("r1", "r2"))]
    assert list(left) == ["d2"]


def test_an_abstention_is_an_answer_unless_it_is_asked_again(engine):
    with transaction(engine) as session:
        add_answers(session, [review(rollout(0)), abstention(rollout(1))])
        assert answered(session, KEYS) == set(KEYS[:2])
        assert answered(session, KEYS, again=True) == {KEYS[0]}


def test_the_tables_come_and_go_with_data(engine):
    _, batch = begun(engine)
    with transaction(engine) as session:
        keep_replies(session, ASKER, [kept(1)])

    with schema.migration(engine) as config:
        command.downgrade(config, "0004")
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        claims = connection.scalars(text("SELECT id FROM claims")).all()
        statement = text("SELECT status FROM jobs WHERE id = :job")
        state = connection.scalar(statement, {"job": batch.job})
    assert not {"batches", "replies"} & set(tables)
    # What a batch held is asked for again; what the run itself held stays.
    assert (claims, state) == ([KEYS[3]], "lost")

    schema.upgrade(engine)
    with transaction(engine) as session:
        assert count_live(session) == 0
        assert replies_of(session, ["d1"]) == {}
    begun(engine, "b9", claims=0)
