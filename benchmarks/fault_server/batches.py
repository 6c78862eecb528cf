"""Batches of requests, as both providers know them: time compressed, partly failing, cancellable.

A batch is validated for a tenth of its time, works through its requests until eight tenths, and
is made ready for the rest. What is drawn to expire or is cancelled leaves requests unanswered.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.fault_server.answers import write_error
from benchmarks.fault_server.asks import BadRequestError, Dialect, read_ask
from benchmarks.fault_server.service import Service

_SLICE = 50
"""Requests answered in one go: other clients must not wait for a batch."""

_ROUNDS = 10
_EXPIRED_FROM = 0.7
"""The part of its requests that an expiring batch answers."""


class Stage(StrEnum):
    """How far a batch is; the values are OpenAI's."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


FINISHED = frozenset({Stage.FAILED, Stage.COMPLETED, Stage.EXPIRED, Stage.CANCELLED})


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch."""

    custom_id: str
    dialect: Dialect
    body: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request."""

    custom_id: str
    status: int
    """HTTP status; 0: expired, -1: cancelled."""
    body: bytes


EXPIRED = 0
CANCELLED = -1


@dataclass(slots=True)
class Run:
    """One batch."""

    id: str
    number: int
    items: Sequence[Item]
    fault: str = ""
    """``failed``, ``expired`` or empty."""
    stage: Stage = Stage.VALIDATING
    results: list[Result] = field(default_factory=list[Result])
    times: dict[Stage, float] = field(default_factory=dict[Stage, float])
    """When each stage began, in seconds since the epoch."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    errors: tuple[dict[str, object], ...] = ()
    """What validation found."""

    def enter(self, stage: Stage) -> None:
        """Begin a stage."""
        self.stage = stage
        self.times[stage] = time.time()

    def count(self, *, answered: bool) -> int:
        """Return the number of results with an answer, or without."""
        return sum((result.status == 200) is answered for result in self.results)


class Runner:
    """Works through batches in the background."""

    def __init__(self, service: Service) -> None:
        """Begin with none."""
        self.runs: dict[str, Run] = {}
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, prefix: str, items: Sequence[Item], errors: Sequence[dict[str, object]] = ()
    ) -> Run:
        """Begin a batch; with ``errors`` it fails when it has been validated."""
        number = len(self.runs) + 1
        fault = "failed" if errors else self._service.settings.plan.batch_fault(number)
        run = Run(f"{prefix}_{number}", number, items, fault, errors=tuple(errors))
        run.enter(Stage.VALIDATING)
        self.runs[run.id] = run
        self._service.ledger.totals.batches += 1
        task = asyncio.get_running_loop().create_task(self._work(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def cancel(self, run: Run) -> None:
        """Ask a batch to stop where it is."""
        if run.stage not in FINISHED and not run.cancelled.is_set():
            run.enter(Stage.CANCELLING)
            run.cancelled.set()

    def close(self) -> None:
        """Stop all work."""
        for task in self._tasks:
            task.cancel()

    async def _work(self, run: Run) -> None:
        seconds = self._service.settings.batch_s
        await self._pause(run, 0.1 * seconds)
        if run.fault == "failed":
            run.enter(Stage.FAILED)
            return
        await self._answer(run, 0.7 * seconds)
        if not run.cancelled.is_set():
            run.enter(Stage.FINALIZING)
        await self._pause(run, 0.2 * seconds)
        self._leave(run)
        # Neither provider promises the order of the requests.
        random.Random(run.number).shuffle(run.results)
        run.enter(_ENDS.get(run.fault, Stage.COMPLETED))

    async def _answer(self, run: Run, seconds: float) -> None:
        """Answer the requests, spread over ``seconds``."""
        if run.cancelled.is_set():
            return
        run.enter(Stage.IN_PROGRESS)
        share = _EXPIRED_FROM if run.fault == "expired" else 1.0
        items = run.items[: int(len(run.items) * share)]
        for turn in range(_ROUNDS):
            part = items[turn * len(items) // _ROUNDS : (turn + 1) * len(items) // _ROUNDS]
            for at in range(0, len(part), _SLICE):
                run.results.extend(self._settle(item) for item in part[at : at + _SLICE])
                await asyncio.sleep(0)
            await self._pause(run, seconds / _ROUNDS)
            if run.cancelled.is_set():
                return

    def _settle(self, item: Item) -> Result:
        """Answer one request."""
        try:
            status, body = self._service.settle(read_ask(item.dialect, item.body))
        except BadRequestError as error:
            anthropic = item.dialect is Dialect.MESSAGES
            status, body = 400, write_error(400, str(error), anthropic=anthropic)
        return Result(item.custom_id, status, body)

    def _leave(self, run: Run) -> None:
        """Note the requests that were not answered."""
        cancelled = run.cancelled.is_set()
        run.fault = "cancelled" if cancelled else run.fault
        status = CANCELLED if cancelled else EXPIRED
        rest = run.items[len(run.results) :]
        run.results.extend(Result(item.custom_id, status, b"") for item in rest)

    @staticmethod
    async def _pause(run: Run, seconds: float) -> None:
        """Wait, but not after a cancellation."""
        try:
            async with asyncio.timeout(seconds):
                await run.cancelled.wait()
        except TimeoutError:
            return


_ENDS = {"expired": Stage.EXPIRED, "cancelled": Stage.CANCELLED}


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, the newest first."""

    runs: Sequence[Run]
    more: bool

    @property
    def ids(self) -> dict[str, object]:
        """Return what both providers say beside the list."""
        first, last = (self.runs[0].id, self.runs[-1].id) if self.runs else (None, None)
        return {"first_id": first, "last_id": last, "has_more": self.more}


def list_page(runs: Sequence[Run], after: str, limit: int) -> Page:
    """Return the page of at most ``limit`` batches that follows the batch ``after``."""
    newest = list(reversed(runs))
    begin = next((at + 1 for at, run in enumerate(newest) if run.id == after), 0)
    return Page(newest[begin : begin + limit], len(newest) > begin + limit)
