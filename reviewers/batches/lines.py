"""Lines of requests and of results, in the words of both providers: pure.

A request has a ``custom_id``: the dialogue, the number of the question, and in a batch that was
submitted from here the batch's own id. By it a result finds its dialogue again.
"""

import re
from dataclasses import dataclass

import msgspec

from reviewers.dialects.dialect import Dialect
from reviewers.exchange import Cause, Fault, Reply
from reviewers.responses import judge, redact
from reviewers.secrecy import MASK, forms
from reviewers.wire import Response

_ID = re.compile(r"([0-9a-f]{20})-([1-9][0-9]{0,3})(?:-([0-9a-f]{1,20}))?")
_ENCODE = msgspec.json.Encoder().encode
PATHS = {"openai-chat": "/v1/chat/completions", "openai-responses": "/v1/responses"}
"""Dialect to the path that OpenAI's batches name; Anthropic's know only one."""


@dataclass(frozen=True, slots=True)
class CustomId:
    """What a ``custom_id`` says."""

    dialogue: str
    """``ReviewKey.id`` of the first rollout that is asked about."""
    turn: int
    """Number of the question, >= 1."""
    batch: str = ""
    """Id of the batch; empty in a file of requests."""

    def __str__(self) -> str:
        """Return it as it is written: at most 64 letters, digits and dashes."""
        return f"{self.dialogue}-{self.turn}" + (f"-{self.batch}" if self.batch else "")


def read_id(text: str) -> CustomId | None:
    """Return what a ``custom_id`` says, ``None`` when it is not one of ours."""
    found = _ID.fullmatch(text)
    return CustomId(found[1], int(found[2]), found[3] or "") if found else None


def request_line(dialect: Dialect, custom_id: CustomId, body: bytes) -> bytes:
    """Return a request as the provider's batches take it, without a line feed."""
    path = PATHS.get(dialect.name)
    if path is None:
        return _ENCODE({"custom_id": str(custom_id), "params": msgspec.Raw(body)})
    line = {"custom_id": str(custom_id), "method": "POST", "url": path}
    return _ENCODE({**line, "body": msgspec.Raw(body)})


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request."""

    custom_id: str
    body: bytes = b""
    """Of the response, the error's too."""
    status: int = 200
    """Of the response; 0: there is none."""
    fault: str = ""
    """Why there is none."""
    withdrawn: bool = False
    """True when it was cancelled before it was begun, at no cost."""


class _Anthropic(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _OpenAI(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw()
    status_code: int = 200


class _OpenAIError(msgspec.Struct):
    code: str | None = None
    message: str = ""


class _Line(msgspec.Struct):
    custom_id: str
    result: _Anthropic | None = None
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    body: msgspec.Raw = msgspec.Raw()


class _Kind(msgspec.Struct):
    type: str = ""


class _AnthropicError(msgspec.Struct):
    error: _Kind = msgspec.field(default_factory=_Kind)


_LINE = msgspec.json.Decoder(_Line)
_OPENAI = msgspec.json.Decoder(_OpenAI)
_OPENAI_ERROR = msgspec.json.Decoder(_OpenAIError)
_ANTHROPIC_ERROR = msgspec.json.Decoder(_AnthropicError)
_WITHDRAWN = frozenset({"batch_cancelled", "batch_canceled", "canceled", "cancelled"})
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Type of an Anthropic error to the status that it has online; any other: 500."""


def read_result(line: bytes) -> Result:
    """Return what a line of results says.

    It is a line of OpenAI's or of Anthropic's batches, or an object with ``custom_id`` and
    ``body``, or the body of a response with ``custom_id`` among its fields.

    Raises:
        msgspec.MsgspecError: It is no object with a ``custom_id``.
    """
    read = _LINE.decode(line)
    if read.result is not None:
        return _anthropic(read.custom_id, read.result)
    if _given(read.error):
        error = _OPENAI_ERROR.decode(read.error)
        words = f"{error.code}: {error.message}" if error.code else error.message
        withdrawn = error.code in _WITHDRAWN
        return Result(read.custom_id, b"", 0, words or "no words", withdrawn)
    if _given(read.response):
        response = _OPENAI.decode(read.response)
        body = bytes(response.body) or bytes(read.response)
        return Result(read.custom_id, body, response.status_code)
    return Result(read.custom_id, bytes(read.body) or line)


def _given(part: msgspec.Raw) -> bool:
    return bytes(part) not in (b"", b"null")


def _anthropic(custom_id: str, result: _Anthropic) -> Result:
    if result.type == "succeeded":
        return Result(custom_id, bytes(result.message))
    if result.type == "errored":
        kind = _ANTHROPIC_ERROR.decode(result.error).error.type
        return Result(custom_id, bytes(result.error), _STATUSES.get(kind, 500))
    return Result(custom_id, b"", 0, result.type, result.type in _WITHDRAWN)


def outcome_of(result: Result, dialect: Dialect, *, secret: str) -> Reply | Fault:
    """Return what a result says in the words of a dialect, or why it says nothing."""
    if result.status == 0:
        return Fault(Cause.OVERLOAD, redact(result.fault, secret))
    if result.status != 200:
        # The time is only needed for dates in headers, and there are none.
        return judge(Response(result.status, {}, result.body), dialect, secret=secret, now=0.0)
    try:
        return dialect.decode(without(result.body, secret))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = redact(result.body, secret)
        return Fault(Cause.STRANGE, f"no reply in the words of {dialect.name}", 200, raw=said)


def without(body: bytes, secret: str) -> bytes:
    """Return a body in which no form of the key stands."""
    for form in forms(secret):
        body = body.replace(form.encode(), MASK.encode())
    return body
