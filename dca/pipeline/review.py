"""Review: ask a panel about the rollouts that it has not answered yet, and keep every answer."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Engine

from dca.domain.errors import NothingSelected
from dca.domain.review import Abstention, Review
from dca.domain.rollout import Rollout
from dca.pipeline.progress import Progress, Silent
from reviewers.panel import Seat, convene_seats, opened
from reviewers.protocol import Reviewer
from store.engine import transaction, transactions
from store.jobs import Outcome, finish_job, start_job, update_job
from store.reviews import add_answers, add_reviewers, count_pending, pending
from store.rollouts import count_rollouts
from store.selection import Selection

BATCH = 500
"""Answers written together at most."""
LINGER = 0.2
"""Seconds that an accepted answer waits for others before it is written."""


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
    input_tokens: int = 0
    output_tokens: int = 0
    cached_abstentions: int = 0
    """Rollouts on which it had abstained before and was not asked again."""
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why it abstained, of this run and before: the most frequent messages, at most three."""
    stopped: str = ""
    """Why it was asked no more in this run; ``""`` when it was not given up."""


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

    @property
    def complete(self) -> bool:
        """True when every reviewer answered every selected rollout with a review."""
        return not any(
            row.pending or row.abstentions or row.cached_abstentions for row in self.reviewers
        )


def review_store(
    engine: Engine,
    panel: Sequence[Reviewer],
    selection: Selection,
    *,
    concurrency: int = 16,
    retry_failed: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> ReviewResult:
    """Ask each reviewer about each selected rollout that it has not answered.

    Every answer is stored within ``LINGER`` seconds. What was answered before is never asked
    again, so running it again after a kill asks only for what is missing. A model whose first
    ``HOPELESS`` answers are one and the same fault of its endpoint is asked no more in this run;
    what is left stays pending.

    Args:
        engine: The store.
        panel: Who is asked.
        selection: About which rollouts.
        concurrency: Most questions in flight.
        retry_failed: Ask again where a reviewer abstained.
        progress: Listener.
        stop: When set, nothing new is asked; what is in flight is awaited and stored.

    Raises:
        NothingSelected: No rollout is selected.
        CredentialError: A key is missing or was refused; answers so far are stored.
    """
    started = time.monotonic()
    stop = stop or threading.Event()
    with transaction(engine) as session:
        selected = count_rollouts(session, selection)
        if not selected:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        add_reviewers(session, [reviewer.info for reviewer in panel])
        todo = {
            reviewer.info.name: count_pending(
                session, *_key(reviewer), selection, retry_failed=retry_failed
            )
            for reviewer in panel
        }
        before = {
            reviewer.info.name: abstention_reasons(session, *_key(reviewer), selection).total()
            for reviewer in panel
        }
        names = [reviewer.info.name for reviewer in panel]
        job = start_job(session, "review", {"panel": names}, total=sum(todo.values()))
    desk = _Desk(engine, panel, job, progress or Silent())
    desk.progress.start(sum(todo.values()), "review")
    outcome: Outcome = "failed"
    try:
        _wait_for(_run(engine, panel, selection, concurrency, retry_failed, stop, desk))
        outcome = "interrupted" if stop.is_set() else desk.outcome
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        # Also when a bug or Ctrl-C ends the run: what was answered is kept.
        desk.flush()
        with transaction(engine) as session:
            finish_job(session, job, outcome, done=desk.done)
        desk.progress.finish()
    held = {name: 0 if retry_failed else count for name, count in before.items()}
    with transaction(engine) as session:
        rows = tuple(
            replace(
                desk.result(reviewer, todo[reviewer.info.name]),
                cached=selected - todo[reviewer.info.name] - held[reviewer.info.name],
                cached_abstentions=held[reviewer.info.name],
                reasons=top_reasons(session, reviewer, selection),
            )
            for reviewer in panel
        )
    return ReviewResult(job, selected, rows, time.monotonic() - started, stop.is_set())


def _wait_for(work: Coroutine[None, None, None]) -> None:
    """Run to the end: the one bridge from the synchronous layers to the reviewers."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    # A notebook's loop runs in this thread; ours gets one of its own.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def _run(
    engine: Engine,
    panel: Sequence[Reviewer],
    selection: Selection,
    concurrency: int,
    retry_failed: bool,
    stop: threading.Event,
    desk: "_Desk",
) -> None:
    """Convene the panel over what is pending."""
    seats = [
        Seat(reviewer, _unanswered(engine, reviewer, selection, retry_failed, stop))
        for reviewer in panel
    ]
    async with opened(panel):
        await convene_seats(seats, concurrency=concurrency, on_answer=desk.take)


def _key(reviewer: Reviewer) -> tuple[str, str, str, int]:
    """Return the parts of the review key that do not depend on the rollout."""
    return reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name, 1


def _unanswered(
    engine: Engine,
    reviewer: Reviewer,
    selection: Selection,
    retry_failed: bool,
    stop: threading.Event,
) -> Iterator[Rollout]:
    """Yield what a reviewer has still to answer, until told to stop."""
    with transactions(engine) as session:
        for page in pending(session, *_key(reviewer), selection, retry_failed=retry_failed):
            # No transaction stays open while the page is being reviewed.
            session.commit()
            for rollout in page:
                if stop.is_set():
                    return
                yield rollout


class _Desk:
    """Takes answers as they come and writes them in batches."""

    def __init__(
        self, engine: Engine, panel: Sequence[Reviewer], job: int, progress: Progress
    ) -> None:
        self.progress = progress
        self.done = 0
        self._engine = engine
        self._job = job
        self._names = {reviewer.info.digest: reviewer.info.name for reviewer in panel}
        self._batch: list[Review | Abstention] = []
        self._timer: asyncio.TimerHandle | None = None
        self._counts: dict[str, Counter[str]] = {
            reviewer.info.name: Counter() for reviewer in panel
        }

    @property
    def outcome(self) -> Outcome:
        """``partial`` when any reviewer abstained."""
        abstained = any(counts["abstained"] for counts in self._counts.values())
        return "partial" if abstained else "done"

    def take(self, answer: Review | Abstention) -> None:
        """Count an answer and write it soon."""
        counts = self._counts[self._names[answer.key.reviewer]]
        counts["in"] += answer.usage.input_tokens or 0
        counts["out"] += answer.usage.output_tokens or 0
        if isinstance(answer, Abstention):
            counts["abstained"] += 1
            counts[f"abstained:{answer.kind}"] += 1
            self.progress.advance(1, abstained=1)
        else:
            counts["reviews"] += 1
            self.progress.advance(1)
        self.done += 1
        self._batch.append(answer)
        if len(self._batch) >= BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self.flush)

    def flush(self) -> None:
        """Write what is waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._batch:
            return
        with transaction(self._engine) as session:
            add_answers(session, self._batch)
            update_job(session, self._job, done=self.done)
        self._batch = []

    def result(self, reviewer: Reviewer, selected: int, todo: int) -> ReviewerResult:
        """Return the figures of one reviewer."""
        counts = self._counts[reviewer.info.name]
        asked = counts["reviews"] + counts["abstained"]
        kinds = {
            name.removeprefix("abstained:"): count
            for name, count in counts.items()
            if name.startswith("abstained:")
        }
        return ReviewerResult(
            reviewer.info.name,
            asked,
            counts["reviews"],
            selected - todo,
            kinds,
            todo - asked,
            counts["in"],
            counts["out"],
        )
