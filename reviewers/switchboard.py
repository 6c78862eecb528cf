"""What the reviewers of one run share: connections, slots, limits and the budget."""

import os
import random
from types import TracebackType
from typing import Self

from dca.domain.errors import CredentialError
from reviewers.budget import Budget
from reviewers.gate import Gate, Lane
from reviewers.line import Asked, Line
from reviewers.local_line import Conversing, LocalLine
from reviewers.tracing import span_maker
from reviewers.traffic import Traffic
from reviewers.width import STEP_S
from reviewers.wire import Wire

GROWING = 12
"""Steps in which a new line may grow wider without any answer, see ``reviewers.width``."""


class Switchboard:
    """An asynchronous context manager; leaving it closes the connections."""

    def __init__(self, concurrency: int, *, budget: Budget | None = None) -> None:
        """Prepare; nothing is opened.

        Args:
            concurrency: Most requests in flight over all reviewers, >= 1.
            budget: What may be spent; ``None``: no caps.
        """
        self.gate = Gate(concurrency)
        self.budget = budget or Budget()
        self.lines: list[Line | LocalLine] = []
        self._wire = Wire()
        self._observer = span_maker()
        self._traffic: dict[tuple[str, str, str], Traffic] = {}

    async def __aenter__(self) -> Self:
        """Open the pool of connections."""
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close every connection."""
        await self._wire.__aexit__(kind, error, traceback)

    def line(self, reviewer: Asked, lane: Lane) -> Line:
        """Connect a reviewer over ``lane``; reviewers of one model and key share its limits.

        Raises:
            CredentialError: The key's variable is not set.
        """
        endpoint, calling = reviewer.endpoint, reviewer.calling
        secret = read_key(reviewer.info.name, endpoint.api_key_env)
        address = reviewer.dialect.address(endpoint, secret)
        place = (address.url, secret, endpoint.model)
        if place not in self._traffic:
            slots = self.gate.slots
            self._traffic[place] = Traffic(
                calling,
                min(slots, calling.concurrency or slots),
                random.Random(),  # noqa: S311 - jitter
                counts_cached=reviewer.dialect.counts_cached,
            )
            self.gate.call_again(STEP_S, GROWING)
        line = Line(
            reviewer,
            address,
            secret,
            lane=lane,
            gate=self.gate,
            wire=self._wire,
            traffic=self._traffic[place],
            budget=self.budget,
        )
        line.observer = self._observer
        self.lines.append(line)
        return line

    def local_line(self, reviewer: Conversing, lane: Lane) -> LocalLine:
        """Connect a reviewer over ``lane`` whose model is in this process."""
        line = LocalLine(reviewer, lane=lane, gate=self.gate, budget=self.budget)
        self.lines.append(line)
        return line


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
