"""Review in batches: half the price at the providers that have them, answers within a day.

One run submits what is pending, waits for results and submits what follows from them: repair
turns, next windows, requests that failed. It can be left, killed or stopped at any moment: what is
at the provider stays there, and the next run finds it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected
from dca.pipeline.batch_office import Office, Post, at_work, open_post
from dca.pipeline.batch_results import cancel, collect
from dca.pipeline.batch_submit import submit_pending
from dca.pipeline.caps import refuse_unpriced
from dca.pipeline.label_sets import keep_label_sets
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.review import ReviewerResult
from dca.pipeline.tally import Tally, top_reasons
from reviewers.budget import Budget, Caps, Cost
from reviewers.model_reviewer import ModelReviewer
from store.batches import count_live
from store.claims import reap, release_job
from store.engine import transaction
from store.jobs import Outcome, finish_job, start_job
from store.replies import drop_answered
from store.reviews import abstention_reasons, add_reviewers, count_pending
from store.rollouts import count_rollouts
from store.selection import Selection

FIRST_LOOK = 5.0
"""Seconds until the first look at what was submitted."""
LONGEST_LOOK = 120.0
"""Most seconds between two looks."""
GROWTH = 1.5
"""From one interval to the next; a batch that has ended begins anew."""
SETTLING = 60.0
"""Seconds for which a provider is asked about a batch that it does not show."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What one run does with batches, and how often it asks the providers."""

    wait: bool = True
    """Whether to wait until nothing is left; else one round of looks and submissions."""
    cancel: bool = False
    """Whether to ask the providers to stop; results that exist are kept, what was not begun is
    pending again, and nothing is submitted.
    """
    first: float = FIRST_LOOK
    """Seconds until the first look."""
    longest: float = LONGEST_LOOK
    """Most seconds between two looks."""
    meanwhile: Callable[[Caps], Cost] | None = None
    """What is done after the first round: gets what the caps leave, returns what it has cost."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What ``dca review --batch`` did."""

    job: int
    selected: int
    """Rollouts."""
    reviewers: tuple[ReviewerResult, ...]
    """Those that are asked in batches."""
    submitted: int
    """Requests of this run."""
    open: int
    """Requests that are at a provider."""
    unknown: int
    """Results that belong to no request of ours."""
    seconds: float
    stopped: bool
    """True when it was told to stop before the end."""
    spent_tokens: int = 0
    spent_dollars: float = 0.0
    """For the results of this run, at the prices of batches."""
    doubtful_dollars: float = 0.0
    """The part of it that is a worst case, because the provider did not say what was used."""
    reserved_tokens: int = 0
    reserved_dollars: float = 0.0
    """Most that what is at a provider can cost."""
    over: str = ""
    """The cap that ended submitting, ``dollars``, ``tokens`` or ``seconds``; else ``""``."""

    @property
    def complete(self) -> bool:
        """True when every reviewer answered every selected rollout with a review."""
        lacking = (
            row.pending or row.abstentions or row.cached_abstentions for row in self.reviewers
        )
        return not any(lacking)


