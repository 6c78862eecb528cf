"""Streams of rollouts: one interface for both kinds of iterables, and one stream for many."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


async def each(items: AsyncIterable[Item] | Iterable[Item]) -> AsyncGenerator[Item, None]:
    """Yield the items of either kind of iterable, one at a time."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def bundles(
    items: AsyncIterable[Item] | Iterable[Item], size: int
) -> AsyncGenerator[list[Item], None]:
    """Yield the items in lists of ``size`` (>= 1), the last one shorter."""
    bundle: list[Item] = []
    stream = each(items)
    try:
        async for item in stream:
            bundle.append(item)
            if len(bundle) == size:
                yield bundle
                bundle = []
    finally:
        await stream.aclose()
    if bundle:
        yield bundle


def share(
    items: AsyncIterable[Item] | Iterable[Item], count: int, *, lead: int
) -> list[AsyncGenerator[Item, None]]:
    """Return ``count`` streams that each yield every item.

    The source is drawn from once, by whichever stream is ahead. A stream that is ``lead`` items
    (>= 1) ahead of the slowest one waits for it, so no more than that is ever kept.
    """
    source = _Source(each(items), [deque[Item]() for _ in range(count)], lead)
    return [source.tap(queue) for queue in source.queues]


@dataclass(slots=True, eq=False)
class _Source(Generic[Item]):
    """The state that the streams of one source share."""

    stream: AsyncGenerator[Item, None]
    queues: "list[deque[Item]]"
    """For each stream what the others have drawn and it has not yet yielded."""
    lead: int
    ended: bool = False
    change: asyncio.Condition = field(default_factory=asyncio.Condition)
    """Notified when a queue grows or shrinks, or the source ends."""

    async def tap(self, queue: "deque[Item]") -> AsyncGenerator[Item, None]:
        """Yield every item once, for one stream."""
        while True:
            async with self.change:
                while not queue and not self.ended:
                    if max(map(len, self.queues)) >= self.lead:
                        await self.change.wait()
                    else:
                        await self._draw()
                if not queue:
                    return
                item = queue.popleft()
                self.change.notify_all()
            yield item

    async def _draw(self) -> None:
        """Draw one item for all streams; the caller holds ``change``."""
        try:
            item = await anext(self.stream)
        except StopAsyncIteration:
            self.ended = True
        else:
            for queue in self.queues:
                queue.append(item)
        self.change.notify_all()
