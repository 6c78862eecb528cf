"""Dialogues about one rollout: one repair turn, and what is not worth one."""

import json

import pytest

from dca.domain.errors import ReviewerUnavailable
from dca.domain.review import Abstention, AbstentionKind, Review
from reviewers.dialogue import LONGEST_REPEATED, discuss
from reviewers.exchange import Ended, Question, Reply, Turn
from reviewers.question import Asking, pose
from tests.scripted_models import COST, Scripted, carry, review_of, rollout, said

TEXT = "2 + 3 = 6. So 6."
STEP = {"n": 1, "first": 1, "last": 1, "reason": "r", "label": "idle", "confidence": 0.9}
WHOLE = {"links": [], "covered_first": 1, "covered_last": 2, "finding": "f", "blame": 0}
GOOD = json.dumps({"steps": [STEP], **WHOLE})
BEYOND = json.dumps({"steps": [{**STEP, "first": 7, "last": 9}], **WHOLE})


def test_a_bad_reply_is_shown_to_its_author_with_what_is_wrong() -> None:
    answers, asked = carry(
        discuss(Scripted(), rollout(TEXT)),
        lambda question: GOOD if len(question.turns) > 1 else BEYOND,
    )
    first, second = asked
    review = review_of(answers)

    assert first == pose(rollout(TEXT), Asking())
    assert (second.system, second.form, second.units) == (first.system, first.form, first.units)
    assert second.turns[:2] == (*first.turns, Turn("assistant", BEYOND))
    assert second.turns[2].role == "user"
    assert second.turns[2].text == (
        "That reply cannot be used: no step can be placed: units 7 to 9 are not among 1 to 2."
        " Mend this, and keep the rest of your judgement as it is. Reply to the request above once"
        " more, in full, with the one JSON object in the form that the instructions give and"
        " nothing else."
    )
    assert review.usage.input_tokens == 2 * 101
    assert review.raw == f"{BEYOND}\n\x1e\n{GOOD}"


@pytest.mark.parametrize(
    "bad", ["", " \n", '{"steps": [{"n": 1, "fir', "x" * (LONGEST_REPEATED + 1)]
)
def test_a_reply_that_shows_nothing_is_asked_for_again_as_before(bad: str) -> None:
    replies = iter([bad, GOOD])

    answers, asked = carry(discuss(Scripted(), rollout(TEXT)), lambda _: next(replies))

    assert (asked[0].system, asked[0].turns) == (asked[1].system, asked[1].turns)
    assert isinstance(review_of(answers), Review)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (said(GOOD, Ended.TRUNCATED), AbstentionKind.TRUNCATED),
        (said(GOOD, Ended.REFUSED), AbstentionKind.REFUSED),
        (said(GOOD, Ended.OTHER), AbstentionKind.INVALID),
        (said("I'm sorry, I cannot help with that."), AbstentionKind.REFUSED),
    ],
)
def test_the_same_question_would_bring_the_same_again(reply: Reply, kind: AbstentionKind) -> None:
    (answer,), asked = carry(discuss(Scripted(), rollout(TEXT)), lambda _: reply)

    assert len(asked) == 1
    assert isinstance(answer, Abstention)
    assert (answer.kind, answer.usage, answer.raw) == (kind, COST, reply.text)


def test_a_second_bad_reply_is_the_end() -> None:
    (answer,), asked = carry(discuss(Scripted(), rollout(TEXT)), lambda _: BEYOND)

    assert len(asked) == 2
    assert isinstance(answer, Abstention)
    assert answer.kind is AbstentionKind.INVALID
    assert answer.usage.dollars == 0.5


def test_a_fault_is_an_abstention_with_what_was_paid_before() -> None:
    def model(question: Question) -> str | Exception:
        return BEYOND if len(question.turns) == 1 else ReviewerUnavailable("gone", raw="page")

    (answer,), _ = carry(discuss(Scripted(), rollout(TEXT)), model)

    assert isinstance(answer, Abstention)
    assert (answer.kind, answer.reason) == (AbstentionKind.UNAVAILABLE, "gone")
    assert (answer.usage, answer.raw) == (COST, BEYOND)


def test_a_text_of_white_space_is_not_asked_about() -> None:
    (answer,), asked = carry(discuss(Scripted(), rollout(" \n\t")), lambda _: GOOD)

    assert asked == []
    assert isinstance(answer, Abstention)
    assert (answer.kind, answer.raw) == (AbstentionKind.INVALID, "")


def test_a_question_that_was_posed_before_is_asked() -> None:
    asking = Asking(blind=True)
    posed = pose(rollout(TEXT), asking)

    _, asked = carry(discuss(Scripted(), rollout(TEXT), posed), lambda _: GOOD)

    assert asked == [posed]
