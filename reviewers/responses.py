"""From a response to a reply or a fault: pure, the same for every dialect."""

import email.utils
import math
from collections.abc import Mapping
from typing import Protocol

import msgspec

from reviewers.exchange import Cause, Fault, Reply
from reviewers.parse import clean
from reviewers.secrecy import hide
from reviewers.wire import Response

LONGEST_MESSAGE = 300
"""Code points of a provider's own words in an error."""
LONGEST_READ = 64 * 1024
"""Bytes of an error's body that are searched for the key: a cut key lies far behind its words."""
LONGEST_SHOWN = 2_000
"""Code points of an error's body, after that, that are read for its words."""

EXHAUSTED = ("insufficient_quota", "billing", "credit balance", "exceeded your current quota")
"""Words of an error that waiting does not heal."""
_BY_STATUS = {
    401: Cause.KEY,
    402: Cause.QUOTA,
    403: Cause.KEY,
    408: Cause.OVERLOAD,
    409: Cause.OVERLOAD,
    425: Cause.OVERLOAD,
    429: Cause.LIMIT,
}


class Decoder(Protocol):
    """Whoever can read the body of a reply."""

    def decode(self, body: bytes) -> Reply:
        """Return what it says; raises ``msgspec.MsgspecError``."""
        ...


def judge(response: Response, dialect: Decoder, *, secret: str, now: float) -> Reply | Fault:
    """Return what a response says, or why it says nothing.

    Args:
        response: Of any status.
        dialect: Reads a body of status 200.
        secret: The key that was sent, which no message repeats.
        now: Wall time in seconds since the epoch.
    """
    if response.status != 200:
        return _refusal(response, secret, now)
    try:
        return dialect.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _strange(response, secret)


def _refusal(response: Response, secret: str, now: float) -> Fault:
    """Return the fault of a status that is not 200."""
    status, headers = response.status, response.headers
    cause = _cause(status)
    if cause is Cause.KEY:
        # Some servers repeat the key, or a part of it, in these answers: not one word is kept.
        return Fault(cause, f"the endpoint refused the key (HTTP {status})", status)
    words = redact(response.body, secret)
    if status in (400, 403, 429) and any(mark in words.lower() for mark in EXHAUSTED):
        cause = Cause.QUOTA
    asked = headers.get("x-should-retry")
    if asked == "false" and cause in (Cause.OVERLOAD, Cause.LIMIT):
        cause = Cause.REQUEST
    if asked == "true" and cause is Cause.REQUEST:
        cause = Cause.OVERLOAD
    return Fault(cause, f"HTTP {status}: {words}", status, retry_after(headers, now))


def _cause(status: int) -> Cause:
    """Return what kind of fault a status is."""
    if status >= 500:
        return Cause.OVERLOAD
    if status < 400:
        return Cause.STRANGE
    return _BY_STATUS.get(status, Cause.REQUEST)


def _strange(response: Response, secret: str) -> Fault:
    """Return the fault of a response with status 200 that is no reply.

    A body that is cut short is asked for again; a complete page of another kind is not, because
    the address is wrong.
    """
    kind = response.headers.get("content-type", "no content type")
    said = redact(response.body, secret)
    if "json" in kind and not response.body.rstrip().endswith(b"}"):
        return Fault(
            Cause.TRANSPORT, "the response was cut short", 200, raw=said, perhaps_paid=True
        )
    words = (
        f"HTTP 200 with {redact(kind, secret)[:60]}, but no reply of a model; is base_url right?"
    )
    return Fault(Cause.STRANGE, words, 200, raw=said)


def redact(text: str | bytes, secret: str) -> str:
    """Return ``text`` on one short line without ``secret``."""
    start = text[:LONGEST_READ]
    plain = start if isinstance(start, str) else start.decode("utf-8", "replace")
    return clean(hide(plain, secret)[:LONGEST_SHOWN])[:LONGEST_MESSAGE]


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds that a response asks to wait, 0 when it does not say."""
    exact = _number(headers.get("retry-after-ms"))
    if exact is not None:
        return max(0.0, exact / 1000)
    said = headers.get("retry-after", "0")
    seconds = _number(said)
    if seconds is not None:
        return max(0.0, seconds)
    date = email.utils.parsedate_tz(said)
    return 0.0 if date is None else max(0.0, email.utils.mktime_tz(date) - now)


def _number(said: str | None) -> float | None:
    """Return the finite number that a header holds, else ``None``."""
    try:
        number = float(said or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
