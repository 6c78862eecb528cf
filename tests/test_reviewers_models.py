"""Model reviewers: the real SDKs over real sockets against a server that speaks both dialects."""

import asyncio
import email.utils
import json
import logging
import time
import traceback
from typing import Any, Literal

import pytest

from dca.domain.errors import (
    ConfigError,
    CredentialError,
    DcaError,
    ReplyInvalid,
    ReplyTruncated,
    ReviewerRefused,
    ReviewError,
    ReviewerUnavailable,
)
from dca.domain.review import Blame, LinkKind, Review, Usage
from dca.domain.rollout import Message, Rollout
from dca.domain.spans import Span
from reviewers.anthropic_messages import AnthropicMessages
from reviewers.calling import Calling, Fault, status_fault
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.openai_chat import OpenAIChat
from reviewers.protocol import Reviewer, review_key
from reviewers.question import Asking
from reviewers.schema import ReplyProtocol
from tests.provider_server import (
    KEY,
    Answer,
    ProviderServer,
    as_json,
    chat,
    chat_error,
    message,
    message_error,
    until,
)

ROLLOUT = Rollout(
    "r1", "g1", "sum", (Message("user", "What is 2 + 3?"),), "2 + 3 = 6. So the answer is 6.", 0.0
)
STEPS = [
    {"n": 1, "first": 1, "last": 1, "reason": "2 + 3 is 5", "label": "harmful", "confidence": 0.9},
    {"n": 2, "first": 2, "last": 2, "reason": "uses it", "label": "idle", "confidence": 0.8},
]
GOOD = json.dumps(
    {
        "steps": STEPS,
        "links": [{"from": 1, "to": 2, "kind": "uses"}],
        "covered_first": 1,
        "covered_last": 2,
        "finding": "the first step is wrong",
        "blame": 1,
    }
)
USAGE = {"input_tokens": 1200, "output_tokens": 340, "reasoning_tokens": 200}

