"""Put a reply or an error into the body of a dialect, as bytes."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from benchmarks.fault_server.asks import Ask, Dialect

_CREATED = 1_790_000_000
_json = msgspec.json.encode


class Stop(StrEnum):
    """Why an answer ends."""

    DONE = "done"
    LENGTH = "length"
    FILTER = "filter"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer is billed for."""

    input: int
    """All input tokens, cached ones included."""
    cached: int
    """Input tokens read from the cache."""
    written: int
    """Input tokens written to the cache."""
    output: int
    """Output tokens, hidden reasoning included."""
    reasoning: int
    """Hidden reasoning tokens."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer before it is written in a dialect."""

    text: str
    stop: Stop
    tokens: Tokens


def write_answer(ask: Ask, said: Said, number: int) -> bytes:
    """Return the body of an answer; ``number`` makes its id."""
    return _WRITERS[ask.dialect](ask, said, number)


_CHAT_STOPS = {Stop.LENGTH: b"length", Stop.FILTER: b"content_filter"}


def _write_chat(ask: Ask, said: Said, number: int) -> bytes:
    refused = said.stop is Stop.REFUSAL
    text = _json(said.text)
    tokens = said.tokens
    return (
        b'{"id":"chatcmpl-%d","object":"chat.completion","created":%d,"model":%b,'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":%b,"refusal":%b,'
        b'"annotations":[]},"logprobs":null,"finish_reason":"%b"}],'
        b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},'
        b'"service_tier":"default","system_fingerprint":null}'
    ) % (
        number,
        _CREATED,
        _json(ask.model),
        b"null" if refused else text,
        text if refused else b"null",
        _CHAT_STOPS.get(said.stop, b"stop"),
        tokens.input,
        tokens.output,
        tokens.input + tokens.output,
        tokens.cached,
        tokens.reasoning,
    )


_INCOMPLETE = {Stop.LENGTH: "max_output_tokens", Stop.FILTER: "content_filter"}


def _write_responses(ask: Ask, said: Said, number: int) -> bytes:
    reason = _INCOMPLETE.get(said.stop)
    status = "incomplete" if reason else "completed"
    part: dict[str, object] = {"type": "output_text", "text": said.text, "annotations": []}
    if said.stop is Stop.REFUSAL:
        part = {"type": "refusal", "refusal": said.text}
    message = {
        "type": "message",
        "id": f"msg_{number}",
        "status": status,
        "role": "assistant",
        "content": [part],
    }
    thought = {"type": "reasoning", "id": f"rs_{number}", "summary": []}
    tokens = said.tokens
    return _json(
        {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": _CREATED,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": None,
            "metadata": {},
            "model": ask.model,
            # An answer that spends its limit on hidden reasoning holds no message at all.
            "output": [thought] * (tokens.reasoning > 0) + [message] * bool(said.text),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": tokens.input,
                "input_tokens_details": {"cached_tokens": tokens.cached, "cache_write_tokens": 0},
                "output_tokens": tokens.output,
                "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
                "total_tokens": tokens.input + tokens.output,
            },
        }
    )


_MESSAGE_STOPS = {Stop.LENGTH: b"max_tokens", Stop.FILTER: b"refusal", Stop.REFUSAL: b"refusal"}
_REFUSAL = b'{"type":"refusal","category":null,"explanation":%b}'


def _write_message(ask: Ask, said: Said, number: int) -> bytes:
    refused = said.stop in (Stop.REFUSAL, Stop.FILTER)
    text = _json(said.text)
    empty = refused or not said.text
    tokens = said.tokens
    return (
        b'{"id":"msg_%d","type":"message","role":"assistant","model":%b,"content":[%b],'
        b'"stop_reason":"%b","stop_details":%b,"stop_sequence":null,'
        b'"usage":{"input_tokens":%d,"cache_creation_input_tokens":%d,'
        b'"cache_read_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":%d,'
        b'"ephemeral_1h_input_tokens":0},"output_tokens":%d,'
        b'"output_tokens_details":{"thinking_tokens":%d},"service_tier":"standard"}}'
    ) % (
        number,
        _json(ask.model),
        b"" if empty else b'{"type":"text","text":%b}' % text,
        _MESSAGE_STOPS.get(said.stop, b"end_turn"),
        _REFUSAL % text if refused else b"null",
        tokens.input - tokens.cached - tokens.written,
        tokens.written,
        tokens.cached,
        tokens.written,
        tokens.output,
        tokens.reasoning,
    )


_WRITERS = {
    Dialect.CHAT: _write_chat,
    Dialect.RESPONSES: _write_responses,
    Dialect.MESSAGES: _write_message,
}

_KINDS = {
    400: ("invalid_request_error", "invalid_request_error"),
    401: ("authentication_error", "authentication_error"),
    404: ("invalid_request_error", "not_found_error"),
    405: ("invalid_request_error", "invalid_request_error"),
    411: ("invalid_request_error", "invalid_request_error"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_error"),
    500: ("server_error", "api_error"),
    503: ("server_error", "overloaded_error"),
    529: ("server_error", "overloaded_error"),
}
"""For each status the type of error that OpenAI and Anthropic name."""

_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def write_error(status: int, message: str, *, anthropic: bool, code: str | None = None) -> bytes:
    """Return the body of an error in the words of OpenAI or of Anthropic."""
    openai_kind, anthropic_kind = _KINDS[status]
    if anthropic:
        told = {"type": anthropic_kind, "message": message}
        return _json({"type": "error", "error": told, "request_id": "req_0"})
    named = code or _CODES.get(status)
    error = {"message": message, "type": openai_kind, "param": None, "code": named}
    return _json({"error": error})
