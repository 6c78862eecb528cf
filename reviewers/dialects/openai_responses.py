"""OpenAI's responses: the API that its newer reasoning models are made for.

Nothing is kept at the provider (``store`` is false), and no earlier response is referred to.
"""

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

_INCOMPLETE = {"max_output_tokens": Ended.TRUNCATED, "content_filter": Ended.REFUSED}


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    refusal: str = ""


class _Item(msgspec.Struct):
    type: str
    content: list[_Part] | None = None


class _Why(msgspec.Struct):
    reason: str | None = None


class _Failure(msgspec.Struct):
    message: str = ""


class _Response(msgspec.Struct):
    output: list[_Item]
    status: str | None = None
    incomplete_details: _Why | None = None
    error: _Failure | None = None
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Response)
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class OpenAIResponses:
    """The dialect; ``compatible``: spoken to another server than OpenAI's."""

    compatible: bool = False
    name: str = "openai-responses"
    counts_cached: bool = True

    def address(self, endpoint: Endpoint, key: str) -> Address:
        """Return where the official SDK would send a request, and its headers."""
        return openai_address(endpoint, key, "responses", compatible=self.compatible)

    def encode(self, question: Question, endpoint: Endpoint, calling: Calling) -> bytes:
        """Return the body of a request."""
        body: dict[str, object] = {
            "model": endpoint.model,
            "instructions": encoded_text(question.system),
            "input": [{"role": turn.role, "content": turn.text} for turn in question.turns],
            "max_output_tokens": calling.max_tokens,
            "text": _text_format(question, endpoint),
            "temperature": calling.temperature,
            "reasoning": None if calling.effort is None else {"effort": calling.effort},
            "store": False,
            **calling.extra,
        }
        return _ENCODER.encode({key: value for key, value in body.items() if value is not None})

    def decode(self, body: bytes) -> Reply:
        """Return what a body says; hidden reasoning is no part of the text."""
        response = _DECODER.decode(body)
        usage = _usage(response.usage or _Usage())
        parts = [part for item in response.output for part in item.content or ()]
        text = "".join(part.text for part in parts if part.type == "output_text")
        refusal = "".join(part.refusal for part in parts if part.type == "refusal")
        if refusal:
            return Reply(text or refusal, Ended.REFUSED, refusal, usage)
        return Reply(text, *_end(response), usage)

    def headroom(self, headers: Mapping[str, str], now: float) -> Headroom:
        """Return what the headers of a response say of rate limits."""
        return openai_headroom(headers, now)


def _end(response: _Response) -> tuple[Ended, str]:
    """Return how a response ended, and the provider's word for it."""
    if response.status in ("completed", None):
        return Ended.COMPLETE, response.status or "no status"
    why = response.incomplete_details.reason if response.incomplete_details else None
    said = response.error.message if response.error else ""
    detail = why or said or response.status or "no status"
    return _INCOMPLETE.get(why or "", Ended.OTHER), detail


def _text_format(question: Question, endpoint: Endpoint) -> Mapping[str, object] | None:
    """Return how JSON is asked for, ``None`` when it is not."""
    how = endpoint.response_format
    if how is ResponseFormat.NONE:
        return None
    if how is ResponseFormat.JSON_OBJECT:
        return {"format": {"type": "json_object"}}
    schema = encoded_schema(question.form, bounded=True)
    named = {"type": "json_schema", "name": "review", "schema": schema, "strict": True}
    return {"format": named}


def _usage(said: _Usage) -> Usage:
    """Return the usage in our words."""
    taken, given = said.input_tokens_details, said.output_tokens_details
    return Usage(
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        reasoning_tokens=given.reasoning_tokens if given else None,
        cached_tokens=taken.cached_tokens if taken else None,
        cache_write_tokens=taken.cache_write_tokens if taken else None,
    )
