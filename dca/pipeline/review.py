"""Review: ask a panel about the rollouts that it has not answered yet, and keep every answer."""

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected
from dca.domain.review import Abstention, AbstentionKind, Review
from dca.domain.rollout import Rollout
from dca.pipeline.progress import Progress, Silent
from reviewers.panel import Seat, convene_seats, opened
from reviewers.protocol import Reviewer
from store.engine import transaction, transactions
from store.jobs import Outcome, finish_job, start_job, update_job
from store.reviews import (
    abstention_reasons,
    add_answers,
    add_reviewers,
    count_pending,
    pending,
)
from store.rollouts import count_rollouts
from store.selection import Selection

BATCH = 500
"""Answers written together at most."""
LINGER = 0.2
"""Seconds that an accepted answer waits for others before it is written."""
HOPELESS = 5
"""First answers of a model that must all be one fault of its endpoint to give it up."""
_IDENTIFIER = re.compile(r"\b(?=[\w-]*\d)[\w-]{6,}")
"""What differs between messages about one fault: identifiers of requests and of rollouts."""
_REMOTE = frozenset(("openai", "anthropic", "openai-compatible"))
"""Kinds of reviewers behind an endpoint; to the others an unavailable review is one of many."""


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
        rows = [
            _before(session, reviewer, selection, selected, retry_failed) for reviewer in panel
        ]
        total = sum(row.pending for row in rows)
        job = start_job(session, "review", {"panel": [row.name for row in rows]}, total=total)
    desk = _Desk(engine, panel, job, progress or Silent())
    desk.progress.start(total, "review")
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
    with transaction(engine) as session:
        done = tuple(
            replace(desk.result(row), reasons=top_reasons(session, reviewer, selection))
            for row, reviewer in zip(rows, panel, strict=True)
        )
    return ReviewResult(job, selected, done, time.monotonic() - started, stop.is_set())


def _before(
    session: Session,
    reviewer: Reviewer,
    selection: Selection,
    selected: int,
    retry_failed: bool,
) -> ReviewerResult:
    """Return the figures of a reviewer before it is asked anything."""
    key = _key(reviewer)
    todo = count_pending(session, *key, selection, retry_failed=retry_failed)
    held = 0 if retry_failed else abstention_reasons(session, *key, selection).total()
    return ReviewerResult(
        reviewer.info.name,
        asked=0,
        reviews=0,
        cached=selected - todo - held,
        pending=todo,
        cached_abstentions=held,
    )


def top_reasons(session: Session, reviewer: Reviewer, selection: Selection) -> dict[str, int]:
    """Return why a reviewer abstained on the selection: at most three messages and their counts.

    Messages that differ only in identifiers are one; the most frequent of them is shown.
    """
    shown: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for reason, count in abstention_reasons(session, *_key(reviewer), selection).most_common():
        counts[_alike(reason)] += count
        shown.setdefault(_alike(reason), reason)
    return {shown[alike]: count for alike, count in counts.most_common(3)}


def _alike(reason: str) -> str:
    """Return a reason without what differs between requests."""
    return _IDENTIFIER.sub("#", reason)


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
    seats: list[Seat] = []
    for reviewer in panel:
        over = partial(_is_over, reviewer, stop, desk)
        rollouts = _unanswered(engine, reviewer, selection, retry_failed, over)
        seats.append(Seat(reviewer, rollouts, given_up=over))
    async with opened(panel):
        await convene_seats(seats, concurrency=concurrency, on_answer=desk.take)


def _is_over(reviewer: Reviewer, stop: threading.Event, desk: "_Desk") -> bool:
    """Tell whether nothing new is asked of a reviewer."""
    return stop.is_set() or desk.given_up(reviewer)


def _key(reviewer: Reviewer) -> tuple[str, str, str, int]:
    """Return the parts of the review key that do not depend on the rollout."""
    return reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name, 1


def _unanswered(
    engine: Engine,
    reviewer: Reviewer,
    selection: Selection,
    retry_failed: bool,
    over: Callable[[], bool],
) -> Iterator[Rollout]:
    """Yield what a reviewer has still to answer, until ``over`` says so."""
    with transactions(engine) as session:
        for page in pending(session, *_key(reviewer), selection, retry_failed=retry_failed):
            # No transaction stays open while the page is being reviewed.
            session.commit()
            for rollout in page:
                if over():
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
        # Models that may yet be given up, with their answers so far.
        self._first: dict[str, list[Review | Abstention]] = {
            reviewer.info.name: [] for reviewer in panel if reviewer.info.kind in _REMOTE
        }
        self._stopped: dict[str, str] = {}

    @property
    def outcome(self) -> Outcome:
        """``partial`` when any reviewer abstained."""
        abstained = any(counts["abstained"] for counts in self._counts.values())
        return "partial" if abstained else "done"

    def given_up(self, reviewer: Reviewer) -> bool:
        """Tell whether a reviewer is asked no more."""
        return reviewer.info.name in self._stopped

    def _watch(self, name: str, answer: Review | Abstention) -> None:
        """Give a model up when its first answers are all the same fault of its endpoint."""
        first = self._first.get(name)
        if first is None:
            return
        first.append(answer)
        faults = [
            item.reason
            for item in first
            if isinstance(item, Abstention) and item.kind is AbstentionKind.UNAVAILABLE
        ]
        if len(faults) < len(first) or len({_alike(reason) for reason in faults}) > 1:
            del self._first[name]
        elif len(faults) == HOPELESS:
            del self._first[name]
            reason = faults[0].removeprefix(f"{name}: ")
            self._stopped[name] = f"stopped after {HOPELESS} failures in a row: {reason}"
            self.progress.note(f"{name}: {self._stopped[name]}")

    def take(self, answer: Review | Abstention) -> None:
        """Count an answer and write it soon."""
        name = self._names[answer.key.reviewer]
        self._watch(name, answer)
        counts = self._counts[name]
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

    def result(self, before: ReviewerResult) -> ReviewerResult:
        """Return the figures of one reviewer."""
        counts = self._counts[before.name]
        asked = counts["reviews"] + counts["abstained"]
        kinds = {
            name.removeprefix("abstained:"): count
            for name, count in counts.items()
            if name.startswith("abstained:")
        }
        return replace(
            before,
            asked=asked,
            reviews=counts["reviews"],
            abstentions=kinds,
            pending=before.pending - asked,
            input_tokens=counts["in"],
            output_tokens=counts["out"],
            stopped=self._stopped.get(before.name, ""),
        )
