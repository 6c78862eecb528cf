"""Dialogues of several questions in batches: rollouts together, and window by window."""

import time
from dataclasses import replace

import pytest

from benchmarks.fault_server.plan import Fault, Rates
from benchmarks.fault_server.running import on_thread
from dca.domain.review import Abstention, AbstentionKind
from dca.pipeline.batch_review import batch_review
from reviewers.calling import Calling
from reviewers.protocol import review_key
from reviewers.question import Asking
from store.engine import transaction
from store.reviews import add_answers
from store.selection import parse_where
from tests.batch_reviews import (
    KEY,
    KINDS,
    ONCE,
    counts,
    doubled,
    filled,
    model,
    run,
    settings,
    stored,
)
from tests.command_line import plain_rollouts

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


def test_rollouts_of_one_problem_are_asked_about_together(store):
    with on_thread(settings(Rates({Fault.BAD_SCHEMA: 0.4}))) as server:
        asking = Asking(together=3)
        reviewer = model("chat", server.url, asking=asking)
        assert reviewer.bundle == 3
        left = run(store, [reviewer], rounds=ONCE)
        result = run(store, [reviewer])
        assert doubled(server) == 0

    # Six rollouts in each of two groups.
    assert left.submitted == 4
    reviews, abstentions = stored(store, reviewer)
    assert len(reviews) + len(abstentions) == 12
    assert result.reviewers[0].reviews == len(reviews) > 0
    assert counts(store)["replies"] == counts(store)["claims"] == 0


def test_a_joint_dialogue_goes_on_only_where_all_of_it_is_selected(store):
    with on_thread(settings(Rates({Fault.BAD_SCHEMA: 1.0}))) as server:
        reviewer = model("chat", server.url, asking=Asking(together=3))
        run(store, [reviewer], rounds=ONCE)
        time.sleep(0.3)
        # Collected, but what it asks next is outside of the selection.
        result = batch_review(store, [reviewer], parse_where("step:0"), rounds=ONCE)
        before = counts(store)["replies"]
        # One of them is answered otherwise: its companions are asked for anew.
        first = plain_rollouts(1)[0]
        with transaction(store) as session:
            key = review_key(reviewer, first)
            add_answers(session, [Abstention(key, AbstentionKind.REFUSED, "no")])
        ended = run(store, [reviewer])

    assert (before, result.submitted) == (4, 0)
    assert (ended.submitted > 4, ended.reviewers[0].pending) == (True, 0)
    assert counts(store)["replies"] == 0


def long_rollout():
    """Return a rollout that takes several windows."""
    first = plain_rollouts(1)[0]
    text = "\n".join(f"Line {number}: {number} + 1 = {number + 1}." for number in range(420))
    return replace(first, completion=text + "\nThe answer is 1.")


@pytest.mark.parametrize("kind", ["chat", "anthropic"])
def test_long_rollouts_are_read_window_by_window_through_several_batches(kind, tmp_path):
    engine = filled(tmp_path, [long_rollout(), *plain_rollouts(4)[1:]])
    rates = Rates({Fault.SERVER_ERROR: 0.2})
    with on_thread(settings(rates)) as server:
        asking, calling = Asking(context_tokens=9_000), Calling(max_tokens=2_000)
        reviewer = model(kind, server.url, asking=asking, calling=calling)
        result = run(engine, [reviewer])
        batches, attempts = server.ledger.totals.batches, server.ledger.totals.attempts
        assert doubled(server) == 0
    reviews, abstentions = stored(engine, reviewer)
    left = counts(engine)
    engine.dispose()

    assert len(reviews) + len(abstentions) == 4
    assert (result.reviewers[0].pending, left["claims"], left["replies"]) == (0, 0, 0)
    # More questions than rollouts, so more than one round.
    assert (batches > 2, attempts > 6) == (True, True)
    assert max(review.raw.count("\n\x1e\n") for review in reviews) > 2


def test_a_window_that_gets_no_reply_ends_no_dialogue_before_its_time(tmp_path):
    engine = filled(tmp_path, [long_rollout()])
    with on_thread(settings(Rates({Fault.SERVER_ERROR: 1.0}))) as server:
        asking, calling = Asking(context_tokens=9_000), Calling(max_tokens=2_000)
        reviewer = model("chat", server.url, asking=asking, calling=calling)
        result = run(engine, [reviewer])
    left = counts(engine)
    engine.dispose()

    assert result.reviewers[0].abstentions == {"unavailable": 1}
    assert (left["claims"], left["replies"]) == (0, 0)
