"""A language model as a reviewer: who it is, how it is asked, where it answers."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from dca.domain.errors import ReviewError
from dca.domain.labels import LabelSet
from dca.domain.review import Abstention, Review, ReviewerInfo
from dca.domain.rollout import Rollout
from reviewers.calling import Calling
from reviewers.choose import dialogue_for
from reviewers.dialects.dialect import Dialect
from reviewers.dialogue import ABSTENTION_ERRORS, Dialogue
from reviewers.endpoint import Endpoint
from reviewers.line import Line
from reviewers.prices import Price
from reviewers.question import Asking
from reviewers.switchboard import Switchboard


class ModelReviewer:
    """One model behind one address.

    A panel asks it over a shared ``Switchboard``. To ask it alone, enter it as an asynchronous
    context manager and call ``review``.
    """

    def __init__(
        self,
        info: ReviewerInfo,
        endpoint: Endpoint,
        dialect: Dialect,
        *,
        asking: Asking | None = None,
        calling: Calling | None = None,
        price: Price | None = None,
    ) -> None:
        """Describe the reviewer; nothing is opened and no key is read.

        Args:
            info: Name, kind, family and model; the settings are added here.
            endpoint: Model, address, variable of the key, way to ask for JSON.
            dialect: The provider's language.
            asking: Protocol, outcome, labels and prompt; ``None``: the defaults.
            calling: Sampling, limits, timeouts and retries; ``None``: the defaults.
            price: What a token costs; ``None``: not known.
        """
        self.endpoint = endpoint
        self.dialect = dialect
        self.asking = asking or Asking()
        self.calling = calling or Calling()
        self.price = price
        settings: dict[str, object] = dict(info.settings)
        form: Mapping[str, object] = {"response_format": endpoint.response_format.value}
        for part in (self.asking.settings, self.calling.settings, form):
            settings.update(part)
        # Addresses and names of keys are no part of who this is.
        self.info = replace(info, settings=settings)
        self._stack: AsyncExitStack | None = None
        self._line: Line | None = None

    def __repr__(self) -> str:
        """Return the name and the model: never an address or a key."""
        return f"{type(self).__name__}({self.info.name!r}, model={self.info.model!r})"

    @property
    def prompt_digest(self) -> str:
        """Digest of the files of words that it is asked with."""
        return self.asking.prompt_digest

    @property
    def labels(self) -> LabelSet:
        """The labels that it may use."""
        return self.asking.labels

    @property
    def bundle(self) -> int:
        """Rollouts that are asked about together."""
        return self.asking.together

    def dialogue(self, rollouts: Sequence[Rollout]) -> Dialogue:
        """Return what is to be said about ``rollouts``, at most ``bundle`` of them."""
        return dialogue_for(self, rollouts)

    async def __aenter__(self) -> Self:
        """Read the key and open a connection of its own."""
        async with AsyncExitStack() as stack:
            board = await stack.enter_async_context(Switchboard(self.calling.concurrency or 16))
            self._line = board.line(self, board.gate.lane())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        if self._stack is not None:
            await self._stack.aclose()
            self._stack = self._line = None

    async def review(self, rollout: Rollout) -> Review:
        """Ask about ``rollout`` alone.

        Raises:
            ReviewError: No usable reply.
            CredentialError: The key is missing or was refused.
        """
        if self._line is None:
            async with self:
                return await self.review(rollout)
        (answer,) = await self._line.answer_or_raise((rollout,))
        if isinstance(answer, Abstention):
            raise _error(answer)
        return answer


def _error(answer: Abstention) -> ReviewError:
    """Return the error that an abstention records."""
    return ABSTENTION_ERRORS[answer.kind](answer.reason, usage=answer.usage, raw=answer.raw)
