"""OpenAI's chat completions: OpenAI itself and every compatible server."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from dca.domain.review import Usage
from reviewers.calling import Calling
from reviewers.dialects.dialect import Address
from reviewers.dialects.openai_address import openai_address
from reviewers.dialects.schemas import encoded_schema, encoded_text
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.exchange import Ended, Question, Reply
from reviewers.headroom import Headroom, openai_headroom

_ENDED = {
    "stop": Ended.COMPLETE,
    "length": Ended.TRUNCATED,
    "content_filter": Ended.REFUSED,
    None: Ended.COMPLETE,
}
"""Every other finish reason is no end of a reply in text."""


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Completion)
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """The dialect; ``compatible`` servers know the older name of the length limit only."""

    compatible: bool = False
    name: str = "openai-chat"
    counts_cached: bool = True

    def address(self, endpoint: Endpoint, key: str) -> Address:
        """Return where the official SDK would send a request, and its headers."""
        return openai_address(endpoint, key, "chat/completions", compatible=self.compatible)

    def encode(self, question: Question, endpoint: Endpoint, calling: Calling) -> bytes:
        """Return the body of a request."""
        # OpenAI's reasoning models know only the newer name.
        limit = "max_tokens" if self.compatible else "max_completion_tokens"
        body: dict[str, object] = {
            "model": endpoint.model,
            "messages": [
                {"role": "system", "content": encoded_text(question.system)},
                *({"role": turn.role, "content": turn.text} for turn in question.turns),
            ],
            limit: calling.max_tokens,
            "response_format": _response_format(question, endpoint),
            "temperature": calling.temperature,
            "reasoning_effort": calling.effort,
            **calling.extra,
        }
        return _ENCODER.encode({key: value for key, value in body.items() if value is not None})

    def decode(self, body: bytes) -> Reply:
        """Return what a body says; its usage counts even where there is no text."""
        completion = _DECODER.decode(body)
        usage = _usage(completion.usage or _Usage())
        if not completion.choices:
            return Reply("", Ended.OTHER, "no choices", usage)
        choice = completion.choices[0]
        text, refusal = choice.message.content or "", choice.message.refusal
        if refusal:
            return Reply(text or refusal, Ended.REFUSED, refusal, usage)
        reason = choice.finish_reason
        return Reply(text, _ENDED.get(reason, Ended.OTHER), reason or "no finish reason", usage)

    def headroom(self, headers: Mapping[str, str], now: float) -> Headroom:
        """Return what the headers of a response say of rate limits."""
        return openai_headroom(headers, now)


def _response_format(question: Question, endpoint: Endpoint) -> Mapping[str, object] | None:
    """Return how JSON is asked for, ``None`` when it is not."""
    how = endpoint.response_format
    if how is ResponseFormat.NONE:
        return None
    if how is ResponseFormat.JSON_OBJECT:
        return {"type": "json_object"}
    schema = encoded_schema(question.form, bounded=True)
    named = {"name": "review", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _usage(said: _Usage) -> Usage:
    """Return the usage in our words."""
    taken, given = said.prompt_tokens_details, said.completion_tokens_details
    return Usage(
        input_tokens=said.prompt_tokens,
        output_tokens=said.completion_tokens,
        reasoning_tokens=given.reasoning_tokens if given else None,
        cached_tokens=taken.cached_tokens if taken else None,
        cache_write_tokens=taken.cache_write_tokens if taken else None,
    )
