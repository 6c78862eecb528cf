import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import Served, on_thread
from benchmarks.fault_server.settings import Settings
from dca.domain.errors import ReplyInvalid, ReplyTruncated, ReviewerRefused
from tests.fault_questions import (
    QUOTES,
    anthropic_client,
    chat_body,
    message_body,
    openai_client,
    read,
    response_body,
    story,
)


def always(fault: Fault) -> Settings:
    return Settings(Plan(rates=Rates({fault: 1.0}), median_s=0), huge_bytes=20 << 20, drip_s=0.05)


def chat_outcome(server: Served) -> tuple[str, str | None]:
    """Return how one chat request ends: the error's name or the finish reason, and the text."""
    try:
        choice = openai_client(server).chat.completions.create(**chat_body(story())).choices[0]
    except (openai.OpenAIError, ValueError) as error:
        return f"{type(error).__name__} {getattr(error, 'status_code', '')}".strip(), None
    return choice.finish_reason, choice.message.content or choice.message.refusal


def message_outcome(server: Served) -> tuple[str, str | None]:
    """Return the same of one message."""
    try:
        said = anthropic_client(server).messages.create(**message_body(story()))
    except (anthropic.AnthropicError, ValueError) as error:
        return f"{type(error).__name__} {getattr(error, 'status_code', '')}".strip(), None
    texts = [block.text for block in said.content if block.type == "text"]
    return str(said.stop_reason), "".join(texts)


STATUSES = [
    (Fault.SERVER_ERROR, "InternalServerError 500", "InternalServerError 500"),
    (Fault.OVERLOADED, "InternalServerError 503", "OverloadedError 529"),
    (Fault.LIMITED, "RateLimitError 429", "RateLimitError 429"),
    (Fault.LIMITED_BARE, "RateLimitError 429", "RateLimitError 429"),
    (Fault.RESET, "APIConnectionError", "APIConnectionError"),
]


@pytest.mark.parametrize(("fault", "by_openai", "by_anthropic"), STATUSES)
def test_faults_that_the_sdks_name(fault: Fault, by_openai: str, by_anthropic: str):
    with on_thread(always(fault)) as server:
        assert chat_outcome(server) == (by_openai, None)
        assert message_outcome(server) == (by_anthropic, None)
        assert server.ledger.faults == {fault: 2}
        assert server.ledger.totals.paid == 0


CONTENTS = [
    (Fault.CUT_JSON, "stop", "end_turn", ReplyTruncated),
    (Fault.BAD_SCHEMA, "stop", "end_turn", ReplyInvalid),
    (Fault.BAD_UNITS, "stop", "end_turn", ReplyInvalid),
    (Fault.LENGTH, "length", "max_tokens", ReplyTruncated),
    (Fault.REFUSAL_PROSE, "stop", "end_turn", ReviewerRefused),
    (Fault.REFUSAL, "stop", "refusal", ReviewerRefused),
    (Fault.CONTENT_FILTER, "content_filter", "refusal", ReviewerRefused),
    (Fault.FENCED, "stop", "end_turn", None),
]


@pytest.mark.parametrize(("fault", "finish", "stop", "error"), CONTENTS)
def test_faults_of_the_reply_are_paid_and_told_apart_by_the_parser(
    fault: Fault, finish: str, stop: str, error: type[Exception] | None
):
    with on_thread(always(fault)) as server:
        outcomes = chat_outcome(server), message_outcome(server)
        assert [how for how, _ in outcomes] == [finish, stop]
        for how, reply in outcomes:
            if how == "refusal":
                assert reply == ""
            elif error is None:
                assert read(reply, story()).steps
                assert str(reply).startswith("```json")
            else:
                with pytest.raises(error):
                    read(reply, story())
        assert server.ledger.totals.paid == 2
        assert server.ledger.totals.valid == (1 if error is None else 0) * 2


