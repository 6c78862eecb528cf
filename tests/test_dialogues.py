"""Dialogues that go on after days: what is kept of them, and what a reply makes of them."""

from dataclasses import replace

import pytest

from dca.domain.review import Review, Usage
from dca.pipeline.dialogues import Arrival, Became, ask_of, digest_of, resume, take
from reviewers.exchange import Cause, Ended, Fault, Reply
from reviewers.protocol import review_key
from store.engine import transaction
from store.replies import KeptReply
from store.reviews import add_answers, add_reviewers
from tests.batch_reviews import filled, model
from tests.command_line import plain_rollouts

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def store(tmp_path):
    """A store with one rollout."""
    engine = filled(tmp_path, 1)
    yield engine
    engine.dispose()


def test_what_is_taken_twice_is_taken_once(store):
    reviewer = model("chat", NOWHERE)
    rollout = plain_rollouts(1)[0]
    ask = ask_of(reviewer, [rollout], resume(reviewer, [rollout], []))
    refusal = Reply("no", Ended.REFUSED, "no", Usage(output_tokens=1))
    gone = Fault(Cause.REQUEST, "HTTP 400: no")
    review = '{"steps": [{"first": 1, "last": 1, "label": "idle"}], "links": []}'
    with transaction(store) as session:
        add_reviewers(session, [reviewer.info])
        for outcome, became, kinds in (
            (None, Became.NOTHING, []),
            (gone, Became.ANSWERED, ["unavailable"]),
            (refusal, Became.ANSWERED, ["refused"]),
        ):
            arrival = Arrival(ask.dialogue, 1, 0, (rollout.id,), outcome)
            (taken,) = take(session, reviewer, [arrival])
            found = [answer.kind for answer in taken.answers]
            assert (taken.became, found) == (became, kinds)
        key = review_key(reviewer, rollout)
        add_answers(session, [Review(key, (), raw=review)])
        arrival = Arrival(ask.dialogue, 1, 0, (rollout.id,), refusal)
        assert take(session, reviewer, [arrival])[0].became is Became.BEFORE
        assert take(session, reviewer, []) == []


def test_a_dialogue_is_told_what_is_kept_as_far_as_it_goes():
    reviewer = model("chat", NOWHERE)
    rollout = plain_rollouts(1)[0]
    fresh = resume(reviewer, [rollout], [])
    question = digest_of(ask_of(reviewer, [rollout], fresh).body)
    failed = KeptReply("d", 1, question, None, "HTTP 503", tries=2)

    tried = resume(reviewer, [rollout], [failed])
    given_up = resume(reviewer, [rollout], [replace(failed, tries=3), replace(failed, turn=2)])

    assert (tried.course.turn, tried.tries) == (1, 2)
    (answer,) = given_up.course.answers
    assert answer.reason == "chat: HTTP 503"
    assert resume(reviewer, [rollout], [replace(failed, turn=2)]).tries == 0
    assert resume(reviewer, [rollout], [replace(failed, question="other")]).tries == 0
