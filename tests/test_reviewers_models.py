"""Model reviewers: the real SDKs over real sockets against a server that speaks both dialects."""

import asyncio
import json
import time
from typing import Any

import pytest

from dca.domain.errors import (
    ConfigError,
)
from dca.domain.review import Blame, LinkKind, Usage
from dca.domain.spans import Span
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.models import anthropic_reviewer, openai_reviewer
from reviewers.protocol import Reviewer, review_key
from reviewers.question import Asking
from reviewers.schema import ReplyProtocol
from tests.provider_server import (
    KEY,
    Answer,
    ProviderServer,
    chat,
    message,
    until,
)
from tests.reviewer_calls import (
    BOTH,
    GOOD,
    ROLLOUT,
    Dialect,
    ask,
    reviewer,
    says,
    set_keys,
)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    set_keys(monkeypatch)


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
    read = 1200 if dialect == "openai" else 1160
    assert review.usage == Usage(
        read, 340, 200, cached, seconds, 60 if dialect == "anthropic" else None
    )
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
            async with openai_reviewer("a", endpoint, kind="openai") as asked:
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
    assert body["system"][0]["text"].startswith("You review the written reasoning")
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert [turn["role"] for turn in body["messages"]] == ["user"]


@BOTH
@pytest.mark.parametrize("how", [ResponseFormat.NONE, ResponseFormat.JSON_OBJECT])
def test_a_server_that_knows_no_schema_is_asked_without(dialect: Dialect, how) -> None:
    if dialect == "anthropic" and how is ResponseFormat.JSON_OBJECT:
        with pytest.raises(ConfigError, match="json_object"):
            anthropic_reviewer("a", Endpoint("m", "http://x", None, how))
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


def test_what_changes_answers_changes_the_digest_and_nothing_else_does() -> None:
    def digest(
        dialect: Any = openai_reviewer, endpoint: Endpoint | None = None, **more: Any
    ) -> str:
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
        digest(anthropic_reviewer),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_families_follow_from_the_provider_unless_they_are_given() -> None:
    key_only = Endpoint("gpt", None, "MY_KEY")
    local = Endpoint("qwen", "http://x/v1")

    assert openai_reviewer("a", key_only).info.family == "openai"
    assert openai_reviewer("a", key_only).info.kind == "openai"
    assert openai_reviewer("a", local).info.family == "qwen"
    assert openai_reviewer("a", local).info.kind == "openai-compatible"
    assert openai_reviewer("a", local, family="alibaba").info.family == "alibaba"
    assert anthropic_reviewer("a", key_only).info.family == "anthropic"


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


@pytest.mark.parametrize("kind", [openai_reviewer, anthropic_reviewer])
def test_a_reviewer_that_was_never_asked_closes_quietly(kind) -> None:
    async def main() -> None:
        asked = kind("a", Endpoint("m", "http://x/v1"))
        await asked.__aexit__(None, None, None)

    asyncio.run(main())


def test_the_address_of_an_endpoint_shows_no_secret() -> None:
    assert Endpoint("m", "https://me:pass@host:81/v1?key=x").address == "https://host:81/v1"
    assert Endpoint("m", None, "A_KEY").address == ""