def test_a_misplaced_quote_stands_nowhere():
    with on_thread(always(Fault.BAD_UNITS)) as server:
        said = openai_client(server).chat.completions.create(**chat_body(story(), QUOTES))
    with pytest.raises(ReplyInvalid, match="no step can be placed"):
        read(said.choices[0].message.content, story(), QUOTES)


def test_responses_tell_refusals_and_stops_in_their_own_fields():
    found = {}
    for fault in (Fault.REFUSAL, Fault.CONTENT_FILTER, Fault.LENGTH):
        with on_thread(always(fault)) as server:
            said = openai_client(server).responses.create(**response_body(story()))
        details = said.incomplete_details
        found[fault] = said.status, details.reason if details else None, said.output[0].type
    assert found == {
        Fault.REFUSAL: ("completed", None, "message"),
        Fault.CONTENT_FILTER: ("incomplete", "content_filter", "message"),
        Fault.LENGTH: ("incomplete", "max_output_tokens", "message"),
    }


async def post(server: Served, seconds: float = 5.0) -> tuple[int, Any, bytes]:
    """Send one chat request without following redirects; return status, headers and body."""
    limit = aiohttp.ClientTimeout(total=seconds)
    async with (
        aiohttp.ClientSession(timeout=limit, headers={"authorization": "Bearer sk-one"}) as http,
        http.post(
            f"{server.url}/v1/chat/completions",
            json=chat_body(story()),
            allow_redirects=False,
        ) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


def test_a_cut_body_breaks_off_before_the_length_that_it_promised():
    with (
        on_thread(always(Fault.CUT_BODY)) as server,
        pytest.raises(aiohttp.ClientPayloadError, match="Not enough data"),
    ):
        asyncio.run(post(server))


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_hangs_and_drips_end_when_the_client_gives_up(fault: Fault):
    with on_thread(always(fault)) as server:
        with pytest.raises(TimeoutError):
            asyncio.run(post(server, 0.2))
        until(lambda: server.ledger.open == 0)
        assert (server.ledger.totals.abandoned, server.ledger.totals.paid) == (1, 0)


def until(condition: Callable[[], object]) -> None:
    """Wait until the server's thread has come so far, 5 s at most."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_page_in_html_has_status_200():
    with on_thread(always(Fault.HTML)) as server:
        status, headers, body = asyncio.run(post(server))
    assert (status, headers["content-type"], body[:15]) == (200, "text/html", b"<!doctype html>")


def test_a_huge_body_is_sent_whole():
    with on_thread(always(Fault.HUGE)) as server:
        status, headers, body = asyncio.run(post(server))
    assert status == 200
    assert len(body) == int(headers["content-length"]) > 20 << 20


def test_redirects_point_to_another_path_and_to_another_host():
    with on_thread(always(Fault.REDIRECT)) as server:
        status, headers, _ = asyncio.run(post(server))
        assert (status, headers["location"]) == (301, "/moved/v1/chat/completions")
    with on_thread(always(Fault.REDIRECT_AWAY)) as server:
        status, headers, _ = asyncio.run(post(server))
        port = server.port
        assert status == 307
        assert headers["location"] == f"http://localhost:{port}/away/v1/chat/completions"


def test_the_ledger_tells_who_followed_a_redirect_and_who_showed_the_key():
    with on_thread(always(Fault.REDIRECT_AWAY)) as server:
        assert chat_outcome(server) == ("NotFoundError 404", None)
        # Anthropic's key travels in a header that its transport does not know as a secret.
        assert message_outcome(server) == ("NotFoundError 404", None)
        assert server.ledger.totals.redirects_followed == 2
        assert server.ledger.totals.keys_leaked == 0


def test_waiting_times_are_real_and_requests_overlap():
    with on_thread(Settings(Plan(median_s=0.15, sigma=0))) as server:
        begun = time.monotonic()

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(post(server))
                group.create_task(post(server))

        asyncio.run(both())
        assert 0.15 <= time.monotonic() - begun < 0.4
        assert server.ledger.totals.peak == 2
