"""Ask many reviewers about many rollouts: bounded, fair, and nothing is lost on the way.

A *seat* is one reviewer with the rollouts that it has still to answer. Free slots go to the seat
with the fewest requests in flight, so a slow reviewer never holds more than its share while
another has work. Each seat draws at most ``concurrency`` rollouts ahead; they are never collected.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from dca.domain.errors import (
    ReplyInvalid,
    ReplyTruncated,
    ReviewerRefused,
    ReviewError,
    UsageError,
)
from dca.domain.review import Abstention, AbstentionKind, Review
from dca.domain.rollout import Rollout
from reviewers.protocol import Reviewer, review_key
from reviewers.streams import each, share

Answer = Review | Abstention
"""What one reviewer said of one rollout, or why it could not."""

_KINDS: tuple[tuple[type[ReviewError], AbstentionKind], ...] = (
    (ReviewerRefused, AbstentionKind.REFUSED),
    (ReplyTruncated, AbstentionKind.TRUNCATED),
    (ReplyInvalid, AbstentionKind.INVALID),
    (ReviewError, AbstentionKind.UNAVAILABLE),
)


@dataclass(frozen=True, slots=True)
class Seat:
    """One reviewer and what it has still to answer."""

    reviewer: Reviewer
    rollouts: AsyncIterable[Rollout] | Iterable[Rollout]
    """Drawn from once, lazily, in order."""
    limit: int | None = None
    """Most requests of this reviewer in flight, >= 1; ``None``: only the panel's bound."""
    given_up: Callable[[], bool] = lambda: False
    """Tells whether to ask no more; the rollouts that were drawn already are passed over, and
    the stream is expected to end."""


async def convene(
    reviewers: Sequence[Reviewer],
    rollouts: AsyncIterable[Rollout] | Iterable[Rollout],
    *,
    concurrency: int,
    on_answer: Callable[[Answer], None],
) -> int:
    """Ask every reviewer about every rollout of one stream; see ``convene_seats``.

    The stream is drawn from once. A reviewer may run ahead of the slowest one by at most three
    times ``concurrency`` rollouts.
    """
    streams = share(rollouts, len(reviewers), lead=2 * concurrency)
    seats = [Seat(reviewer, stream) for reviewer, stream in zip(reviewers, streams, strict=True)]
    return await convene_seats(seats, concurrency=concurrency, on_answer=on_answer)


async def convene_seats(
    seats: Iterable[Seat],
    *,
    concurrency: int,
    on_answer: Callable[[Answer], None],
) -> int:
    """Ask every seat about its rollouts and hand out the answers as they come.

    Args:
        seats: Who is asked about what.
        concurrency: Most requests in flight, >= 1.
        on_answer: Called once for each answer, never twice at a time. A ``ReviewError`` arrives
            as an ``Abstention``.

    Returns:
        The number of answers.

    Raises:
        asyncio.CancelledError: The first cancellation starts nothing new, waits for the
            requests in flight and hands out their answers; a second one drops them.
        CredentialError, or any exception that is no ``ReviewError``: nothing new is started,
            the answers in flight are handed out, then the first such exception is raised.
    """
    places = [_Place(seat, each(seat.rollouts), asyncio.Queue(concurrency)) for seat in seats]
    limits = [place.seat.limit for place in places if place.seat.limit is not None]
    if min([concurrency, *limits]) < 1:
        raise UsageError("the concurrency of a panel and of its seats must be at least 1")
    return await _Session(places, concurrency, on_answer).run()


def abstention(reviewer: Reviewer, rollout: Rollout, error: ReviewError) -> Abstention:
    """Return the record of a reviewer that could not answer."""
    kind = next(kind for cause, kind in _KINDS if isinstance(error, cause))
    return Abstention(review_key(reviewer, rollout), kind, str(error), error.usage, error.raw)


