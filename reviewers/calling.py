"""Call a model until it answers or must be given up: retries, faults, usage, errors.

The reviewers of each provider send one request and say, as data, what came of it: a ``Reply``
or a ``Fault``. Everything that follows from it is decided here, once for all providers. Faults
are values, not exceptions, so that no traceback can carry a request or a key along.
"""

import asyncio
import email.utils
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol, cast

import tenacity

from dca.domain.errors import (
    CredentialError,
    DcaError,
    ReplyInvalid,
    ReplyTruncated,
    ReviewerRefused,
    ReviewError,
    ReviewerUnavailable,
)
from dca.domain.review import Review, ReviewerInfo, Usage
from dca.domain.rollout import Rollout
from reviewers.parse import clean, parse_reply
from reviewers.protocol import Reviewer, review_key
from reviewers.question import Asking, Question, pose

LONGEST_MESSAGE = 300
"""Code points of a provider's own words in an error."""

_RETRIED = frozenset((408, 409, 429))
_REFUSED_KEY = frozenset((401, 403))
_EXHAUSTED = ("insufficient_quota", "billing", "credit balance", "exceeded your current quota")
"""Words of a 429 that waiting does not heal."""


@dataclass(frozen=True, slots=True)
class Calling:
    """How one model is called."""

    max_tokens: int = 16_000
    """Most output tokens, hidden reasoning included."""
    temperature: float | None = None
    """``None``: not sent, because reasoning models refuse it."""
    effort: str | None = None
    """Reasoning effort in the provider's words; ``None``: not sent."""
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    """Further fields of the request, as the provider spells them."""
    timeout: float = 600.0
    """Seconds for one attempt as a whole, so that a slow drip ends too."""
    attempts: int = 5
    """Most requests for one review, >= 1."""
    backoff: float = 1.0
    """Seconds: the first wait is drawn from [0, backoff), and the range doubles each time."""
    max_wait: float = 60.0
    """Longest wait in seconds; a server that asks for more is given up."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What can change an answer, and so belongs into the reviewer's digest."""
        given = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "effort": self.effort,
            "extra": dict(self.extra) or None,
        }
        return {key: value for key, value in given.items() if value is not None}


