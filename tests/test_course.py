"""Dialogues that are picked up again, and the lines of requests and results."""

import json

import msgspec
import pytest

from dca.domain.errors import ReviewerUnavailable
from dca.domain.review import Abstention, AbstentionKind, Review, Usage
from reviewers.batches.lines import (
    CustomId,
    Result,
    outcome_of,
    read_id,
    read_result,
    request_line,
    without,
)
from reviewers.course import Course
from reviewers.dialects.anthropic_messages import AnthropicMessages
from reviewers.dialects.openai_chat import OpenAIChat
from reviewers.dialects.openai_responses import OpenAIResponses
from reviewers.endpoint import Endpoint
from reviewers.exchange import Cause, Ended, Fault, Reply
from reviewers.models import openai_reviewer
from reviewers.schema import reply_example
from tests.command_line import plain_rollouts

(ROLLOUT,) = plain_rollouts(1)
MODEL = openai_reviewer("a", Endpoint("tiny", "http://127.0.0.1:1/v1"))
SHOWN = "sk-shown-1"
DIALOGUE = "0123456789abcdef0123"
CHAT = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}


def said(text):
    return Reply(text, Ended.COMPLETE, "stop", Usage(input_tokens=10, output_tokens=2))


def begin():
    return Course(MODEL.dialogue([ROLLOUT]))


def good(course):
    example = reply_example(course.question.form)
    step = {**example["steps"][0], "first": 1, "last": 1}
    return json.dumps({**example, "steps": [step], "links": [], "covered_last": 1})


def test_a_dialogue_goes_from_question_to_question_to_its_answers():
    course = begin()
    assert (course.turn, course.ended, course.question.flaw) == (1, False, "")

    course.hear(said("no JSON"))
    assert (course.turn, course.ended) == (2, False)
    assert course.question.flaw
    course.hear(said(good(course)))

    assert course.ended
    (review,) = course.answers
    assert isinstance(review, Review)
    assert review.usage.input_tokens == 20
    with pytest.raises(AssertionError):
        _ = course.question


def test_a_dialogue_that_ends_at_a_repair_turn_says_what_was_wrong():
    course = begin()
    course.hear(said("no JSON"))
    flaw = course.question.flaw

    (answer,) = course.end("nobody asks")

    assert isinstance(answer, Abstention)
    assert (answer.kind, answer.reason) == (AbstentionKind.INVALID, flaw)
    assert answer.usage.input_tokens == 10


def test_a_dialogue_that_ends_before_any_reply_says_why():
    (answer,) = begin().end("nobody asks")

    assert (answer.kind, answer.reason) == (AbstentionKind.UNAVAILABLE, "nobody asks")


def test_a_dialogue_that_ended_stays_as_it_is():
    course = begin()
    course.fail(ReviewerUnavailable("gone"))

    assert course.end("again") == course.answers
    assert course.answers[0].reason == "gone"


def test_an_error_of_a_reply_that_broke_off_is_a_flaw_too():
    course = begin()
    course.hear(said('{"steps": [{"fir'))
    assert course.question.flaw


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{DIALOGUE}-1", CustomId(DIALOGUE, 1)),
        (f"{DIALOGUE}-12-abcdef012345", CustomId(DIALOGUE, 12, "abcdef012345")),
        (f"{DIALOGUE}-0", None),
        (f"{DIALOGUE}", None),
        (f"{DIALOGUE}-1-", None),
        (f" {DIALOGUE}-1", None),
        ("item-7", None),
        ("", None),
    ],
)
def test_a_custom_id_reads_back_as_it_is_written(text, found):
    assert read_id(text) == found
    assert found is None or str(found) == text


def test_requests_are_written_as_each_provider_takes_them():
    body = b'{"model":"tiny"}'
    custom_id = CustomId(DIALOGUE, 1, "ab")
    lines = [
        json.loads(request_line(dialect, custom_id, body))
        for dialect in (OpenAIChat(), OpenAIResponses(), AnthropicMessages())
    ]
    name, model = f"{DIALOGUE}-1-ab", {"model": "tiny"}
    assert lines == [
        {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": model},
        {"custom_id": name, "method": "POST", "url": "/v1/responses", "body": model},
        {"custom_id": name, "params": model},
    ]


BODY = json.dumps(CHAT).encode()


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (
            {"response": {"status_code": 200, "request_id": "r", "body": CHAT}, "error": None},
            Result("x", BODY),
        ),
        (
            {"response": {"status_code": 500, "body": {"error": 1}}},
            Result("x", b'{"error": 1}', 500),
        ),
        ({"response": CHAT}, Result("x", BODY)),
        ({"body": CHAT}, Result("x", BODY)),
        (
            {"response": None, "error": {"code": "batch_expired", "message": "late"}},
            Result("x", b"", 0, "batch_expired: late"),
        ),
        ({"error": {"message": ""}}, Result("x", b"", 0, "no words")),
        (
            {"error": {"code": "batch_cancelled", "message": "m"}},
            Result("x", b"", 0, "batch_cancelled: m", withdrawn=True),
        ),
        ({"result": {"type": "succeeded", "message": CHAT}}, Result("x", BODY)),
        (
            {"result": {"type": "errored", "error": {"error": {"type": "overloaded_error"}}}},
            Result("x", b'{"error": {"type": "overloaded_error"}}', 529),
        ),
        ({"result": {"type": "errored", "error": {}}}, Result("x", b"{}", 500)),
        ({"result": {"type": "expired"}}, Result("x", b"", 0, "expired")),
        ({"result": {"type": "canceled"}}, Result("x", b"", 0, "canceled", withdrawn=True)),
    ],
)
def test_results_of_every_form_are_read(line, result):
    assert read_result(json.dumps({"custom_id": "x", **line}).encode()) == result


def test_a_bare_body_carries_its_custom_id_among_its_fields():
    line = json.dumps({"custom_id": "x", **CHAT}).encode()

    outcome = outcome_of(read_result(line), OpenAIChat(), secret="")

    assert isinstance(outcome, Reply)
    assert outcome.text == "yes"


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"custom_id": 3}', b"{}"])
def test_what_names_no_request_is_no_result(line):
    with pytest.raises(msgspec.MsgspecError):
        read_result(line)


@pytest.mark.parametrize(
    ("result", "cause", "words"),
    [
        (Result("x", b"", 0, "expired"), Cause.OVERLOAD, "expired"),
        (Result("x", b'{"error":"sk-shown-1"}', 500), Cause.OVERLOAD, 'HTTP 500: {"error":"***"}'),
        (Result("x", b"{}", 400), Cause.REQUEST, "HTTP 400: {}"),
        (Result("x", b'{"a":1}'), Cause.STRANGE, "no reply in the words of openai-chat"),
        (Result("x", b"\xff"), Cause.STRANGE, "no reply in the words of openai-chat"),
    ],
)
def test_a_result_without_a_reply_is_a_fault(result, cause, words):
    outcome = outcome_of(result, OpenAIChat(), secret=SHOWN)

    assert isinstance(outcome, Fault)
    assert (outcome.cause, outcome.message) == (cause, words)


def test_no_key_gets_into_what_is_kept():
    assert without(b'{"text":"my sk-shown-1 is"}', SHOWN) == b'{"text":"my *** is"}'
    assert without(b"sk-shown-1", "") == b"sk-shown-1"
