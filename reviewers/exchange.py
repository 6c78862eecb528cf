"""What is said to a model and what comes back, as data: pure, the same for every provider.

A ``Question`` goes out, and either a ``Reply`` or a ``Fault`` comes back. Faults are values, not
exceptions, so that no traceback can carry a request or a key along.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from dca.domain.review import Usage
from dca.domain.spans import Span
from reviewers.schema import ReplyForm

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message after the instructions."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked, in the words of no provider."""

    system: str
    """Instructions: the same for every rollout with the same choices, so providers cache them."""
    turns: tuple[Turn, ...]
    """Alternating, the first and the last by the user."""
    form: ReplyForm
    """What the reply must look like."""
    units: tuple[Span, ...] = ()
    """The units that were shown; empty in the ``quotes`` protocol."""
    flaw: str = ""
    """What was wrong with the reply before; empty where this is no repair turn. Not sent."""


class Ended(StrEnum):
    """Why a model stopped writing."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    """At a length limit."""
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


class Cause(StrEnum):
    """What kind of fault one request met, as far as it decides what happens next."""

    TRANSPORT = "transport"
    """No whole response: refused, reset, cut, timed out."""
    OVERLOAD = "overload"
    """The provider is not well: 5xx, 529, 408, 409."""
    LIMIT = "limit"
    """429: too fast, which waiting heals."""
    QUOTA = "quota"
    """429 or 402: nothing left to spend, which waiting does not heal."""
    KEY = "key"
    """401 or 403."""
    REQUEST = "request"
    """Any other 4xx: the same request will fail again."""
    STRANGE = "strange"
    """A whole response that is no reply of a model: a wrong address, a redirect, a page."""


RETRIED = frozenset((Cause.TRANSPORT, Cause.OVERLOAD, Cause.LIMIT))
"""Causes after which the same request may succeed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one request brought no reply."""

    cause: Cause
    message: str
    """One line, without secrets."""
    status: int | None = None
    """HTTP status; ``None`` when no response came."""
    retry_after: float = 0.0
    """Seconds that the server asked to wait."""
    raw: str = ""
    """Beginning of a body that was no reply."""
    perhaps_paid: bool = False
    """True when the provider may have worked, and charge, for a reply that did not arrive."""

    @property
    def retried(self) -> bool:
        """True when asking again can help."""
        return self.cause in RETRIED
