"""From a response to a reply or a fault, for every status and both dialects."""

import pytest

from dca.domain.review import Usage
from reviewers.dialects.anthropic_messages import AnthropicMessages
from reviewers.dialects.openai_chat import OpenAIChat
from reviewers.dialects.openai_responses import OpenAIResponses
from reviewers.exchange import RETRIED, Cause, Ended, Fault, Reply
from reviewers.responses import judge, redact, retry_after
from reviewers.wire import Response

NOW = 1_700_000_000.0
KEY = "sk-secret-0123456789"


def verdict(status: int, body: bytes = b"{}", **headers: str) -> Reply | Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(Response(status, named, body), OpenAIChat(), secret=KEY, now=NOW)


CAUSES = {
    301: Cause.STRANGE,
    400: Cause.REQUEST,
    401: Cause.KEY,
    402: Cause.QUOTA,
    403: Cause.KEY,
    404: Cause.REQUEST,
    408: Cause.OVERLOAD,
    409: Cause.OVERLOAD,
    413: Cause.REQUEST,
    422: Cause.REQUEST,
    425: Cause.OVERLOAD,
    429: Cause.LIMIT,
    500: Cause.OVERLOAD,
    503: Cause.OVERLOAD,
    529: Cause.OVERLOAD,
}


@pytest.mark.parametrize("status", CAUSES)
def test_every_status_has_its_cause(status: int) -> None:
    fault = verdict(status, b'{"error": "words"}')

    assert isinstance(fault, Fault)
    assert (fault.cause, fault.status) == (CAUSES[status], status)
    assert fault.retried == (CAUSES[status] in RETRIED)
    # A provider charges for replies only.
    assert not fault.perhaps_paid


@pytest.mark.parametrize(
    "words",
    [
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "Your credit balance is too low to access the API.",
    ],
)
def test_an_empty_account_is_told_from_a_rate_limit(words: str) -> None:
    for status in (400, 429):
        fault = verdict(status, words.encode(), x_should_retry="true")
        assert isinstance(fault, Fault)
        assert fault.cause is Cause.QUOTA


def test_the_server_may_say_whether_to_ask_again() -> None:
    told = {
        (status, asked): verdict(status, x_should_retry=asked)
        for status in (400, 429, 500)
        for asked in ("true", "false")
    }
    retried = {key: fault.retried for key, fault in told.items() if isinstance(fault, Fault)}

    assert retried == {(status, asked): asked == "true" for status, asked in told}


def test_a_refused_key_is_told_without_a_word_of_the_answer() -> None:
    fault = verdict(401, f"Incorrect API key provided: {KEY[:9]}".encode())

    assert isinstance(fault, Fault)
    assert fault.message == "the endpoint refused the key (HTTP 401)"
    assert fault.raw == ""


def test_a_body_that_breaks_off_is_asked_for_again_and_another_page_is_not() -> None:
    cut = verdict(200, b'{"choices": [', content_type="application/json")
    page = verdict(200, b"<html>log in</html>", content_type="text/html")
    other = verdict(200, b'{"hello": 1}', content_type="application/json")
    garbage = verdict(200, b"\xff\xfe{}", content_type="application/json")

    assert isinstance(cut, Fault)
    assert (cut.cause, cut.perhaps_paid) == (Cause.TRANSPORT, True)
    for fault in (page, other, garbage):
        assert isinstance(fault, Fault)
        assert fault.cause is Cause.STRANGE
        assert "is base_url right?" in fault.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "-3"}, 0),
        ({}, 0),
    ],
)
def test_the_wait_that_is_asked_for_is_read(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, NOW) == seconds


def test_no_secret_survives_and_words_are_short() -> None:
    assert redact(f"a\n{KEY}\x00b", KEY) == "a *** b"
    assert len(redact(b"w" * 1000, "")) == 300
    assert redact("as it is", "") == "as it is"


RESPONSES = (
    b'{"status": "%b", "output": [{"type": "reasoning"}, {"type": "message", "content":'
    b' [{"type": "output_text", "text": "Hel"}, {"type": "output_text", "text": "lo"}]}],'
    b'"usage": {"input_tokens": 9, "output_tokens": 5, "input_tokens_details":'
    b' {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 3}}%b}'
)


def test_a_reply_of_the_responses_api_is_read_with_its_hidden_reasoning() -> None:
    dialect = OpenAIResponses()
    why = b', "incomplete_details": {"reason": "%b"}'

    whole = dialect.decode(RESPONSES % (b"completed", b""))
    cut = dialect.decode(RESPONSES % (b"incomplete", why % b"max_output_tokens"))
    filtered = dialect.decode(RESPONSES % (b"incomplete", why % b"content_filter"))
    failed = dialect.decode(RESPONSES % (b"failed", b', "error": {"message": "no"}'))

    assert whole == Reply("Hello", Ended.COMPLETE, "completed", Usage(9, 5, 3, 4))
    assert (cut.ended, cut.detail) == (Ended.TRUNCATED, "max_output_tokens")
    assert filtered.ended is Ended.REFUSED
    assert (failed.ended, failed.detail) == (Ended.OTHER, "no")


def test_a_refusal_of_the_responses_api_is_one() -> None:
    body = b'{"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}'

    reply = OpenAIResponses().decode(body)

    assert (reply.ended, reply.detail) == (Ended.REFUSED, "No.")
    assert reply.usage == Usage()
    assert OpenAIResponses().decode(b'{"output": []}').detail == "no status"


def test_what_anthropic_writes_to_its_cache_is_counted_as_input_too() -> None:
    body = (
        b'{"content": [{"type": "thinking"}, {"type": "text", "text": "hi"}], "stop_reason":'
        b' "end_turn", "usage": {"input_tokens": 3, "cache_creation_input_tokens": 20,'
        b' "cache_read_input_tokens": 100, "output_tokens": 7}}'
    )

    usage = AnthropicMessages().decode(body).usage

    assert usage == Usage(123, 7, None, 100, cache_write_tokens=20)
