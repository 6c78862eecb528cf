"""Ask many reviewers about many rollouts: bounded, fair, and nothing is lost on the way.

A *seat* is one reviewer with the rollouts that it has still to answer. Each seat draws a bounded
number of rollouts ahead; they are never collected. Which request goes next is decided at the
gate, see ``reviewers.gate``; what a request meets on its way, in ``reviewers.line``.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from dca.domain.errors import ReviewError, UsageError
from dca.domain.review import Abstention, Answer
from dca.domain.rollout import Rollout
from reviewers.dialogue import abstention_kind
from reviewers.gate import Closed, Lane
from reviewers.local_line import Conversing
from reviewers.model_reviewer import ModelReviewer
from reviewers.protocol import Reviewer, review_key
from reviewers.streams import bundles, share
from reviewers.switchboard import Switchboard

AHEAD = 2
"""Asks alive for each slot that a seat could use: in flight, waiting, or between attempts."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One reviewer and what it has still to answer."""

    reviewer: Reviewer
    rollouts: AsyncIterable[Rollout] | Iterable[Rollout]
    """Drawn from once, lazily, in order."""
    limit: int | None = None
    """Most requests of this reviewer in flight, >= 1; ``None``: only the panel's bound."""
    given_up: Callable[[], bool] = lambda: False
    """Tells whether to ask no more; the rollouts that were drawn already are passed over."""
    paused: Callable[[], bool] = lambda: False
    """Tells whether to ask nothing for the time being."""


async def convene(
    reviewers: Sequence[Reviewer],
    rollouts: AsyncIterable[Rollout] | Iterable[Rollout],
    *,
    concurrency: int,
    on_answer: Callable[[Answer], None],
) -> int:
    """Ask every reviewer about every rollout of one stream; see ``convene_seats``.

    The stream is drawn from once. A reviewer may run ahead of the slowest one by at most four
    times ``concurrency`` rollouts.

    Raises:
        CredentialError, ReviewerUnavailable: A reviewer was asked no more, see ``Line.down``; the
            others have answered everything.
    """
    streams = share(rollouts, len(reviewers), lead=2 * concurrency)
    seats = [Seat(reviewer, stream) for reviewer, stream in zip(reviewers, streams, strict=True)]
    async with Switchboard(concurrency) as board:
        answers = await convene_seats(seats, board, on_answer=on_answer)
    for line in board.lines:
        if line.down is not None:
            raise line.down
    return answers


async def convene_seats(
    seats: Iterable[Seat], board: Switchboard, *, on_answer: Callable[[Answer], None]
) -> int:
    """Ask every seat about its rollouts and hand out the answers as they come.

    Args:
        seats: Who is asked about what.
        board: Connections, slots and limits.
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
    places = [_place(seat, board) for seat in seats]
    return await _Session(places, board, on_answer).run()


def abstention(reviewer: Reviewer, rollout: Rollout, error: ReviewError) -> Abstention:
    """Return the record of a reviewer that could not answer."""
    key = review_key(reviewer, rollout)
    return Abstention(key, abstention_kind(error), str(error), error.usage, error.raw)


@asynccontextmanager
async def opened(reviewers: Sequence[Reviewer]) -> AsyncGenerator[Sequence[Reviewer], None]:
    """Open the reviewers that hold something of their own open, and close them at the end."""
    async with AsyncExitStack() as stack:
        for reviewer in reviewers:
            # Models that are asked over a switchboard share its connections.
            shared = isinstance(reviewer, ModelReviewer)
            if isinstance(reviewer, AbstractAsyncContextManager) and not shared:
                await stack.enter_async_context(reviewer)
        yield reviewers


@dataclass(slots=True, eq=False)
class _Place:
    """A seat at work."""

    seat: Seat
    answer: Callable[[Sequence[Rollout]], Awaitable[Sequence[Answer]]]
    bundle: int
    """Rollouts that are asked about together."""
    ahead: int
    """Most asks alive."""
    live: int = 0
    room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an ask has ended."""


