"""Anthropic's messages, or a server that speaks them."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from dca.domain.review import Usage
from reviewers.calling import Calling
from reviewers.dialects.dialect import Address
from reviewers.dialects.schemas import encoded_schema, encoded_text
from reviewers.endpoint import Endpoint, ResponseFormat
from reviewers.exchange import Ended, Question, Reply
from reviewers.headroom import Headroom, anthropic_headroom

_ENDED = {
    "end_turn": Ended.COMPLETE,
    "stop_sequence": Ended.COMPLETE,
    "max_tokens": Ended.TRUNCATED,
    "model_context_window_exceeded": Ended.TRUNCATED,
    "refusal": Ended.REFUSED,
    None: Ended.COMPLETE,
}
"""Every other stop reason is no end of a reply in text."""

_SENT = ("Authorization", "X-Api-Key", "anthropic-version", "Content-Type")


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(msgspec.Struct):
    type: str
    text: str = ""


class _StopDetails(msgspec.Struct):
    explanation: str | None = None


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Message)
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class AnthropicMessages:
    """The dialect."""

    name: str = "anthropic-messages"
    counts_cached: bool = False

    def address(self, endpoint: Endpoint, key: str) -> Address:
        """Return where the official SDK would send a request, and its headers."""
        import anthropic  # noqa: PLC0415 - two seconds to load; many panels do without it

        # An explicit key keeps the SDK from looking for credentials of its own.
        client = anthropic.AsyncAnthropic(
            api_key=key or "none", base_url=endpoint.base_url, max_retries=0
        )
        offered = {**client.default_headers, **client.auth_headers}
        headers = {name: value for name in _SENT if isinstance(value := offered.get(name), str)}
        if not key:
            headers = {
                name: value for name, value in headers.items() if not value.endswith("none")
            }
        return Address(f"{str(client.base_url).rstrip('/')}/v1/messages", headers)

    def encode(self, question: Question, endpoint: Endpoint, calling: Calling) -> bytes:
        """Return the body of a request."""
        # The instructions are the same for many requests: marked, they are read from the cache.
        system = {
            "type": "text",
            "text": encoded_text(question.system),
            "cache_control": {"type": "ephemeral"},
        }
        body: dict[str, object] = {
            "model": endpoint.model,
            "max_tokens": calling.max_tokens,
            "system": [system],
            "messages": [{"role": turn.role, "content": turn.text} for turn in question.turns],
            "output_config": _output_config(question, endpoint, calling),
            "temperature": calling.temperature,
            **calling.extra,
        }
        return _ENCODER.encode({key: value for key, value in body.items() if value is not None})

    def decode(self, body: bytes) -> Reply:
        """Return what a body says; hidden thinking is no part of the text."""
        message = _DECODER.decode(body)
        text = "".join(block.text for block in message.content if block.type == "text")
        reason = message.stop_reason
        details = message.stop_details
        detail = (details.explanation if details else None) or reason or "no stop reason"
        ended = _ENDED.get(reason, Ended.OTHER)
        return Reply(text, ended, detail, _usage(message.usage or _Usage()))

    def headroom(self, headers: Mapping[str, str], now: float) -> Headroom:
        """Return what the headers of a response say of rate limits."""
        return anthropic_headroom(headers, now)


def _output_config(
    question: Question, endpoint: Endpoint, calling: Calling
) -> Mapping[str, object] | None:
    """Return how effort and JSON are asked for, ``None`` when neither is."""
    output: dict[str, object] = {}
    if calling.effort is not None:
        output["effort"] = calling.effort
    if endpoint.response_format is ResponseFormat.JSON_SCHEMA:
        schema = encoded_schema(question.form, bounded=False)
        output["format"] = {"type": "json_schema", "schema": schema}
    return output or None


def _usage(said: _Usage) -> Usage:
    """Return the usage in our words: the input counts what was cached and what was not."""
    parts = (said.input_tokens, said.cache_creation_input_tokens, said.cache_read_input_tokens)
    known = [part for part in parts if part is not None]
    details = said.output_tokens_details
    return Usage(
        input_tokens=sum(known) if known else None,
        output_tokens=said.output_tokens,
        reasoning_tokens=details.thinking_tokens if details else None,
        cached_tokens=said.cache_read_input_tokens,
        cache_write_tokens=said.cache_creation_input_tokens,
    )
