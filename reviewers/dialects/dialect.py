"""What every dialect can do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.exchange import Question, Reply
from reviewers.headroom import Headroom


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go, with what the official SDK sends to be let in."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    """Holds the key: never shown, stored or logged."""


class Dialect(Protocol):
    """One provider's language."""

    @property
    def name(self) -> str:
        """Name of the API, ``openai-chat`` for example."""
        ...

    @property
    def counts_cached(self) -> bool:
        """Whether input from the provider's cache counts against its rate limits."""
        ...

    def address(self, endpoint: Endpoint, key: str) -> Address:
        """Return where the official SDK would send a request, and its headers."""
        ...

    def encode(self, question: Question, endpoint: Endpoint, calling: Calling) -> bytes:
        """Return the body of a request; equal questions give equal bytes."""
        ...

    def decode(self, body: bytes) -> Reply:
        """Return what a body says.

        Raises:
            msgspec.MsgspecError: It is no reply of this API.
        """
        ...

    def headroom(self, headers: Mapping[str, str], now: float) -> Headroom:
        """Return what the headers of a response say of rate limits; ``now`` is wall time."""
        ...