def _place(seat: Seat, board: Switchboard) -> _Place:
    """Return a seat with its way to answers."""
    own = seat.reviewer.calling.concurrency if isinstance(seat.reviewer, ModelReviewer) else None
    limits = [limit for limit in (seat.limit, own) if limit is not None]
    limit = min(limits, default=board.gate.slots)
    if limit < 1:
        raise UsageError("the concurrency of a panel and of its seats must be at least 1")

    def width() -> float:
        return 0 if seat.paused() else limit

    reviewer = seat.reviewer
    lane = board.gate.lane(width, seat.given_up)
    ahead = AHEAD * min(limit, board.gate.slots)
    if isinstance(reviewer, ModelReviewer):
        line = board.line(reviewer, lane)
        return _Place(seat, line.answer, reviewer.bundle, ahead)
    if isinstance(reviewer, Conversing):
        local = board.local_line(reviewer, lane)
        return _Place(seat, local.answer, reviewer.bundle, ahead)
    return _Place(seat, _asking_once(reviewer, board, lane), 1, ahead)


def _asking_once(
    reviewer: Reviewer, board: Switchboard, lane: Lane
) -> Callable[[Sequence[Rollout]], Awaitable[Sequence[Answer]]]:
    """Return how a reviewer is asked that is nothing but one question."""

    async def answer(rollouts: Sequence[Rollout]) -> Sequence[Answer]:
        (rollout,) = rollouts
        async with board.gate.slot(lane):
            try:
                return (await reviewer.review(rollout),)
            except ReviewError as error:
                return (abstention(reviewer, rollout, error),)

    return answer


class _Session:
    """One call of ``convene_seats``: owns all tasks."""

    def __init__(
        self, places: list[_Place], board: Switchboard, on_answer: Callable[[Answer], None]
    ) -> None:
        self._places = places
        self._board = board
        self._on_answer = on_answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        """Set when no task is left."""
        self._answers = 0
        self._failure: BaseException | None = None
        """The first exception of a task: nothing new is started."""

    async def run(self) -> int:
        """Work until every stream is at its end, or drain after the first failure."""
        for place in self._places:
            self._start(self._pump(place), self._pumps)
        cancelled: asyncio.CancelledError | None = None
        try:
            while self._tasks or self._pumps:
                self._idle.clear()
                try:
                    await self._idle.wait()
                except asyncio.CancelledError as error:
                    if cancelled is not None:
                        raise
                    cancelled = error
                    self._drain()
        finally:
            await _drop(self._tasks | self._pumps)
        if cancelled is not None:
            raise cancelled
        if self._failure is not None:
            raise self._failure
        return self._answers

    def _drain(self) -> None:
        """Start nothing new."""
        self._board.gate.close()
        for pump in self._pumps:
            pump.cancel()

    def _start(self, work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
        """Start ``work`` as one of ``tasks``."""
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        """Take a task that has ended off the books; remember the first failure."""
        self._tasks.discard(task)
        self._pumps.discard(task)
        # Every exception is looked at: asyncio prints those that nobody has retrieved.
        failure = None if task.cancelled() else task.exception()
        if failure is not None and self._failure is None:
            self._failure = failure
            self._drain()
        if not self._tasks and not self._pumps:
            self._idle.set()

    async def _pump(self, place: _Place) -> None:
        """Draw the rollouts of a seat, as fast as they are answered."""
        stream = bundles(place.seat.rollouts, place.bundle)
        try:
            async for rollouts in stream:
                if place.seat.given_up() or self._board.gate.closed:
                    return
                place.live += 1
                self._start(self._ask(place, rollouts), self._tasks)
                while place.live >= place.ahead:
                    place.room.clear()
                    await place.room.wait()
        finally:
            await stream.aclose()

    async def _ask(self, place: _Place, rollouts: Sequence[Rollout]) -> None:
        """Ask one reviewer once and hand out what it says."""
        try:
            answers = await place.answer(rollouts)
        except Closed:
            return
        finally:
            place.live -= 1
            place.room.set()
        for answer in answers:
            self._on_answer(answer)
            self._answers += 1


async def _drop(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone."""
    leaving = list(tasks)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
