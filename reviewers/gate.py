"""Slots for requests in flight, shared fairly between reviewers, and the way out of all waiting.

A free slot goes to the lane with the fewest requests in flight among those that wait and have
room, so a slow reviewer never holds more than its share while another has work, and whoever is
alone may use them all.

Everything that waits before a request, for a slot, for a rate limit or for the next attempt,
waits at a gate; when the gate closes, all of it ends with ``Closed``, while what is in flight, and
what has been paid for in part, goes on.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class Closed(Exception):
    """Nothing new is begun."""


def _no_limit() -> float:
    return float("inf")


def _never() -> bool:
    return False


@dataclass(slots=True, eq=False)
class Lane:
    """One reviewer's way through the gate."""

    width: Callable[[], float] = _no_limit
    """Most of its requests in flight; asked anew each time, so it may change while running."""
    over: Callable[[], bool] = _never
    """Tells whether it begins nothing new."""
    flying: int = 0
    """Requests in flight."""
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)
    """Whoever waits for a slot, in the order of arrival."""

    @property
    def expected(self) -> bool:
        """True when anybody waits; whoever has gone away is forgotten."""
        while self.waiting and self.waiting[0].done():
            self.waiting.popleft()
        return bool(self.waiting)

    @property
    def has_room(self) -> bool:
        """True when one more request may fly."""
        return self.flying < self.width()


class Gate:
    """At most ``slots`` requests in flight over all lanes."""

    def __init__(self, slots: int) -> None:
        """Open with ``slots`` (>= 1) free slots."""
        self.slots = slots
        self.flying = 0
        self.closed = False
        self._lanes: list[Lane] = []
        self._resting: set[asyncio.Future[None]] = set()
        self._called = False

    def lane(
        self, width: Callable[[], float] = _no_limit, over: Callable[[], bool] = _never
    ) -> Lane:
        """Return a new way through this gate; see ``Lane``."""
        self._lanes.append(Lane(width, over))
        return self._lanes[-1]

    @asynccontextmanager
    async def slot(self, lane: Lane, *, begun: bool = False) -> AsyncGenerator[None, None]:
        """Hold one slot, waiting for it if need be.

        Args:
            lane: Of this gate.
            begun: True for what has been paid for in part, which is finished in any case.

        Raises:
            Closed: The gate or the lane begins nothing new.
        """
        await self._enter(lane, begun=begun)
        try:
            if not begun and (self.closed or lane.over()):
                raise Closed
            yield
        finally:
            self._leave(lane)

    async def _enter(self, lane: Lane, *, begun: bool) -> None:
        """Wait in line."""
        if self.closed and not begun:
            raise Closed
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append(turn)
        self.call()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The slot was granted in the same moment: hand it on.
                self._leave(lane)
            raise

    def _leave(self, lane: Lane) -> None:
        """Give a slot back."""
        lane.flying -= 1
        self.flying -= 1
        self.call()

    def call(self) -> None:
        """Have the free slots granted soon; also to be called when a lane has grown wider.

        Not at once: whoever asks in the same round of the loop is to have the same chance.
        """
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._admit)

    def call_again(self, seconds: float, times: int) -> None:
        """Call now and then for a while: lanes grow wider with time alone."""
        loop = asyncio.get_running_loop()
        for number in range(1, times + 1):
            loop.call_later(number * seconds, self.call)

    def _admit(self) -> None:
        """Grant what can be granted, the lane with the fewest requests in flight first."""
        self._called = False
        while self.flying < self.slots:
            ready = [lane for lane in self._lanes if lane.expected and lane.has_room]
            if not ready:
                return
            lane = min(ready, key=lambda item: item.flying)
            lane.flying += 1
            self.flying += 1
            lane.waiting.popleft().set_result(None)

    async def rest(self, seconds: float, *, begun: bool = False) -> None:
        """Wait, holding no slot.

        Raises:
            Closed: The gate closes, or is closed; never when ``begun``.
        """
        if begun:
            await asyncio.sleep(seconds)
            return
        if self.closed:
            raise Closed
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _finish, end)
        self._resting.add(end)
        try:
            await end
        finally:
            timer.cancel()
            self._resting.discard(end)
        if self.closed:
            raise Closed

    def close(self) -> None:
        """Begin nothing new: whoever waits goes away. What is in flight goes on."""
        self.closed = True
        for end in list(self._resting):
            _finish(end)
        for lane in self._lanes:
            lane.width = _no_limit  # Also a lane that was held back lets its waiters go.
        self.slots = max(self.slots, self.flying + sum(len(lane.waiting) for lane in self._lanes))
        self.call()


def _finish(end: "asyncio.Future[None]") -> None:
    """End a wait that may have ended by itself."""
    if not end.done():
        end.set_result(None)
