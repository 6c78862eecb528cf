"""What the reviewers behind an official SDK share: who they are, one client, one question."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import replace
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from dca.domain.labels import LabelSet
from dca.domain.review import Review, ReviewerInfo
from dca.domain.rollout import Rollout
from reviewers.calling import (
    Calling,
    Fault,
    Reply,
    model_info,
    read_key,
    review_by_call,
)
from reviewers.endpoint import Endpoint
from reviewers.question import Asking, Question


class Closable(Protocol):
    """A client with connections."""

    def close(self) -> Awaitable[None]:
        """Close them."""
        ...


Client = TypeVar("Client", bound=Closable)


class SdkReviewer(ABC, Generic[Client]):
    """One model behind one SDK.

    An asynchronous context manager: leaving it closes the connections.
    """

    def __init__(
        self,
        info: ReviewerInfo,
        endpoint: Endpoint,
        asking: Asking | None,
        calling: Calling | None,
    ) -> None:
        """Describe the reviewer; nothing is opened and no key is read before the first review.

        Args:
            info: Name, kind, family and model.
            endpoint: Model, address, variable of the key, way to ask for JSON.
            asking: Protocol, outcome, labels and prompt; ``None``: the defaults.
            calling: Sampling, limits, timeouts and retries; ``None``: the defaults.
        """
        self.endpoint = endpoint
        self.asking = asking or Asking()
        self.calling = calling or Calling()
        self._info = model_info(
            info,
            self.asking.settings,
            self.calling.settings,
            {"response_format": endpoint.response_format.value},
        )
        self._key = ""
        self._client: Client | None = None

    def __repr__(self) -> str:
        """Return the name and the model: never an address or a key."""
        return f"{type(self).__name__}({self._info.name!r}, model={self._info.model!r})"

    @property
    def info(self) -> ReviewerInfo:
        """Who this is."""
        return self._info

    @property
    def prompt_digest(self) -> str:
        """Digest of the prompt file."""
        return self.asking.prompt.digest

    @property
    def labels(self) -> LabelSet:
        """The labels that it may use."""
        return self.asking.labels

    async def __aenter__(self) -> Self:
        """Read the key and open the client, so that a missing key shows before any work."""
        self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def review(self, rollout: Rollout) -> Review:
        """Ask about ``rollout``; raises ``ReviewError`` or ``CredentialError``."""
        return await review_by_call(self, rollout, self._ask, address=self.endpoint.address)

    async def _ask(self, question: Question) -> Reply | Fault:
        """Send one request with the open client; no reply that quotes the key gets further."""
        answer = await self._send(self._open(), question)
        if isinstance(answer, Fault) or not self._key:
            return answer
        text, detail = (part.replace(self._key, "***") for part in (answer.text, answer.detail))
        return replace(answer, text=text, detail=detail)

    def _open(self) -> Client:
        """Return the client; the key is read from the environment the first time."""
        if self._client is None:
            self._key = read_key(self._info.name, self.endpoint.api_key_env)
            self._client = self._connect()
        return self._client

    @abstractmethod
    def _connect(self) -> Client:
        """Return a new client of the SDK, which itself never retries."""

    @abstractmethod
    async def _send(self, client: Client, question: Question) -> Reply | Fault:
        """Send one request."""