@asynccontextmanager
async def opened(reviewers: Sequence[Reviewer]) -> AsyncGenerator[Sequence[Reviewer], None]:
    """Open the reviewers that hold connections, and close them at the end.

    Raises:
        CredentialError: A key is not set; nothing was asked yet.
    """
    async with AsyncExitStack() as stack:
        for reviewer in reviewers:
            if isinstance(reviewer, AbstractAsyncContextManager):
                await stack.enter_async_context(reviewer)
        yield reviewers


@dataclass(slots=True, eq=False)
class _Place:
    """A seat at work."""

    seat: Seat
    stream: AsyncGenerator[Rollout, None]
    waiting: asyncio.Queue[Rollout]
    """Rollouts drawn and not yet asked about."""
    flying: int = 0
    """Requests in flight."""

    @property
    def ready(self) -> bool:
        """True when a free slot could be used at once."""
        limit = self.seat.limit
        return not self.waiting.empty() and (limit is None or self.flying < limit)

    def empty(self) -> None:
        """Pass over what waits, so that whoever draws is not held up by it."""
        while not self.waiting.empty():
            self.waiting.get_nowait()


class _Session:
    """One call of ``convene_seats``: a single loop that owns all tasks."""

    def __init__(
        self, places: list[_Place], concurrency: int, on_answer: Callable[[Answer], None]
    ) -> None:
        self._places = places
        self._concurrency = concurrency
        self._on_answer = on_answer
        self._asks: set[asyncio.Task[None]] = set()
        self._draws: set[asyncio.Task[None]] = set()
        self._change = asyncio.Event()
        """Set when a task has ended."""
        self._answers = 0
        self._failure: BaseException | None = None
        """The first exception of a task: nothing new is started."""
        self._cancelled: asyncio.CancelledError | None = None
        """The first cancellation: likewise."""

    async def run(self) -> int:
        """Work until every stream is at its end, or drain after the first failure."""
        for place in self._places:
            self._run(self._draws, self._draw(place))
        try:
            while await self._advance():
                pass
        finally:
            await _drop(self._asks | self._draws)
            for place in self._places:
                await place.stream.aclose()
        if self._cancelled is not None:
            raise self._cancelled
        if self._failure is not None:
            raise self._failure
        return self._answers

    async def _advance(self) -> bool:
        """Start what can be started and wait for a change; return False when nothing is left."""
        self._change.clear()
        if self._failure is None and self._cancelled is None:
            self._feed()
        else:
            await _drop(self._draws)
        if not self._asks and not self._draws:
            return False
        try:
            await self._change.wait()
        except asyncio.CancelledError as cancelled:
            if self._cancelled is not None:
                raise
            self._cancelled = cancelled
        return True

    def _run(self, tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
        """Start ``work`` as one of ``tasks``."""
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        """Take a task that has ended off the books; remember the first failure."""
        self._asks.discard(task)
        self._draws.discard(task)
        # Every exception is looked at: asyncio prints those that nobody has retrieved.
        failure = None if task.cancelled() else task.exception()
        if self._failure is None:
            self._failure = failure
        self._change.set()

    def _feed(self) -> None:
        """Fill the free slots, the seat with the fewest requests in flight first."""
        for place in self._places:
            if place.seat.given_up():
                place.empty()
        while len(self._asks) < self._concurrency:
            ready = [place for place in self._places if place.ready]
            if not ready:
                return
            place = min(ready, key=lambda item: item.flying)
            place.flying += 1
            self._run(self._asks, self._ask(place, place.waiting.get_nowait()))

    async def _draw(self, place: _Place) -> None:
        """Draw the rollouts of a seat, waiting while enough of them wait."""
        async for rollout in place.stream:
            await place.waiting.put(rollout)
            self._change.set()

    async def _ask(self, place: _Place, rollout: Rollout) -> None:
        """Ask one reviewer about one rollout and hand out what it says."""
        reviewer = place.seat.reviewer
        try:
            answer: Answer = await reviewer.review(rollout)
        except ReviewError as error:
            answer = abstention(reviewer, rollout, error)
        finally:
            place.flying -= 1
        self._on_answer(answer)
        self._answers += 1


async def _drop(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone."""
    leaving = list(tasks)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