def batch_review(
    engine: Engine,
    models: Sequence[ModelReviewer],
    selection: Selection,
    *,
    rounds: Rounds | None = None,
    retry_failed: bool = False,
    caps: Caps | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> BatchResult:
    """Ask models about what they have not answered, in batches at their providers.

    Args:
        engine: The store.
        models: Who is asked; of kinds that have batches.
        selection: About which rollouts. Batches of earlier runs are collected whatever it says.
        rounds: What to do with batches.
        retry_failed: Ask again where a reviewer abstained.
        caps: What may be spent; the worst case of what is at the providers counts.
        progress: Listener.
        stop: When set, the run ends; batches go on at the provider.

    Raises:
        NothingSelected: No rollout is selected.
        ConfigError: The store uses the name of the label set for another one, or dollars are
            capped and the price of a model is not known.
        CredentialError: A key is missing or was refused; answers so far are stored.
    """
    started = time.monotonic()
    if caps is not None and caps.dollars is not None:
        refuse_unpriced(models)
    posts = [open_post(reviewer) for reviewer in models]
    rounds, stop = rounds or Rounds(), stop or threading.Event()
    with transaction(engine) as session:
        selected = count_rollouts(session, selection)
        if not selected:
            raise NothingSelected("no rollout is selected", hint="see dca ls")
        keep_label_sets(session, (reviewer.labels for reviewer in models))
        add_reviewers(session, [reviewer.info for reviewer in models])
        reap(session)
        drop_answered(session)
        rows = [_before(session, post, selection, selected, retry_failed) for post in posts]
        total = sum(row.pending for row in rows)
        params = {"panel": [row.name for row in rows], "batch": True}
        job = start_job(session, "review", params, total=total)
    tally = Tally(models, {row.name: row.pending for row in rows}, progress or Silent())
    for row in rows:
        # Requests of a batch fail one by one: none says anything of the endpoint.
        tally.row(row.name).watched = None
    tally.progress.start(total, "review in batches")
    budget = Budget(caps)
    office = Office(engine, job, selection, retry_failed, budget, tally, SETTLING)
    run = _Run(office, posts, rounds, stop, started + _or_never(caps), total)
    outcome: Outcome = "failed"
    try:
        with at_work(engine, job, posts):
            run.go()
        outcome = "interrupted" if stop.is_set() else tally.outcome
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        with transaction(engine) as session:
            release_job(session, job)
            finish_job(session, job, outcome, done=tally.done, counts=tally.counts())
        tally.progress.finish()
    with transaction(engine) as session:
        done = tuple(
            _after(session, row, office, post) for row, post in zip(rows, posts, strict=True)
        )
    return BatchResult(
        job=job,
        selected=selected,
        reviewers=done,
        submitted=run.submitted,
        open=sum(post.waiting for post in posts),
        unknown=office.unknown,
        seconds=time.monotonic() - started,
        stopped=stop.is_set(),
        spent_tokens=budget.spent.tokens,
        spent_dollars=budget.spent.dollars,
        doubtful_dollars=budget.doubtful.dollars,
        reserved_tokens=budget.reserved.tokens,
        reserved_dollars=budget.reserved.dollars,
        over=office.over,
    )


def _or_never(caps: Caps | None) -> float:
    """Return the seconds after which nothing is submitted."""
    return float("inf") if caps is None or caps.seconds is None else caps.seconds


@dataclass(slots=True)
class _Run:
    """The rounds of one run."""

    office: Office
    posts: Sequence[Post]
    rounds: Rounds
    stop: threading.Event
    deadline: float
    """Monotonic time after which nothing is submitted."""
    total: int
    """Reviews that are pending."""
    submitted: int = 0

    def go(self) -> None:
        """Look and submit until nothing is left, or once."""
        self._tell_others()
        fresh = {post.name for post in self.posts}
        interval, meanwhile = self.rounds.first, self.rounds.meanwhile
        while True:
            moved = self._round(fresh)
            if meanwhile is not None:
                self._do(meanwhile)
                meanwhile = None
            fresh = {post.name for post in self.posts if post.full}
            if not self.rounds.wait or self._is_done(fresh) or self.stop.is_set():
                return
            longest = self.rounds.longest
            interval = self.rounds.first if moved else min(interval * GROWTH, longest)
            self.stop.wait(interval)

    def _do(self, meanwhile: Callable[[Caps], Cost]) -> None:
        """Do something else within what the caps leave."""
        budget, tally = self.office.budget, self.office.tally
        gone = budget.spent + budget.reserved
        dollars, tokens = budget.caps.dollars, budget.caps.tokens
        left = Caps(
            None if dollars is None else max(0.0, dollars - gone.dollars),
            None if tokens is None else max(0, tokens - gone.tokens),
            None if budget.caps.seconds is None else max(0.0, self.deadline - time.monotonic()),
        )
        tally.progress.finish()
        budget.spent = budget.spent + meanwhile(left)
        tally.progress.start(self.total - tally.done, "review in batches")

    def _tell_others(self) -> None:
        """Say that there are batches which this run cannot look at."""
        mine = sum(len(self.office.live(post)) for post in self.posts)
        with transaction(self.office.engine) as session:
            others = count_live(session) - mine
        if others > 0:
            self.office.note(
                f"{others} batches are of reviewers with other settings or outside of this panel:"
                " they are looked at when those are asked"
            )

    def _round(self, fresh: set[str]) -> bool:
        """Take what has ended, then submit; return whether anything has ended."""
        moved = False
        for post in self.posts:
            if self.rounds.cancel:
                cancel(self.office, post)
            if collect(self.office, post):
                moved = True
                fresh.add(post.name)
            if post.name in fresh and self._may_submit(post):
                self.submitted += submit_pending(self.office, post)
            self.office.live(post)
            self.office.show()
        return moved

    def _may_submit(self, post: Post) -> bool:
        """Tell whether new batches may be submitted."""
        if time.monotonic() > self.deadline and not self.office.over:
            self.office.over = "seconds"
        late = self.office.over == "seconds"
        # A full queue has room again when one of ours has ended.
        no_room = bool(post.full and post.waiting)
        stopped = self.rounds.cancel or self.stop.is_set() or bool(post.stopped)
        return not (late or no_room or stopped)

    def _is_done(self, waiting: set[str]) -> bool:
        """Tell whether nothing is left to wait for."""
        if self.office.over == "seconds":
            return True
        return not waiting and not any(post.waiting for post in self.posts)


def _before(
    session: Session, post: Post, selection: Selection, selected: int, retry_failed: bool
) -> ReviewerResult:
    """Return the figures of a model before this run."""
    key = post.asker.reviewer, post.asker.prompt, post.asker.label_set, 1
    todo = count_pending(session, *key, selection, retry_failed=retry_failed)
    held = 0 if retry_failed else abstention_reasons(session, *key, selection).total()
    return ReviewerResult(
        post.name,
        asked=0,
        reviews=0,
        cached=selected - todo - held,
        pending=todo,
        cached_abstentions=held,
    )


def _after(session: Session, before: ReviewerResult, office: Office, post: Post) -> ReviewerResult:
    """Return the figures of a model after it."""
    row = office.tally.row(post.name)
    key = post.asker.reviewer, post.asker.prompt, post.asker.label_set, 1
    return ReviewerResult(
        post.name,
        asked=row.answers,
        reviews=row.reviews,
        cached=before.cached,
        abstentions=dict(row.abstentions),
        pending=count_pending(session, *key, office.selection),
        held=post.waiting,
        input_tokens=row.usage.input_tokens or 0,
        output_tokens=row.usage.output_tokens or 0,
        reasoning_tokens=row.usage.reasoning_tokens or 0,
        cached_tokens=row.usage.cached_tokens or 0,
        dollars=row.meter.spent.dollars if row.priced else None,
        cached_abstentions=before.cached_abstentions,
        reasons=top_reasons(session, post.reviewer, office.selection),
        stopped=post.stopped,
    )
