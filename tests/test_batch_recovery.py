"""Batches that were lost sight of, refused, forgotten or answered strangely."""

import time
import zlib

import msgspec
import pytest
from sqlalchemy import update

from benchmarks.fault_server.plan import Fault, Rates
from benchmarks.fault_server.running import on_thread
from dca.domain.errors import CredentialError
from dca.pipeline.batch_review import Rounds
from dca.pipeline.dialogues import asker_of
from store.batches import change_batch, items_of, live_batches
from store.engine import transaction
from store.jobs import start_job
from store.tables import BatchRow, ReplyRow
from tests.batch_reviews import (
    KEY,
    KINDS,
    ONCE,
    Notes,
    counts,
    filled,
    model,
    open_batch,
    run,
    settings,
)

EACH = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)


@pytest.fixture
def store(tmp_path):
    """A store with twelve rollouts."""
    engine = filled(tmp_path, 12)
    yield engine
    engine.dispose()


def test_results_of_nobody_are_counted_and_not_used(store):
    with on_thread(settings()) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer], rounds=ONCE)
        batch = open_batch(store, reviewer)
        with transaction(store) as session:
            # As if the store remembered half of what it had submitted.
            some = items_of(session, batch.id)[:6]
            session.execute(
                update(BatchRow).values(items=zlib.compress(msgspec.json.encode(some)))
            )
        time.sleep(0.3)
        result = run(store, [reviewer], rounds=ONCE)

    assert (result.unknown, result.reviewers[0].reviews, result.submitted) == (6, 6, 6)


def forget(engine, reviewer, run_is_dead=True):
    """Let the store know no more of a batch than before the provider answered."""
    batch = open_batch(engine, reviewer)
    columns = {"state": "submitting", "remote": None}
    with transaction(engine) as session:
        if not run_is_dead:
            columns["run"] = start_job(session, "review", {})
        session.execute(update(BatchRow).where(BatchRow.id == batch.id).values(**columns))


@EACH
def test_a_batch_whose_run_was_killed_in_between_is_found_at_the_provider(kind, store):
    notes = Notes()
    with on_thread(settings()) as server:
        reviewer = model(kind, server.url)
        run(store, [reviewer], rounds=ONCE)
        forget(store, reviewer)
        result = run(store, [reviewer], progress=notes)
        batches = server.ledger.totals.batches

    assert (result.submitted, result.reviewers[0].reviews, batches) == (0, 12, 1)
    assert any("which had been submitted" in text for text in notes.said)


def test_a_batch_that_another_run_is_submitting_is_left_alone(store):
    with on_thread(settings()) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer], rounds=ONCE)
        forget(store, reviewer, run_is_dead=False)
        result = run(store, [reviewer], rounds=ONCE)
        with transaction(store) as session:
            (batch,) = live_batches(session, asker_of(reviewer))

    assert (result.submitted, result.open, batch.state) == (0, 12, "submitting")


def test_a_key_that_is_refused_later_leaves_the_batch_as_it_is(store, monkeypatch):
    with on_thread(settings(seconds=30)) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer], rounds=ONCE)
        monkeypatch.setenv("MY_KEY", "sk-wrong-key-1234")
        with pytest.raises(CredentialError):
            run(store, [reviewer])

    assert open_batch(store, reviewer).requests == 12
    assert counts(store)["claims"] == 12


def test_only_what_the_provider_has_can_be_cancelled(store):
    with on_thread(settings(seconds=30)) as server:
        reviewer = model("anthropic", server.url)
        run(store, [reviewer], rounds=ONCE)
        forget(store, reviewer)
        cancel = Rounds(wait=False, cancel=True)
        result = run(store, [reviewer], rounds=cancel)

    # It may be the one that is worked on there: that shows when it has ended.
    assert (result.open, result.submitted) == (12, 0)


def test_kept_replies_to_other_questions_are_not_used(store):
    with on_thread(settings(Rates({Fault.BAD_SCHEMA: 1.0}))) as server:
        reviewer = model("chat", server.url)
        run(store, [reviewer], rounds=ONCE)
        time.sleep(0.3)
        run(store, [reviewer], rounds=ONCE)
        with transaction(store) as session:
            session.execute(update(ReplyRow).values(question="of another version"))
        run(store, [reviewer])
        attempts = server.ledger.totals.attempts

    # Twelve first turns, twelve repair turns in vain, twelve dialogues from their beginning.
    assert attempts == 12 * 2 + 12 * 2


def test_a_batch_that_fails_as_a_whole_is_tried_three_times(store):
    with on_thread(settings(Rates(batch_failed=1.0))) as server:
        result = run(store, [model("chat", server.url)])
        batches, attempts = server.ledger.totals.batches, server.ledger.totals.attempts

    assert (batches, attempts) == (3, 0)
    assert result.reviewers[0].abstentions == {"unavailable": 12}
    (reason,) = result.reviewers[0].reasons
    assert "invalid_request: The batch failed." in reason


@pytest.mark.parametrize("kind", ["chat", "anthropic"])
def test_a_batch_that_the_provider_forgot_is_pending_again(kind, store):
    with on_thread(settings()) as server:
        reviewer = model(kind, server.url)
        run(store, [reviewer], rounds=ONCE)
        batch = open_batch(store, reviewer)
        with transaction(store) as session:
            change_batch(session, batch.id, "open", remote="batch_999")
        result = run(store, [reviewer])

    assert (result.submitted, result.reviewers[0].reviews) == (12, 12)
