"""What every batch API can do, and the file of requests that one is given.

The calls are few and slow, and made one after the other: they are plain functions, not coroutines.
Creating a batch is never tried twice, because a provider that was not heard may have created it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol

from dca.domain.errors import CredentialError, DcaError, ReviewerUnavailable
from reviewers.responses import EXHAUSTED, redact

SKEW = timedelta(minutes=10)
"""Most by which the provider's clock may be behind ours."""
READS = 4
"""Times that the SDK repeats a call which changes nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch may hold."""

    requests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around and between the requests of a file."""

    begin: bytes
    between: bytes
    end: bytes


@dataclass(slots=True)
class RequestFile:
    """The requests of one batch, on disk until they are submitted."""

    stream: BinaryIO
    frame: Frame
    requests: int = 0
    size: int = 0
    """Bytes so far, the frame included."""

    def fits(self, line: bytes, limits: Limits) -> bool:
        """Tell whether one more request stays within the limits."""
        size = self.size + len(self.frame.between) + len(line)
        return self.requests < limits.requests and size <= limits.bytes

    def add(self, line: bytes) -> None:
        """Write one request."""
        self.stream.write((self.frame.between if self.requests else b"") + line)
        self.size += len(line) + (len(self.frame.between) if self.requests else 0)
        self.requests += 1

    def whole(self) -> BinaryIO:
        """End the file and return it from its beginning; nothing can be added after this."""
        self.stream.write(self.frame.end)
        self.stream.seek(0)
        return self.stream


@contextmanager
def request_file(frame: Frame) -> Generator[RequestFile, None, None]:
    """Give an empty file of requests that goes away at the end."""
    with TemporaryFile() as stream:
        stream.write(frame.begin)
        yield RequestFile(stream, frame, size=len(frame.begin) + len(frame.end))


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a submission."""

    remote: str | None = None
    """The provider's id; ``None``: nobody knows whether the batch exists."""
    full: str = ""
    """Why it does not exist yet: too much is queued at the provider, and later it is not."""


class Stage(StrEnum):
    """How far a batch is, as far as it decides what happens next."""

    OPEN = "open"
    ENDED = "ended"
    """There are results, at least for some of its requests."""
    FAILED = "failed"
    """There are none: it was refused as a whole, or the provider does not know it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the provider says of a batch."""

    stage: Stage
    done: int = 0
    """Requests worked on, as far as it says."""
    message: str = ""
    """Why it failed."""
    full: bool = False
    """True when it failed because too much is queued at the provider: later it may not."""
    stopped: bool = False
    """True when it was cancelled: requests without a result were not begun."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search for a batch has brought whose submission nobody saw the end of."""

    remote: str | None = None
    """The provider's id."""
    perhaps: bool = False
    """True when a batch that is still worked on may be it."""


class BatchService(Protocol):
    """One provider's batch API, for one model and key."""

    @property
    def limits(self) -> Limits:
        """What one batch may hold."""
        ...

    @property
    def frame(self) -> Frame:
        """What stands around the requests of a file."""
        ...

    def submit(self, batch: str, file: RequestFile) -> Sent:
        """Create a batch, known to us as ``batch``.

        Raises:
            DcaError: It does not exist; see ``refusal``.
        """
        ...

    def find(self, batch: str, since: datetime, requests: int, known: frozenset[str]) -> Found:
        """Look for a batch whose submission nobody saw the end of.

        Args:
            batch: Our id of it.
            since: When it was about to be submitted.
            requests: How many it holds.
            known: The provider's ids of batches that are others.

        Raises:
            DcaError: The provider does not answer.
        """
        ...

    def look(self, remote: str) -> Look:
        """Return how far a batch is.

        Raises:
            DcaError: The provider does not answer.
        """
        ...

    def results(self, remote: str, into: BinaryIO) -> None:
        """Write the lines of results of a batch that has ended.

        Raises:
            DcaError: The provider does not answer.
        """
        ...

    def cancel(self, remote: str) -> None:
        """Ask the provider to stop a batch; one that has ended stays as it is.

        Raises:
            DcaError: The provider does not answer.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def refusal(name: str, status: int | None, words: str, secret: str) -> DcaError:
    """Return the error of a call that failed.

    Args:
        name: Of the reviewer.
        status: HTTP status; ``None``: no response.
        words: Of the SDK.
        secret: The key, which no message repeats.
    """
    if status in (401, 403):
        # Some servers repeat the key, or a part of it, in these answers: not one word is kept.
        return CredentialError(
            f"{name}: the endpoint refused the key (HTTP {status})",
            hint="Check the key in the environment variable of api_key_env and its rights.",
        )
    return ReviewerUnavailable(f"{name}: {redact(words, secret)}")


def sent_or_none(status: int | None, words: str, secret: str) -> Sent | None:
    """Return what came of a submission that failed, ``None`` when it certainly came to nothing."""
    if not is_definite(status):
        return Sent()
    exhausted = any(mark in words.lower() for mark in EXHAUSTED)
    return Sent(full=redact(words, secret)) if status == 429 and not exhausted else None


def is_definite(status: int | None) -> bool:
    """Tell whether a failed call has certainly changed nothing."""
    return status is not None and 400 <= status < 500 and status not in (408, 409)
