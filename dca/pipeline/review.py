"""Review: ask a panel about the rollouts that it has not answered yet, and keep every answer."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected
from dca.domain.review import Answer
from dca.pipeline.bridge import wait_for
from dca.pipeline.caps import refuse_unpriced
from dca.pipeline.desk import Desk
from dca.pipeline.label_sets import keep_label_sets
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.tally import Tally, top_reasons
from reviewers.budget import Budget, Caps
from reviewers.human import Human
from reviewers.panel import Seat, convene_seats, opened
from reviewers.protocol import Reviewer
from reviewers.switchboard import Switchboard
from store.claims import Reaped, reap, release_job
from store.engine import transaction
from store.jobs import Outcome, finish_job, start_job
from store.reviews import abstention_reasons, add_reviewers, count_pending
from store.rollouts import count_rollouts
from store.selection import Selection

TICK = 0.1
"""Seconds between two looks at the clock, at Ctrl-C and at the progress display."""
BEAT = 2.0
"""Seconds between two signs of life in the store."""


@dataclass(frozen=True, slots=True)
class ReviewerResult:
    """What one reviewer did."""

    name: str
    asked: int
    reviews: int
    cached: int
    """Rollouts that it had reviewed before."""
    abstentions: Mapping[str, int] = field(default_factory=dict[str, int])
    """Abstentions of this run by kind."""
    pending: int = 0
    """Rollouts still without an answer."""
    held: int = 0
    """Of these, rollouts that another run was asking for."""
    requests: int = 0
    """Requests sent."""
    faults: Mapping[str, int] = field(default_factory=dict[str, int])
    """Requests that brought no reply, by cause."""
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """Part of ``output_tokens``."""
    cached_tokens: int = 0
    """Part of ``input_tokens``, served from the provider's cache."""
    dollars: float | None = None
    """What this run cost, what may have been charged included; ``None`` without a price."""
    p50: float | None = None
    """Median latency of the latest replies, seconds."""
    p95: float | None = None
    cached_abstentions: int = 0
    """Rollouts on which it had abstained before and was not asked again."""
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why it abstained, of this run and before: the most frequent messages, at most three."""
    stopped: str = ""
    """Why it was asked no more in this run; ``""`` when it was not given up."""
    by_sheet: bool = False
    """True for a person, who is asked nothing here; what is pending waits for sheets."""


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What ``dca review`` did."""

    job: int
    selected: int
    """Rollouts."""
    reviewers: tuple[ReviewerResult, ...]
    seconds: float
    stopped: bool
    """True when it was told to stop before the end."""
    spent_tokens: int = 0
    spent_dollars: float = 0.0
    """Of this run; what may have been charged is included."""
    doubtful_dollars: float = 0.0
    """The part of which nobody knows whether it was charged: replies that never arrived."""
    over: str = ""
    """``dollars``, ``tokens`` or ``seconds``: the cap that ended the run; else ``""``."""
    interrupted_before: int = 0
    """Reviews that a killed run had under way when it died; they were asked for again."""

    @property
    def complete(self) -> bool:
        """True when every reviewer but people answered every selected rollout with a review."""
        return not any(
            row.pending or row.abstentions or row.cached_abstentions
            for row in self.reviewers
            if not row.by_sheet
        )