Dialect = Literal["openai", "anthropic"]
BOTH = pytest.mark.parametrize("dialect", ["openai", "anthropic"])
QUICK = Calling(timeout=5, attempts=3, backoff=0.001, max_wait=2)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the key that the server expects, and rivals that must never be sent."""
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another-service")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-another-service")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-another-service")


def reviewer(
    dialect: Dialect,
    server: ProviderServer,
    *,
    calling: Calling = QUICK,
    asking: Asking | None = None,
    key_env: str | None = "MY_KEY",
    how: ResponseFormat = ResponseFormat.JSON_SCHEMA,
) -> OpenAIChat | AnthropicMessages:
    if dialect == "openai":
        endpoint = Endpoint("tiny", f"{server.url}/v1", key_env, how)
        return OpenAIChat("a", endpoint, calling=calling, asking=asking)
    endpoint = Endpoint("tiny", server.url, key_env, how)
    return AnthropicMessages("a", endpoint, calling=calling, asking=asking)


def ask(dialect: Dialect, *plan: Answer, **options: Any) -> tuple[Review, ProviderServer]:
    async def main() -> tuple[Review, ProviderServer]:
        async with ProviderServer(*plan) as server, reviewer(dialect, server, **options) as asked:
            return await asked.review(ROLLOUT), server

    return asyncio.run(main())


def failure(dialect: Dialect, *plan: Answer, **options: Any) -> tuple[DcaError, int]:
    """Return the error that a review ends with, and the number of requests it took."""

    async def main() -> tuple[DcaError, int]:
        async with ProviderServer(*plan) as server, reviewer(dialect, server, **options) as asked:
            with pytest.raises(DcaError) as caught:
                await asked.review(ROLLOUT)
            return caught.value, len(server.requests)

    return asyncio.run(main())


def says(dialect: Dialect, text: str, ended: str = "complete") -> Answer:
    if dialect == "openai":
        return chat(text, finish={"complete": "stop", "cut": "length"}.get(ended, ended))
    return message(text, stop={"complete": "end_turn", "cut": "max_tokens"}.get(ended, ended))


def error(dialect: Dialect, status: int, words: str = "no", **headers: str) -> Answer:
    if dialect == "openai":
        return chat_error(status, words, **headers)
    return message_error(status, "api_error", words, **headers)


@BOTH
def test_a_review_comes_back_with_spans_usage_and_the_raw_reply(dialect: Dialect) -> None:
    review, server = ask(dialect, says(dialect, GOOD))

    assert [step.span for step in review.steps] == [Span(0, 10), Span(11, 30)]
    assert [(link.source, link.target, link.kind) for link in review.links] == [
        (0, 1, LinkKind.USES)
    ]
    assert review.blame == Blame(0)
    assert review.soundness is None
    assert review.covered == Span(0, 30)
    assert review.raw == GOOD
    seconds = review.usage.seconds
    assert seconds is not None
    assert 0 < seconds < 5
    cached = 1024 if dialect == "openai" else 1000
    tokens = USAGE | ({} if dialect == "openai" else {"input_tokens": 1160})
    assert review.usage == Usage(**tokens, cached_tokens=cached, seconds=seconds)
    assert len(server.requests) == 1


@BOTH
def test_the_key_of_a_review_is_that_of_the_reviewer(dialect: Dialect) -> None:
    async def main() -> None:
        plan = says(dialect, GOOD)
        async with ProviderServer(plan) as server, reviewer(dialect, server) as asked:
            typed: Reviewer = asked
            review = await typed.review(ROLLOUT)
            assert review.key == review_key(typed, ROLLOUT)
            assert review.key.prompt == asked.asking.prompt.digest
            assert review.key.label_set == "contribution-v1"

    asyncio.run(main())


def test_openai_is_asked_in_its_own_way() -> None:
    calling = Calling(temperature=0.0, effort="low", extra={"seed": 7}, max_tokens=900)
    _, server = ask("openai", chat(GOOD), calling=calling)
    request = server.requests[0]

    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "another-service" not in str(request.headers)
    assert "openai-organization" not in request.headers
    body = request.body
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert "[2] So the answer is 6." in body["messages"][1]["content"]
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["max_tokens"], "max_completion_tokens" in body) == (900, False)
    assert (body["temperature"], body["reasoning_effort"], body["seed"]) == (0.0, "low", 7)


def test_openai_itself_takes_the_newer_name_of_the_limit() -> None:
    async def main() -> dict[str, Any]:
        async with ProviderServer(chat(GOOD)) as server:
            endpoint = Endpoint("tiny", f"{server.url}/v1", "MY_KEY")
            async with OpenAIChat("a", endpoint, kind="openai") as asked:
                await asked.review(ROLLOUT)
            return server.requests[0].body

    body = asyncio.run(main())
    assert (body["max_completion_tokens"], "max_tokens" in body) == (16_000, False)
    assert "temperature" not in body


def test_anthropic_is_asked_in_its_own_way() -> None:
    calling = Calling(temperature=0.5, effort="high", extra={"top_k": 5}, max_tokens=64_000)
    _, server = ask("anthropic", message(GOOD), calling=calling)
    request = server.requests[0]

    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "another-service" not in str(request.headers)
    body = request.body
    assert body["output_config"]["effort"] == "high"
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert (body["max_tokens"], body["temperature"], body["top_k"]) == (64_000, 0.5, 5)
    assert body["system"].startswith("You review the written reasoning")
    assert [turn["role"] for turn in body["messages"]] == ["user"]


@BOTH
@pytest.mark.parametrize("how", [ResponseFormat.NONE, ResponseFormat.JSON_OBJECT])
def test_a_server_that_knows_no_schema_is_asked_without(dialect: Dialect, how) -> None:
    if dialect == "anthropic" and how is ResponseFormat.JSON_OBJECT:
        with pytest.raises(ConfigError, match="json_object"):
            AnthropicMessages("a", Endpoint("m", "http://x", None, how))
        return
    fenced = f"Sure! Here it is:\n```json\n{GOOD}\n```"
    review, server = ask(dialect, says(dialect, fenced), how=how)

    body = server.requests[0].body
    assert body.get("response_format") == (
        {"type": "json_object"} if how is ResponseFormat.JSON_OBJECT else None
    )
    assert "output_config" not in body
    assert len(review.steps) == 2
    assert review.raw == fenced


@BOTH
def test_quotes_are_asked_for_and_read(dialect: Dialect) -> None:
    steps = [{"n": 1, "quote": "the answer is 6", "reason": "", "label": "harmful"}]
    reply = json.dumps({"steps": steps, "links": [], "covered": True, "blame": 1})
    asking = Asking(protocol=ReplyProtocol.QUOTES)

    review, server = ask(dialect, says(dialect, reply), asking=asking)

    assert review.steps[0].span == Span(14, 29)
    assert (
        "\n2 + 3 = 6. So the answer is 6.\n"
        in json.loads(json.dumps(server.requests[0].body))["messages"][-1]["content"]
    )


@BOTH
def test_a_server_of_ones_own_needs_no_key_and_gets_no_other(dialect: Dialect) -> None:
    _, server = ask(dialect, says(dialect, GOOD), key_env=None)

    headers = server.requests[0].headers
    assert "another-service" not in str(headers)
    assert KEY not in str(headers)


FAULTS = {
    "reset": lambda dialect: Answer(fault="reset"),
    "cut": lambda dialect: Answer(200, b'{"id"', {"content-type": "application/json"}, "cut"),
    "half": lambda dialect: Answer(200, b'{"id": "x', {"content-type": "application/json"}),
    "408": lambda dialect: error(dialect, 408),
    "409": lambda dialect: error(dialect, 409),
    "429": lambda dialect: error(dialect, 429),
    "500": lambda dialect: error(dialect, 500),
    "503": lambda dialect: Answer(503, b"<html>busy</html>", {"content-type": "text/html"}),
    "529": lambda dialect: error(dialect, 529, "overloaded_error"),
    "told": lambda dialect: error(dialect, 400, x_should_retry="true"),
}


@BOTH
@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_asked_again_and_heals(dialect: Dialect, fault: str) -> None:
    review, server = ask(
        dialect, FAULTS[fault](dialect), FAULTS[fault](dialect), says(dialect, GOOD)
    )

    assert len(review.steps) == 2
    assert len(server.requests) == 3


@BOTH
@pytest.mark.parametrize("fault", ["reset", "half", "429", "503"])
def test_a_lasting_fault_is_given_up_after_the_last_attempt(dialect: Dialect, fault: str) -> None:
    caught, requests = failure(dialect, FAULTS[fault](dialect))

    assert isinstance(caught, ReviewerUnavailable)
    assert str(caught).startswith("a: ")
    assert requests == 3


@BOTH
@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_server_that_hangs_or_drips_is_timed_out_as_a_whole(
    dialect: Dialect, fault: str
) -> None:
    slow = Answer(200, says(dialect, GOOD).body, {"content-type": "application/json"}, fault)
    calling = Calling(timeout=0.2, attempts=2, backoff=0.001)

    caught, requests = failure(dialect, slow, calling=calling)

    assert isinstance(caught, ReviewerUnavailable)
    assert "no answer within 0.2 s" in str(caught)
    assert requests == 2


def test_a_server_that_is_not_there_is_unavailable() -> None:
    async def main() -> None:
        async with ProviderServer(chat(GOOD)) as server:
            gone = server
        for dialect in ("openai", "anthropic"):
            async with reviewer(dialect, gone) as asked:
                with pytest.raises(ReviewerUnavailable):
                    await asked.review(ROLLOUT)

    asyncio.run(main())


@BOTH
@pytest.mark.parametrize(
    ("status", "words"),
    [(400, "bad schema"), (402, "billing_error"), (404, "no such model"), (422, "bad field")],
)
def test_a_lasting_refusal_of_the_request_is_not_asked_again(dialect, status, words) -> None:
    caught, requests = failure(dialect, error(dialect, status, words))

    assert isinstance(caught, ReviewerUnavailable)
    assert f"HTTP {status}" in str(caught)
    assert words in str(caught)
    assert requests == 1


@BOTH
def test_an_empty_account_is_not_asked_again(dialect: Dialect) -> None:
    words = "You exceeded your current quota, please check your plan and billing details."

    caught, requests = failure(dialect, error(dialect, 429, words, x_should_retry="true"))

    assert isinstance(caught, ReviewerUnavailable)
    assert requests == 1


@BOTH
def test_the_server_may_forbid_asking_again(dialect: Dialect) -> None:
    _, requests = failure(dialect, error(dialect, 500, x_should_retry="false"))

    assert requests == 1


@BOTH
@pytest.mark.parametrize("header", ["retry_after_ms", "retry_after", "date"])
def test_retry_after_is_a_floor_of_the_wait(dialect: Dialect, header: str) -> None:
    value = {"retry_after_ms": "300", "retry_after": "0.3"}.get(header, "")
    name = header
    if header == "date":
        name, value = "retry_after", email.utils.formatdate(time.time() + 2, usegmt=True)
    begun = time.monotonic()

    ask(dialect, error(dialect, 429, **{name: value}), says(dialect, GOOD))

    assert time.monotonic() - begun >= 0.3


@BOTH
def test_a_server_that_asks_for_too_long_a_wait_is_given_up(dialect: Dialect) -> None:
    begun = time.monotonic()

    caught, requests = failure(dialect, error(dialect, 429, "later", retry_after="3600"))

    assert isinstance(caught, ReviewerUnavailable)
    assert requests == 1
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after-ms": "x", "retry-after": "7"}, 7),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_odd_retry_headers_are_read_without_harm(headers, seconds: float) -> None:
    assert status_fault(429, headers, "", secret="").retry_after == seconds


@BOTH
@pytest.mark.parametrize(
    "page",
    [
        Answer(200, b"<html>login</html>", {"content-type": "text/html"}),
        as_json(200, {"error": {"message": "model overloaded", "code": 502}}),
        as_json(200, {"choices": "none", "content": "none"}),
        Answer(200, b"", {}),
    ],
)
def test_a_page_that_is_no_reply_is_not_asked_for_again(dialect: Dialect, page: Answer) -> None:
    caught, requests = failure(dialect, page)

    assert isinstance(caught, ReviewerUnavailable)
    assert "is base_url right?" in str(caught)
    assert caught.raw == page.body.decode()
    assert requests == 1


ENDINGS: dict[str, tuple[Answer, Answer, type[ReviewError], str]] = {
    "cut": (chat(GOOD[:50], finish="length"), message(GOOD[:50], stop="max_tokens"),
            ReplyTruncated, GOOD[:50]),
    "cut but whole": (chat(GOOD, finish="length"),
                      message(GOOD, stop="model_context_window_exceeded"), ReplyTruncated, GOOD),
    "refused": (chat(None, refusal="I must not."),
                message("", stop="refusal", explanation="I must not."), ReviewerRefused, ""),
    "filtered": (chat("", finish="content_filter"), message("", stop="refusal"),
                 ReviewerRefused, ""),
    "tool": (chat(None, finish="tool_calls"), message("", stop="pause_turn"), ReplyInvalid, ""),
    "empty": (chat(""), message(""), ReplyInvalid, ""),
    "prose": (chat("All fine."), message("All fine."), ReplyInvalid, "All fine."),
    "sorry": (chat("I'm sorry, I can't."), message("I'm sorry, I can't."), ReviewerRefused,
              "I'm sorry, I can't."),
    "half": (chat(GOOD[:90]), message(GOOD[:90]), ReplyTruncated, GOOD[:90]),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_useless_reply_is_billed_kept_and_not_asked_for_again(dialect, ending: str) -> None:
    openai_says, anthropic_says, expected, raw = ENDINGS[ending]

    caught, requests = failure(dialect, openai_says if dialect == "openai" else anthropic_says)

    assert type(caught) is expected
    assert isinstance(caught, ReviewError)
    assert caught.usage.output_tokens == 340
    assert caught.raw == ("I must not." if (dialect, ending) == ("openai", "refused") else raw)
    assert requests == 1


def test_no_choices_and_no_usage_are_an_invalid_reply_of_unknown_cost() -> None:
    caught, _ = failure("openai", as_json(200, {"choices": []}))

    assert isinstance(caught, ReplyInvalid)
    assert caught.usage.input_tokens is None
    bare = {"content": [{"type": "text", "text": GOOD}]}
    review, _ = ask("anthropic", as_json(200, bare))
    assert review.usage.input_tokens is None
    bare = {"choices": [{"message": {"content": GOOD}}], "usage": {"prompt_tokens": 5}}
    review, _ = ask("openai", as_json(200, bare))
    assert (review.usage.input_tokens, review.usage.reasoning_tokens) == (5, None)


@BOTH
def test_a_refused_key_stops_the_run_and_is_named_only_by_its_variable(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-wrong-0123456789")

    caught, requests = failure(dialect, says(dialect, GOOD))

    assert isinstance(caught, CredentialError)
    assert not isinstance(caught, ReviewError)
    assert "sk-wrong" not in "".join(traceback.format_exception(caught))
    assert requests == 1


@BOTH
def test_a_missing_key_is_named_before_anything_is_asked(dialect, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "  ")

    async def main() -> int:
        async with ProviderServer(says(dialect, GOOD)) as server:
            with pytest.raises(CredentialError, match="MY_KEY is not set"):
                async with reviewer(dialect, server):
                    pass
            return len(server.requests)

    assert asyncio.run(main()) == 0


@BOTH
def test_the_key_shows_nowhere(dialect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> tuple[str, DcaError]:
        plan = error(dialect, 500, f"you sent {KEY}")
        async with ProviderServer(plan) as server, reviewer(dialect, server) as asked:
            with pytest.raises(ReviewerUnavailable) as caught:
                await asked.review(ROLLOUT)
            return repr(asked) + repr(asked.info) + repr(asked.calling), caught.value

    shown, caught = asyncio.run(main())
    trace = "".join(traceback.format_exception(caught))
    assert "you sent ***" in str(caught)
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith("reviewers")
    ]
    assert all(KEY not in text for text in (shown, trace, str(caught), *ours))


def test_what_changes_answers_changes_the_digest_and_nothing_else_does() -> None:
    def digest(dialect: type = OpenAIChat, endpoint: Endpoint | None = None, **more: Any) -> str:
        return dialect("a", endpoint or Endpoint("m", "http://x/v1"), **more).info.digest

    same = digest()
    assert digest(endpoint=Endpoint("m", "http://elsewhere/v1", "SOME_KEY")) == same
    assert digest(calling=Calling(timeout=1, attempts=9, backoff=3, max_wait=4)) == same
    others = [
        digest(endpoint=Endpoint("n", "http://x/v1")),
        digest(endpoint=Endpoint("m", "http://x/v1", None, ResponseFormat.NONE)),
        digest(calling=Calling(temperature=0.3)),
        digest(calling=Calling(max_tokens=1)),
        digest(calling=Calling(extra={"top_p": 0.9})),
        digest(asking=Asking(blind=True)),
        digest(asking=Asking(success_at=1)),
        digest(asking=Asking(protocol=ReplyProtocol.QUOTES)),
        digest(AnthropicMessages),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_families_follow_from_the_provider_unless_they_are_given() -> None:
    key_only = Endpoint("gpt", None, "MY_KEY")
    local = Endpoint("qwen", "http://x/v1")

    assert OpenAIChat("a", key_only).info.family == "openai"
    assert OpenAIChat("a", key_only).info.kind == "openai"
    assert OpenAIChat("a", local).info.family == "qwen"
    assert OpenAIChat("a", local).info.kind == "openai-compatible"
    assert OpenAIChat("a", local, family="alibaba").info.family == "alibaba"
    assert AnthropicMessages("a", key_only).info.family == "anthropic"


def test_an_endpoint_without_address_and_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="api_key_env"):
        Endpoint("m")


@BOTH
def test_cancelling_a_review_closes_it_at_once(dialect: Dialect) -> None:
    async def main() -> float:
        plan = Answer(fault="hang")
        async with ProviderServer(plan) as server, reviewer(dialect, server) as asked:
            task = asyncio.create_task(asked.review(ROLLOUT))
            await until(lambda: server.open == 1)
            begun = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.monotonic() - begun

    assert asyncio.run(main()) < 1


@pytest.mark.parametrize("kind", [OpenAIChat, AnthropicMessages])
def test_a_reviewer_that_was_never_asked_closes_quietly(kind) -> None:
    async def main() -> None:
        asked = kind("a", Endpoint("m", "http://x/v1"))
        await asked.__aexit__(None, None, None)

    asyncio.run(main())


def test_a_fault_names_the_reviewer() -> None:
    caught = Fault("HTTP 500: no", 500).error("bob")

    assert str(caught) == "bob: HTTP 500: no"
