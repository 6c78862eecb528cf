"""The desk of a review: every read and write of its store, on one thread of their own.

The loop that asks the reviewers never waits for the database, and the database is never asked two
things at a time. What is to be asked is claimed page by page before it is handed out, see
``store.claims``; answers are written in batches, and with each answer its claim goes away.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.review import Answer
from dca.domain.rollout import Rollout
from reviewers.protocol import Reviewer, review_key
from store.claims import claim, release
from store.engine import transaction, transactions
from store.jobs import paused_reviewers, update_job
from store.reviews import add_answers, pending
from store.selection import Selection

BATCH = 500
"""Answers written together at most."""
LINGER = 0.02
"""Seconds that an accepted answer waits for others before it is written.

A kill loses what waits, so it must be less than what is in flight: with answers of 50 ms and more
it is. Ten times as long saves a few per cent of processor time and no more.
"""
PAGE = 64
"""Rollouts read and claimed at once: with 200,000 tokens each, 50 MB."""
UNWRITTEN = 4 * BATCH
"""Answers that may wait for the database before nothing new is handed out."""

Result = TypeVar("Result")


class Desk:
    """The store's side of one review; used from one event loop."""

    def __init__(self, engine: Engine, job: int, selection: Selection, *, again: bool) -> None:
        """Sit down at the store.

        Args:
            engine: The store.
            job: Number of the running job.
            selection: Which rollouts.
            again: Whether abstentions count as no answer.
        """
        self.held: dict[str, int] = {}
        """Reviewer name to reviews that another run was asking for."""
        self._engine = engine
        self._job = job
        self._selection = selection
        self._again = again
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dca-store")
        self._batch: list[Answer] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None

    async def do(self, work: Callable[[], Result]) -> Result:
        """Do something with the store, after what was begun before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def unanswered(self, reviewer: Reviewer) -> AsyncGenerator[Rollout, None]:
        """Yield what a reviewer has still to answer and nobody else is asking for."""
        pages = _Pages(self._engine, self._selection, reviewer, again=self._again)
        name = reviewer.info.name
        try:
            while page := await self.do(pages.read):
                granted = await self.do(lambda keys=[*page]: self._claim(keys))
                self.held[name] = self.held.get(name, 0) + len(page) - len(granted)
                for key in granted:
                    await self._breathe()
                    yield page[key]
        finally:
            await self.do(pages.close)

    def _claim(self, keys: Sequence[str]) -> list[str]:
        """Return which reviews this job now holds, in their order."""
        with transaction(self._engine) as session:
            granted = claim(session, self._job, keys, again=self._again)
        return [key for key in keys if key in granted]

    async def _breathe(self) -> None:
        """Wait while too many answers wait for the database; raises what a write has raised."""
        while self._writing is not None and (
            self._writing.done() or len(self._batch) >= UNWRITTEN
        ):
            await self._written()
            await asyncio.sleep(0)  # A future that is done already would never let others run.

    def take(self, answer: Answer) -> None:
        """Write an answer soon."""
        self._batch.append(answer)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._flush)
        if len(self._batch) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        """Have what waits written, unless a batch is being written: then right after it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._batch or self._writing is not None:
            return
        batch, self._batch = self._batch, []
        self._writing = asyncio.ensure_future(self.do(lambda: self._write(batch)))
        self._writing.add_done_callback(self._go_on)

    def _go_on(self, writing: "asyncio.Future[None]") -> None:
        """Write what has come in the meantime; a fault waits for whoever looks at it."""
        if writing.cancelled() or writing.exception() is None:
            self._writing = None
            self._flush()

    async def _written(self) -> None:
        """Wait for the batch that is being written; raises what it has raised."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def _write(self, answers: Sequence[Answer]) -> None:
        """Store answers and let their claims go, in one transaction."""
        with transaction(self._engine) as session:
            add_answers(session, answers)
            release(session, (answer.key.id for answer in answers))

    async def beat(self, done: int, counts: Mapping[str, object]) -> frozenset[str]:
        """Give a sign of life with figures; return the reviewers that are to be paused."""
        return await self.do(lambda: self._beat(done, counts))

    def _beat(self, done: int, counts: Mapping[str, object]) -> frozenset[str]:
        with transaction(self._engine) as session:
            update_job(session, self._job, done=done, counts=counts)
            return paused_reviewers(session, self._job)

    async def clear(self) -> None:
        """Write everything that waits."""
        while self._batch or self._writing is not None:
            self._flush()
            await self._written()
            await asyncio.sleep(0)

    def leave(self) -> None:
        """Write what is left, outside any loop, and end the thread."""
        if self._timer is not None:
            self._timer.cancel()
        # A batch that failed is not tried again: its error is on its way up.
        self._thread.shutdown(wait=True)
        if self._batch:
            self._write(self._batch)
            self._batch = []


class _Pages:
    """Pages of what a reviewer has not answered, read on the desk's thread."""

    def __init__(
        self, engine: Engine, selection: Selection, reviewer: Reviewer, *, again: bool
    ) -> None:
        self._reviewer = reviewer
        self._context = transactions(engine)
        self._session: Session | None = None
        self._selection = selection
        self._again = again
        self._pages = iter(())

    def read(self) -> dict[str, Rollout]:
        """Return the next page, key of the review to rollout; empty at the end."""
        if self._session is None:
            self._session = self._context.__enter__()
            info, prompt = self._reviewer.info, self._reviewer.prompt_digest
            self._pages = pending(
                self._session,
                info.digest,
                prompt,
                self._reviewer.labels.name,
                1,
                self._selection,
                page=PAGE,
                retry_failed=self._again,
            )
        page = next(self._pages, [])
        # No transaction stays open while the page is being reviewed.
        self._session.commit()
        return {review_key(self._reviewer, rollout).id: rollout for rollout in page}

    def close(self) -> None:
        """Let the connection go."""
        if self._session is not None:
            self._context.__exit__(None, None, None)
            self._session = None
