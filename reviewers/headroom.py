"""What a provider's response headers say of its rate limits, as data.

Two families are read. OpenAI and the servers that follow it send
``x-ratelimit-{limit,remaining,reset}-{requests,tokens}`` with the time to the reset as a span;
Anthropic sends ``anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-...`` with the
reset as a date. A value that cannot be right (negative, not finite, no number, a limit of 0)
counts as not sent: servers that hide a limit fill its header with 0 or -1.
"""

import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

COARSE = 1.0
"""Seconds by which a reset in whole seconds may be wrong."""
FINE = 0.01
"""Seconds by which a reset with a fraction may be wrong."""

_EPOCH_S = 1e9
"""A plain number above this is a date in seconds since 1970, no span: it would be 31 years."""
_EPOCH_MS = 1e12
_TRUSTED_SKEW_S = 3.0
"""Seconds between the server's ``date`` and the own clock up to which the latter is used."""
_LONGEST = 40
"""Characters of the longest value that is looked at."""
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_UNIT = "ns|us|µs|μs|ms|s|m|h|d"
_PART = re.compile(rf"([0-9]+(?:\.[0-9]*)?)({_UNIT})")
_SPAN = re.compile(rf"(?:[0-9]+(?:\.[0-9]*)?(?:{_UNIT}))+")
_FRACTION = re.compile(r"\.|[nuµμm]s")
_TEXT = str | None


@dataclass(frozen=True, slots=True)
class Reset:
    """When a limit is whole again."""

    seconds: float
    """From the moment that ``dated`` tells, >= 0."""
    grain: float
    """Seconds by which it may be wrong."""
    dated: bool
    """True: a date, so seconds after the headers came. False: a span, so seconds after the server
    wrote them, which may have been any moment since the request was sent."""


@dataclass(frozen=True, slots=True)
class Room:
    """One limit: requests, or tokens of one kind."""

    limit: float | None = None
    """Most that may be used in one period, > 0."""
    left: float | None = None
    """What was left of it when the headers were written, >= 0."""
    reset: Reset | None = None


@dataclass(frozen=True, slots=True)
class Headroom:
    """All limits of one response; ``None`` where the provider has no such limit or hides it."""

    requests: Room | None = None
    tokens: Room | None = None
    """Input and output together."""
    input_tokens: Room | None = None
    output_tokens: Room | None = None


SILENT = Headroom()
"""Headers that say nothing: always this very object, so ``is SILENT`` is a test."""


def openai_headroom(headers: Mapping[str, str], now_wall: float) -> Headroom:
    """Read ``x-ratelimit-*`` headers.

    Args:
        headers: Names in lower case, or a mapping that ignores case.
        now_wall: Seconds since 1970.
    """
    get = headers.get
    requests = get("x-ratelimit-remaining-requests"), get("x-ratelimit-limit-requests")
    tokens = get("x-ratelimit-remaining-tokens"), get("x-ratelimit-limit-tokens")
    if requests == tokens == (None, None):
        return SILENT
    now = _server_clock(get("date"), now_wall)
    return _headroom(
        _room(*requests, get("x-ratelimit-reset-requests"), now),
        _room(*tokens, get("x-ratelimit-reset-tokens"), now),
    )


def anthropic_headroom(headers: Mapping[str, str], now_wall: float) -> Headroom:
    """Read ``anthropic-ratelimit-*`` headers.

    The limit of tokens in total only repeats the tighter one of the two separate limits, so it
    is left out where one of these is told.

    Args:
        headers: Names in lower case, or a mapping that ignores case.
        now_wall: Seconds since 1970.
    """
    get = headers.get
    names = "requests", "input-tokens", "output-tokens", "tokens"
    left = [get(f"anthropic-ratelimit-{name}-remaining") for name in names]
    if left == [None, None, None, None]:
        return SILENT
    now = _server_clock(get("date"), now_wall)
    requests, inputs, outputs, total = (
        _room(
            found,
            get(f"anthropic-ratelimit-{name}-limit"),
            get(f"anthropic-ratelimit-{name}-reset"),
            now,
        )
        for name, found in zip(names, left, strict=True)
    )
    return _headroom(requests, None if inputs or outputs else total, inputs, outputs)


def _headroom(*rooms: Room | None) -> Headroom:
    return Headroom(*rooms) if any(rooms) else SILENT


def _room(left: _TEXT, limit: _TEXT, reset: _TEXT, now_wall: float) -> Room | None:
    """Return what three headers say, ``None`` when no number is among them."""
    most, rest = _number(limit), _number(left)
    most = most or None
    if most is None and rest is None:
        return None
    if most is None and rest == 0 and limit is not None:
        return None  # "0 of 0" and "0 of -1" hide a limit; nobody could ever ask
    return Room(most, rest, read_reset(reset, now_wall))


def _number(text: _TEXT) -> float | None:
    """Return a finite number >= 0."""
    if text is None or len(text) > _LONGEST:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def read_reset(text: _TEXT, now_wall: float) -> Reset | None:
    """Read a span (``6m0s``, ``20ms``, ``7.66``) or a date (RFC 3339, seconds since 1970).

    Args:
        text: A header's value.
        now_wall: Seconds since 1970, by the clock that the date refers to.

    Returns:
        ``None`` when it is neither. A date in the past is now.
    """
    if text is None or len(text) > _LONGEST:
        return None
    text = text.strip().lower()
    grain = FINE if _FRACTION.search(text) else COARSE
    number = _number(text)
    if number is None:
        return _read_parts(text, grain, now_wall)
    if number < _EPOCH_S:
        return Reset(number, grain, dated=False)
    if number >= _EPOCH_MS:
        number, grain = number / 1000, FINE
    return Reset(max(0.0, number - now_wall), grain, dated=True)


def _read_parts(text: str, grain: float, now_wall: float) -> Reset | None:
    """Read ``1h2m3.5s`` or an RFC 3339 date."""
    if _SPAN.fullmatch(text):
        seconds = sum(float(size) * _UNITS[unit] for size, unit in _PART.findall(text))
        return Reset(seconds, grain, dated=False)
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None  # a date without a zone could be anywhere within a day
    return Reset(max(0.0, moment.timestamp() - now_wall), grain, dated=True)


def _server_clock(date: _TEXT, now_wall: float) -> float:
    """Return the server's own time where it contradicts ours: its dates are meant by it."""
    said = None if date is None else _read_date(date)
    return now_wall if said is None or abs(said - now_wall) <= _TRUSTED_SKEW_S else said


@lru_cache(maxsize=8)
def _read_date(text: str) -> float | None:
    """Return an HTTP date in seconds since 1970; it changes once a second, so it is kept."""
    try:
        parts = email.utils.parsedate_tz(text)
        return None if parts is None else float(email.utils.mktime_tz(parts))
    except (ValueError, OverflowError):
        return None