def review_store(
    engine: Engine,
    panel: Sequence[Reviewer],
    selection: Selection,
    *,
    concurrency: int = 16,
    retry_failed: bool = False,
    caps: Caps | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> ReviewResult:
    """Ask each reviewer about each selected rollout that it has not answered.

    What is asked for is claimed before the first request, and every answer is stored within
    ``dca.pipeline.desk.LINGER`` seconds. What was answered before is never asked again, and two
    runs at once never ask for the same review, so running it again after a kill asks only for
    what is missing. A model that is hopeless (see ``dca.pipeline.tally``) is asked no more in this
    run; what is left stays pending.

    Args:
        engine: The store.
        panel: Who is asked.
        selection: About which rollouts.
        concurrency: Most requests in flight.
        retry_failed: Ask again where a reviewer abstained.
        caps: What the run may spend; nothing is begun that could exceed them.
        progress: Listener.
        stop: When set, nothing new is asked; what is in flight is awaited and stored.

    Raises:
        NothingSelected: No rollout is selected.
        ConfigError: The store uses the name of the label set for another one, or dollars are
            capped and the price of a model is not known.
        CredentialError: A key is missing or was refused; answers so far are stored.
    """
    started = time.monotonic()
    stop = stop or threading.Event()
    if caps is not None and caps.dollars is not None:
        refuse_unpriced(panel)
    with transaction(engine) as session:
        selected = count_rollouts(session, selection)
        if not selected:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        keep_label_sets(session, (reviewer.labels for reviewer in panel))
        add_reviewers(session, [reviewer.info for reviewer in panel])
        left = reap(session)
        rows = [
            _before(session, reviewer, selection, selected, retry_failed) for reviewer in panel
        ]
        todo = {row.name: 0 if row.by_sheet else row.pending for row in rows}
        total = sum(todo.values())
        job = start_job(session, "review", {"panel": [row.name for row in rows]}, total=total)
    tally = Tally(panel, todo, progress or Silent())
    tell_left(left, tally.progress)
    _tell_people(rows, tally.progress)
    tally.progress.start(total, "review")
    budget = Budget(caps)
    desk = Desk(engine, job, selection, again=retry_failed)
    outcome: Outcome = "failed"
    try:
        wait_for(_run(desk, tally, panel, Switchboard(concurrency, budget=budget), stop))
        outcome = "interrupted" if stop.is_set() else tally.outcome
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        # Also when a bug or Ctrl-C ends the run: what was answered is kept.
        desk.leave()
        with transaction(engine) as session:
            release_job(session, job)
            finish_job(session, job, outcome, done=tally.done, counts=tally.counts())
        tally.progress.finish()
    with transaction(engine) as session:
        done = tuple(
            replace(_after(row, tally, desk), reasons=top_reasons(session, reviewer, selection))
            for row, reviewer in zip(rows, panel, strict=True)
        )
    return ReviewResult(
        job,
        selected,
        done,
        time.monotonic() - started,
        stop.is_set(),
        budget.spent.tokens,
        budget.spent.dollars,
        budget.doubtful.dollars,
        tally.over,
        left.claims,
    )


def tell_left(left: Reaped, progress: Progress) -> None:
    """Say what a killed run has left behind."""
    if left.jobs:
        numbers = ", ".join(map(str, left.jobs))
        progress.note(
            f"job {numbers} was killed with {left.claims:,} reviews under way:"
            " they are asked for again"
        )


def _tell_people(rows: Sequence[ReviewerResult], progress: Progress) -> None:
    """Say which reviews wait for people."""
    for row in rows:
        if row.by_sheet and row.pending:
            progress.note(
                f"{row.name} is a person: {row.pending:,} rollouts wait for sheets,"
                f" see dca panel sheet {row.name}"
            )


def _before(
    session: Session,
    reviewer: Reviewer,
    selection: Selection,
    selected: int,
    retry_failed: bool,
) -> ReviewerResult:
    """Return the figures of a reviewer before it is asked anything."""
    key = reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name, 1
    todo = count_pending(session, *key, selection, retry_failed=retry_failed)
    held = 0 if retry_failed else abstention_reasons(session, *key, selection).total()
    return ReviewerResult(
        reviewer.info.name,
        asked=0,
        reviews=0,
        cached=selected - todo - held,
        pending=todo,
        cached_abstentions=held,
        by_sheet=isinstance(reviewer, Human),
    )


def _after(before: ReviewerResult, tally: Tally, desk: Desk) -> ReviewerResult:
    """Return the figures of a reviewer after the run."""
    row = tally.row(before.name)
    return replace(
        before,
        asked=row.answers,
        reviews=row.reviews,
        abstentions=dict(row.abstentions),
        pending=before.pending - row.answers,
        held=min(desk.held.get(before.name, 0), before.pending - row.answers),
        requests=row.meter.requests,
        faults={cause.value: count for cause, count in row.meter.faults.items()},
        input_tokens=row.usage.input_tokens or 0,
        output_tokens=row.usage.output_tokens or 0,
        reasoning_tokens=row.usage.reasoning_tokens or 0,
        cached_tokens=row.usage.cached_tokens or 0,
        dollars=row.meter.spent.dollars if row.priced else None,
        p50=row.meter.latency(0.5),
        p95=row.meter.latency(0.95),
        stopped=row.stopped,
    )


async def _run(
    desk: Desk,
    tally: Tally,
    panel: Sequence[Reviewer],
    board: Switchboard,
    stop: threading.Event,
) -> None:
    """Convene the panel over what is pending."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(board)
        await stack.enter_async_context(opened(panel))
        seats = [
            Seat(
                reviewer,
                desk.unanswered(reviewer),
                given_up=partial(tally.given_up, reviewer),
                paused=partial(tally.is_paused, reviewer),
            )
            for reviewer in panel
            if not isinstance(reviewer, Human)
        ]

        def take(answer: Answer) -> None:
            tally.take(answer)
            desk.take(answer)

        if stop.is_set():
            board.gate.close()
        watch = asyncio.create_task(_watch(desk, tally, board, stop))
        try:
            await convene_seats(seats, board, on_answer=take)
        finally:
            tally.look(board)
            watch.cancel()
            await asyncio.wait([watch])
        if not watch.cancelled():
            watch.result()  # It ends by itself only with an error.
        await desk.clear()
    tally.raise_refused_key(board)


async def _watch(desk: Desk, tally: Tally, board: Switchboard, stop: threading.Event) -> None:
    """Look at the clock, at Ctrl-C and at what the store says, until cancelled."""
    begun = beaten = time.monotonic()
    limit = board.budget.caps.seconds
    try:
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if limit is not None and now - begun > limit and not board.gate.closed:
                tally.over = "seconds"
                board.gate.close()
            if stop.is_set():
                board.gate.close()
            tally.look(board)
            if now - beaten > BEAT:
                beaten = now
                tally.pause(await desk.beat(tally.done, tally.counts()))
                board.gate.call()
    except BaseException:
        # Without this look-out nobody could stop the run.
        board.gate.close()
        raise