class Ended(StrEnum):
    """Why a model stopped writing."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote."""

    text: str
    ended: Ended
    detail: str
    """The provider's word for how it ended, or the words of a refusal."""
    usage: Usage


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one request brought no reply."""

    message: str
    """One line, without secrets."""
    status: int | None = None
    """HTTP status; ``None`` when no response came."""
    retried: bool = True
    """True when asking again can help."""
    retry_after: float = 0.0
    """Seconds that the server asked to wait."""
    raw: str = ""
    """Body of a response that was no reply."""

    def error(self, name: str, address: str = "") -> DcaError:
        """Return the error of a fault that is final for the reviewer ``name`` at ``address``."""
        if self.status in _REFUSED_KEY:
            return CredentialError(
                f"{name}: {self.message}",
                hint="Check the key in the environment variable of api_key_env and its rights.",
            )
        where = f" (base_url {address})" if address else ""
        return ReviewerUnavailable(f"{name}: {self.message}{where}", raw=self.raw)


class ModelReviewer(Reviewer, Protocol):
    """A reviewer that asks a model: what the shared way of calling needs to know of it."""

    @property
    def asking(self) -> Asking:
        """How the model is asked."""
        ...

    @property
    def calling(self) -> Calling:
        """How the model is called."""
        ...


async def review_by_call(
    reviewer: ModelReviewer,
    rollout: Rollout,
    send: Callable[[Question], Awaitable[Reply | Fault]],
    *,
    address: str = "",
) -> Review:
    """Ask the model about ``rollout`` through ``send`` and return its review.

    Args:
        reviewer: Who is asked.
        rollout: About what.
        send: Sends one request.
        address: Where the model answers, without secrets; named when it cannot be reached.

    Raises:
        ReviewError: No usable reply; carries the usage and the raw reply where there was one.
        CredentialError: The endpoint refused the key.
    """
    if not rollout.completion.strip():
        raise ReplyInvalid("the completion holds no text to review")
    question = pose(rollout, reviewer.asking)
    outcome = await persevere(lambda: send(question), reviewer.calling)
    if isinstance(outcome, Fault):
        raise outcome.error(reviewer.info.name, address)
    try:
        _check_end(outcome)
        parsed = parse_reply(outcome.text, rollout.completion, question.form, question.units)
    except ReviewError as error:
        error.usage, error.raw = outcome.usage, outcome.text
        raise
    return Review(
        review_key(reviewer, rollout),
        parsed.steps,
        parsed.links,
        parsed.covered,
        parsed.blame,
        parsed.soundness,
        parsed.unplaced,
        outcome.usage,
        outcome.text,
    )


async def persevere(
    send: Callable[[], Awaitable[Reply | Fault]], calling: Calling
) -> Reply | Fault:
    """Send until a reply or a final fault comes; the usage of a reply gets its seconds."""
    spread = tenacity.wait_random_exponential(multiplier=calling.backoff, max=calling.max_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        return max(spread(state), _result(state).retry_after)

    def is_worth_it(result: Reply | Fault) -> bool:
        return (
            isinstance(result, Fault) and result.retried and result.retry_after <= calling.max_wait
        )

    async def attempt() -> Reply | Fault:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(calling.timeout):
                result = await send()
        except TimeoutError:
            return Fault(f"no answer within {calling.timeout:g} s")
        if isinstance(result, Fault):
            return result
        seconds = time.monotonic() - begun
        return replace(result, usage=replace(result.usage, seconds=seconds))

    return await tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(calling.attempts),
        wait=wait,
        retry=tenacity.retry_if_result(is_worth_it),
        retry_error_callback=_result,
    )(attempt)


def _result(state: tenacity.RetryCallState) -> Fault:
    """Return the fault of the attempt that has just ended: nothing else is waited for."""
    return cast("Fault", cast("tenacity.Future", state.outcome).result())


def _check_end(reply: Reply) -> None:
    """Refuse a reply that did not end by itself, before anybody parses it."""
    if reply.ended is Ended.TRUNCATED:
        raise ReplyTruncated(f"the reply was cut at the length limit ({reply.detail})")
    if reply.ended is Ended.REFUSED:
        raise ReviewerRefused(f"the model declined ({clean(reply.detail)[:LONGEST_MESSAGE]})")
    if reply.ended is Ended.OTHER:
        raise ReplyInvalid(f"the reply ended with {clean(reply.detail)[:LONGEST_MESSAGE]}")


def status_fault(status: int, headers: Mapping[str, str], body: str, *, secret: str) -> Fault:
    """Return the fault of an HTTP error status.

    Args:
        status: 3xx to 5xx.
        headers: Response headers; names in any case if the mapping ignores case.
        body: What the provider said; kept short and without ``secret``.
        secret: The key that was sent.
    """
    if status in _REFUSED_KEY:
        # Some servers repeat the key, or a part of it, in these answers: not one word is kept.
        return Fault(f"the endpoint refused the key (HTTP {status})", status, retried=False)
    words = redact(body, secret)
    exhausted = status == 429 and any(mark in words.lower() for mark in _EXHAUSTED)
    retried = (status in _RETRIED or status >= 500) and not exhausted
    asked = headers.get("x-should-retry")
    if asked in ("true", "false") and not exhausted:
        retried = asked == "true"
    return Fault(f"HTTP {status}: {words}", status, retried, _retry_after(headers))


def strange_body(status: int, headers: Mapping[str, str], body: str, *, secret: str) -> Fault:
    """Return the fault of a 2xx response that is not the provider's reply.

    A body that is cut short is asked for again; a complete page of another kind is not, because
    the address is wrong.
    """
    kind = headers.get("content-type", "no content type")
    if "json" in kind and not body.rstrip().endswith("}"):
        return Fault("the response was cut short", status, raw=redact(body, secret))
    words = f"HTTP {status} with {clean(kind)[:60]}, but no reply of a model; is base_url right?"
    return Fault(words, status, retried=False, raw=redact(body, secret))


def redact(text: str, secret: str) -> str:
    """Return ``text`` on one short line without ``secret``."""
    safe = text.replace(secret, "***") if secret else text
    return clean(safe)[:LONGEST_MESSAGE]


def read_key(name: str, variable: str | None) -> str:
    """Return the key in the environment variable ``variable``; ``""`` when none is named.

    Raises:
        CredentialError: The variable is named but not set.
    """
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise CredentialError(
            f"{name}: the environment variable {variable} is not set",
            hint=f"Set {variable}, or name another variable in api_key_env.",
        )
    return key


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a response asks to wait, 0 when it does not say."""
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000)
    except (KeyError, ValueError):
        said = headers.get("retry-after", "0")
    try:
        return max(0.0, float(said))
    except ValueError:
        date = email.utils.parsedate_tz(said)
    return 0.0 if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())


def model_info(info: ReviewerInfo, *settings: Mapping[str, object]) -> ReviewerInfo:
    """Return ``info`` with all settings; addresses and names of keys are no part of it."""
    merged = {key: value for part in settings for key, value in part.items()}
    return replace(info, settings=merged)
