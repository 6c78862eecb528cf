"""Ask one model reviewer one question through a real socket: shared by two test files."""

import asyncio
import json
from typing import Any, Literal

import pytest

from dca.domain.errors import DcaError
from dca.domain.review import Review
from dca.domain.rollout import Message, Rollout
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.model_reviewer import ModelReviewer
from reviewers.models import anthropic_reviewer, openai_reviewer
from reviewers.question import Asking
from tests.provider_server import (
    KEY,
    Answer,
    ProviderServer,
    chat,
    chat_error,
    message,
    message_error,
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

Dialect = Literal["openai", "anthropic"]
BOTH = pytest.mark.parametrize("dialect", ["openai", "anthropic"])
QUICK = Calling(timeout=5, attempts=3, backoff=0.001, max_wait=2)


def set_keys(monkeypatch: pytest.MonkeyPatch) -> None:
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
) -> ModelReviewer:
    if dialect == "openai":
        endpoint = Endpoint("tiny", f"{server.url}/v1", key_env, how)
        return openai_reviewer("a", endpoint, calling=calling, asking=asking)
    endpoint = Endpoint("tiny", server.url, key_env, how)
    return anthropic_reviewer("a", endpoint, calling=calling, asking=asking)


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


def says(dialect: Dialect, text: str) -> Answer:
    return chat(text) if dialect == "openai" else message(text)


def error(dialect: Dialect, status: int, words: str = "no", **headers: str) -> Answer:
    if dialect == "openai":
        return chat_error(status, words, **headers)
    return message_error(status, "api_error", words, **headers)
