"""Model reviewers when things go wrong: every fault, over real sockets with the real SDKs."""

import asyncio
import email.utils
import json
import logging
import time
import traceback
from dataclasses import replace

import pytest

from dca.domain.errors import (
    CredentialError,
    DcaError,
    ReplyInvalid,
    ReplyTruncated,
    ReviewerRefused,
    ReviewError,
    ReviewerUnavailable,
)
from reviewers.calling import Calling
from reviewers.dialogue import NEXT_REPLY
from reviewers.responses import retry_after
from tests.provider_server import (
    KEY,
    Answer,
    ProviderServer,
    as_json,
    chat,
    message,
)
from tests.replies import step
from tests.reviewer_calls import (
    BOTH,
    GOOD,
    ROLLOUT,
    Dialect,
    ask,
    error,
    failure,
    reviewer,
    says,
    set_keys,
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    set_keys(monkeypatch)


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
@pytest.mark.parametrize("fault", ["reset", "half", "503"])
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
    assert retry_after(headers, now=1.8e9) == seconds


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


# How it ends, and whether it gets a repair turn.
ENDINGS: dict[str, tuple[Answer, Answer, type[ReviewError], str, int]] = {
    "cut": (chat(GOOD[:50], finish="length"), message(GOOD[:50], stop="max_tokens"),
            ReplyTruncated, GOOD[:50], 1),
    "cut but whole": (chat(GOOD, finish="length"),
                      message(GOOD, stop="model_context_window_exceeded"), ReplyTruncated, GOOD,
                      1),
    "refused": (chat(None, refusal="I must not."),
                message("", stop="refusal", explanation="I must not."), ReviewerRefused, "", 1),
    "filtered": (chat("", finish="content_filter"), message("", stop="refusal"),
                 ReviewerRefused, "", 1),
    "tool": (chat(None, finish="tool_calls"), message("", stop="pause_turn"), ReplyInvalid, "",
             1),
    "empty": (chat(""), message(""), ReplyInvalid, "", 2),
    "prose": (chat("All fine."), message("All fine."), ReplyInvalid, "All fine.", 2),
    "sorry": (chat("I'm sorry, I can't."), message("I'm sorry, I can't."), ReviewerRefused,
              "I'm sorry, I can't.", 1),
    "half": (chat(GOOD[:90]), message(GOOD[:90]), ReplyTruncated, GOOD[:90], 2),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_useless_reply_is_billed_and_kept_and_repaired_once_if_it_can_be(
    dialect, ending: str
) -> None:
    openai_says, anthropic_says, expected, raw, turns = ENDINGS[ending]

    caught, requests = failure(dialect, openai_says if dialect == "openai" else anthropic_says)

    assert type(caught) is expected
    assert isinstance(caught, ReviewError)
    assert caught.usage.output_tokens == 340 * turns
    said = "I must not." if (dialect, ending) == ("openai", "refused") else raw
    assert caught.raw == NEXT_REPLY.join([said] * turns)
    assert requests == turns


@BOTH
def test_the_repair_turn_shows_the_reply_and_its_error_and_both_replies_are_paid(
    dialect: Dialect,
) -> None:
    review, server = ask(dialect, says(dialect, "All fine."), says(dialect, GOOD))

    turns = [turn for turn in server.requests[1].body["messages"] if turn["role"] != "system"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == "All fine."
    assert "holds no JSON object" in turns[2]["content"]
    assert len(review.steps) == 2
    assert review.usage.output_tokens == 680
    assert review.raw == NEXT_REPLY.join(["All fine.", GOOD])


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


@BOTH
def test_a_text_without_a_character_costs_no_request(dialect: Dialect) -> None:
    blank = replace(ROLLOUT, completion=" \n ")

    async def main() -> int:
        async with (
            ProviderServer(says(dialect, GOOD)) as server,
            reviewer(dialect, server) as asked,
        ):
            with pytest.raises(ReplyInvalid, match="no text"):
                await asked.review(blank)
            return len(server.requests)

    assert asyncio.run(main()) == 0


@BOTH
def test_a_reply_that_quotes_the_key_is_kept_without_it(dialect) -> None:
    reply = json.dumps({"steps": [step(1, 1, 1)], "note": f"you sent {KEY}"})

    review, _ = ask(dialect, says(dialect, reply))

    assert KEY not in review.raw
    assert "you sent ***" in review.raw
