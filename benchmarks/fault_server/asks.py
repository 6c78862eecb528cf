"""Read requests for one answer, in three dialects, into what the rest of the server needs.

The key of an item is a hash of the model, the instructions and the first question, so a repeated
request, one with a repair turn and the same request in a batch are attempts at one item.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Dialect(StrEnum):
    """How requests and answers are written; the value is the path."""

    CHAT = "/v1/chat/completions"
    RESPONSES = "/v1/responses"
    MESSAGES = "/v1/messages"


class BadRequestError(Exception):
    """A request that the provider refuses with status 400."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of a prompt that may be cached."""

    digest: bytes
    tokens: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for one answer."""

    item: bytes
    """Key of the item, 16 bytes."""
    dialect: Dialect
    model: str
    system: str
    user: str
    """The first question."""
    tokens: int
    """Input tokens of all turns."""
    limit: int | None
    """Most output tokens, hidden reasoning included."""
    effort: str | None
    """Reasoning effort, ``None`` when not given."""
    schema: bytes
    """JSON schema of the reply as sent; empty when none is."""
    prefixes: tuple[Prefix, ...]
    """What the provider may cache, the shortest first."""


class _Part(msgspec.Struct):
    text: str = ""
    cache_control: dict[str, str] | None = None


class _Turn(msgspec.Struct):
    role: str
    content: str | list[_Part]


class _Named(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw()


class _Format(msgspec.Struct):
    type: str
    json_schema: _Named | None = None
    schema: msgspec.Raw = msgspec.Raw()


class _Chat(msgspec.Struct):
    model: str
    messages: list[_Turn]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    stream: bool | None = None


class _TextConfig(msgspec.Struct):
    format: _Format | None = None


class _Effort(msgspec.Struct):
    effort: str | None = None


class _Responses(msgspec.Struct):
    model: str
    input: str | list[_Turn]
    instructions: str | None = None
    max_output_tokens: int | None = None
    text: _TextConfig | None = None
    reasoning: _Effort | None = None
    stream: bool | None = None


class _OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: _Format | None = None


class _Messages(msgspec.Struct):
    model: str
    messages: list[_Turn]
    max_tokens: int | None = None
    system: str | list[_Part] = ""
    output_config: _OutputConfig | None = None
    cache_control: dict[str, str] | None = None
    stream: bool | None = None


_CHAT = msgspec.json.Decoder(_Chat)
_RESPONSES = msgspec.json.Decoder(_Responses)
_MESSAGES = msgspec.json.Decoder(_Messages)

SMALLEST_PREFIX = 1024
"""Fewest tokens of a prefix that is cached."""


def read_ask(dialect: Dialect, body: bytes) -> Ask:
    """Return what the body of a request asks for.

    Raises:
        BadRequestError: The body is no JSON, or a field is missing or strange.
    """
    try:
        return _READERS[dialect](body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(str(error)) from error


def count_tokens(text: str) -> int:
    """Return the tokens of ``text``: four characters each."""
    return (len(text) + 3) // 4


def _read_chat(body: bytes) -> Ask:
    sent = _CHAT.decode(body)
    form = sent.response_format
    schema = bytes(form.json_schema.schema) if form and form.json_schema else b""
    return _make_openai(
        Dialect.CHAT,
        sent,
        sent.messages,
        limit=sent.max_completion_tokens or sent.max_tokens,
        effort=sent.reasoning_effort,
        schema=schema,
    )


def _read_responses(body: bytes) -> Ask:
    sent = _RESPONSES.decode(body)
    turns = [_Turn("user", sent.input)] if isinstance(sent.input, str) else sent.input
    if sent.instructions:
        turns = [_Turn("system", sent.instructions), *turns]
    form = sent.text.format if sent.text else None
    return _make_openai(
        Dialect.RESPONSES,
        sent,
        turns,
        limit=sent.max_output_tokens,
        effort=sent.reasoning.effort if sent.reasoning else None,
        schema=bytes(form.schema) if form else b"",
    )


def _make_openai(
    dialect: Dialect,
    sent: _Chat | _Responses,
    turns: Sequence[_Turn],
    *,
    limit: int | None,
    effort: str | None,
    schema: bytes,
) -> Ask:
    """Return the ask of either of OpenAI's dialects; a long prefix is cached unasked."""
    system = "".join(_flat(turn.content) for turn in turns if turn.role in _LEADING)
    rest = [turn for turn in turns if turn.role not in _LEADING]
    user, tokens = _check(sent.stream, system, rest)
    size = count_tokens(system) // 128 * 128
    prefix = _hash_prefix(sent.model, system)
    prefixes = (Prefix(prefix, size),) if size >= SMALLEST_PREFIX else ()
    item = _hash(prefix, user)
    return Ask(item, dialect, sent.model, system, user, tokens, limit, effort, schema, prefixes)


def _read_messages(body: bytes) -> Ask:
    sent = _MESSAGES.decode(body)
    system = _flat(sent.system)
    user, tokens = _check(sent.stream, system, sent.messages)
    output = sent.output_config or _OutputConfig()
    return Ask(
        _hash(_hash_prefix(sent.model, system), user),
        Dialect.MESSAGES,
        sent.model,
        system,
        user,
        tokens,
        sent.max_tokens,
        output.effort,
        bytes(output.format.schema) if output.format else b"",
        _marked_prefixes(sent),
    )


def _marked_prefixes(sent: _Messages) -> tuple[Prefix, ...]:
    """Return the prefixes that end at a block with ``cache_control``, the long enough ones."""
    blocks: list[tuple[str, bool]] = []
    for content in (sent.system, *(turn.content for turn in sent.messages)):
        parts = [_Part(content)] if isinstance(content, str) else content
        blocks.extend((part.text, part.cache_control is not None) for part in parts)
    if sent.cache_control is not None:
        blocks[-1] = (blocks[-1][0], True)
    if not any(marked for _, marked in blocks):
        return ()
    found: list[Prefix] = []
    text = ""
    for said, marked in blocks:
        text += said
        if marked and count_tokens(text) >= SMALLEST_PREFIX:
            found.append(Prefix(_hash_prefix(sent.model, text), count_tokens(text)))
    return tuple(found)


_LEADING = frozenset({"system", "developer"})
_READERS = {
    Dialect.CHAT: _read_chat,
    Dialect.RESPONSES: _read_responses,
    Dialect.MESSAGES: _read_messages,
}


def _check(stream: bool | None, system: str, turns: Sequence[_Turn]) -> tuple[str, int]:
    """Return the first question and the number of input tokens."""
    if stream:
        raise BadRequestError("stream is not supported here")
    if not turns or turns[0].role != "user":
        raise BadRequestError("messages: the first turn must be the user's")
    texts = [_flat(turn.content) for turn in turns]
    # Seven tokens for each turn's frame.
    tokens = count_tokens(system) + sum(count_tokens(text) + 7 for text in texts)
    return texts[0], tokens


def _flat(content: str | Sequence[_Part]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


@functools.lru_cache(maxsize=256)
def _hash_prefix(model: str, text: str) -> bytes:
    """Return the key of a prompt's beginning; nearly all requests share a few of them."""
    return _hash(model.encode() + b"\x00", text)


def _hash(before: bytes, text: str) -> bytes:
    told = before + text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(told, digest_size=16).digest()
