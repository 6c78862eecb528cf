"""One HTTP exchange as data: the request as it came, and the answer to be sent."""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.fault_server.answers import Tokens
from benchmarks.fault_server.asks import Ask
from benchmarks.fault_server.ledger import Record
from benchmarks.fault_server.limits import Limiter
from benchmarks.fault_server.plan import Fault

JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    """Path and query."""
    head: bytes
    """Request line and headers, each line with its end."""
    folded: bytes
    """``head`` in lower case."""
    body: bytes

    def header(self, name: bytes) -> str:
        """Return a header by its name in lower case; empty when there is none."""
        at = self.folded.find(b"\r\n" + name + b":")
        if at < 0:
            return ""
        begin = at + len(name) + 3
        return self.head[begin : self.head.find(b"\r\n", begin)].decode("latin-1").strip()

    @property
    def key(self) -> str:
        """The API key of either dialect; empty when none was sent."""
        return self.header(b"authorization").removeprefix("Bearer ") or self.header(b"x-api-key")

    @property
    def anthropic(self) -> bool:
        """True when the request names the version of Anthropic's API."""
        return b"\r\nanthropic-version:" in self.folded


class Mode(StrEnum):
    """How an answer goes over the wire."""

    WHOLE = "whole"
    RESET = "reset"
    CUT = "cut"
    HANG = "hang"
    DRIP = "drip"
    HUGE = "huge"


@dataclass(frozen=True, slots=True)
class Call:
    """What the books need when a request for one answer ends."""

    record: Record
    ask: Ask
    limiter: Limiter
    fault: Fault | None = None
    tokens: Tokens | None = None
    """``None``: the answer is not paid."""
    review: str = ""
    """The text of the review, without a fence."""
    retry_s: float = 0.0
    """Retry-After in seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sends."""

    status: int
    body: bytes
    headers: bytes = b""
    """Each line with its end."""
    kind: bytes = JSON
    """Content type."""
    delay_s: float = 0.0
    mode: Mode = Mode.WHOLE
    call: Call | None = None
