"""What one run of batches works with: the store, the budget, and each model's way to its provider.

A batch is written down, with the claims of its reviews, before it is submitted; so whatever
happens to this process, the next one finds every batch that may exist, see ``store.batches``.
"""

import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.pool import StaticPool

from dca.domain.errors import ConfigError, StoreError
from dca.domain.review import Answer
from dca.pipeline.dialogues import asker_of
from dca.pipeline.tally import Tally
from reviewers.batches.service import BatchService
from reviewers.batches.services import KINDS, batch_service
from reviewers.budget import Budget, Cost
from reviewers.model_reviewer import ModelReviewer
from reviewers.prices import worst_case
from reviewers.protocol import Reviewer
from reviewers.switchboard import Switchboard
from store.batches import Batch, live_batches
from store.engine import transaction
from store.jobs import update_job
from store.replies import Asker
from store.selection import Selection

BEAT = 15.0
"""Seconds between two signs of life in the store."""


@dataclass(slots=True)
class Post:
    """One model's way to its provider."""

    reviewer: ModelReviewer
    service: BatchService
    secret: str
    asker: Asker
    most: int
    """Requests in one batch; fewer after the provider found a batch too much at once."""
    full: str = ""
    """Why nothing new is submitted for the time being."""
    stopped: str = ""
    """Why nothing new is submitted in this run."""
    waiting: int = 0
    """Requests at the provider."""

    @property
    def name(self) -> str:
        """Name of the reviewer."""
        return self.reviewer.info.name

    def worst(self, size: int) -> Cost:
        """Return the most that a request with a body of ``size`` bytes can cost."""
        limit = self.reviewer.calling.max_tokens
        return worst_case(size, limit, self.reviewer.price, batch=True)


def open_post(reviewer: ModelReviewer) -> Post:
    """Return the way to the provider of a model whose kind has batches.

    Raises:
        CredentialError: The key's variable is not set.
    """
    service = batch_service(reviewer)
    secret = os.environ.get(reviewer.endpoint.api_key_env or "", "").strip()
    return Post(reviewer, service, secret, asker_of(reviewer), service.limits.requests)


def parted(panel: Sequence[Reviewer]) -> tuple[list[ModelReviewer], list[Reviewer]]:
    """Return the members of a panel that can be asked in batches, and the others.

    Raises:
        ConfigError: There are none.
    """
    models = [
        item for item in panel if isinstance(item, ModelReviewer) and item.info.kind in KINDS
    ]
    if not models:
        raise ConfigError(
            "no reviewer of the panel can be asked in batches",
            hint='Batches are for reviewers of kind "openai" and "anthropic".',
        )
    return models, [item for item in panel if item not in models]


@dataclass(slots=True)
class Office:
    """What all models of one run share."""

    engine: Engine
    job: int
    """The run's own job, which holds claims until they are a batch's."""
    selection: Selection
    again: bool
    """Whether abstentions count as no answer."""
    budget: Budget
    tally: Tally
    settling: float
    """Seconds for which a provider is asked about a batch that it does not show."""
    concluded: set[str] = field(default_factory=set[str])
    """Reviews that ended in this run: none is asked for twice because it is an abstention."""
    set_aside: set[str] = field(default_factory=set[str])
    """Batches whose worst case the budget has set aside."""
    unknown: int = 0
    """Results that belong to no request of ours."""
    over: str = ""
    """The cap that ended submitting."""

    def note(self, text: str) -> None:
        """Tell the user."""
        self.tally.progress.note(text)

    def show(self) -> None:
        """Show the figures."""
        # A board without lines has nothing to add to what was counted here.
        self.tally.look(Switchboard(1))

    def live(self, post: Post) -> list[Batch]:
        """Return a model's batches that hold claims, the oldest first."""
        with transaction(self.engine) as session:
            batches = live_batches(session, post.asker)
        for batch in batches:
            if batch.id not in self.set_aside:
                self.set_aside.add(batch.id)
                # It is submitted already, by another run: no cap can refuse it.
                self.budget.reserved = self.budget.reserved + worst_of(batch)
        post.waiting = sum(batch.requests for batch in batches)
        self.tally.row(post.name).meter.flying = post.waiting
        return batches

    def count(self, answers: Sequence[Answer]) -> None:
        """Count answers that are stored."""
        for answer in answers:
            self.concluded.add(answer.key.id)
            self.tally.take(answer)

    def settle(self, post: Post, batch: Batch, known: Cost, doubtful: Cost) -> None:
        """Put what the requests of a batch cost in the place of its worst case.

        Args:
            post: Whose batch.
            batch: It has ended.
            known: What is known to be charged.
            doubtful: The worst case of the replies that do not say what they used.
        """
        self.budget.settle(worst_of(batch), known + doubtful)
        self.budget.doubtful = self.budget.doubtful + doubtful
        meter = self.tally.row(post.name).meter
        meter.spent = meter.spent + known + doubtful


def worst_of(batch: Batch) -> Cost:
    """Return the most that a batch can cost."""
    return Cost(batch.nanodollars, batch.tokens)


@contextmanager
def at_work(engine: Engine, job: int, posts: Sequence[Post]) -> Generator[None, None, None]:
    """Give signs of life for a job, and close the connections at the end.

    The signs come from a thread, because an upload takes longer than a run may be silent.
    """
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT):
            with suppress(StoreError), transaction(engine) as session:
                update_job(session, job)

    thread = threading.Thread(target=beat, name="dca-beat", daemon=True)
    # A store in memory has one connection, which no thread may use beside another.
    if not isinstance(engine.pool, StaticPool):
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
        for post in posts:
            post.service.close()
