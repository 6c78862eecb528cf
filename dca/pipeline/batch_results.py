"""Collect: look how far batches are, take the results of those that have ended."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from tempfile import TemporaryFile
from typing import BinaryIO

import msgspec

from dca.domain.errors import CredentialError, DcaError
from dca.pipeline.batch_office import Office, Post
from dca.pipeline.dialogues import Arrival, take
from reviewers.batches.lines import Result, outcome_of, read_id, read_result, without
from reviewers.batches.service import Look, Stage
from reviewers.budget import Cost
from reviewers.exchange import Cause, Fault, Reply
from reviewers.prices import cost_of
from store.batches import (
    Batch,
    BatchItem,
    change_batch,
    finish_batch,
    items_of,
    remote_ids,
    submitter_is_gone,
    tell_batch,
)
from store.engine import transaction

PART = 200
"""Results that are taken in one transaction."""


def collect(office: Office, post: Post) -> bool:
    """Look at every batch of a model and take what has ended; return whether any has.

    Raises:
        CredentialError: The key was refused.
    """
    moved = False
    for batch in office.live(post):
        try:
            moved = _step(office, post, batch) or moved
        except CredentialError:
            raise
        except DcaError as error:
            # The batch works on at the provider; whoever looks later finds it.
            office.note(f"{post.name}: {error}")
    office.live(post)
    return moved


def cancel(office: Office, post: Post) -> None:
    """Ask the provider to stop every batch of a model that it is known to have."""
    for batch in office.live(post):
        if batch.state != "open" or batch.remote is None:
            continue
        post.service.cancel(batch.remote)
        with transaction(office.engine) as session:
            change_batch(session, batch.id, "cancelling")
        office.note(f"{post.name}: asked to stop batch {batch.remote}")


def _step(office: Office, post: Post, batch: Batch) -> bool:
    """Look at one batch; return whether it has ended."""
    if batch.remote is None:
        return _find(office, post, batch)
    look = post.service.look(batch.remote)
    if look.stage is Stage.OPEN:
        with transaction(office.engine) as session:
            tell_batch(session, batch, look.done)
        return False
    with transaction(office.engine) as session:
        items = items_of(session, batch.id)
    _Ending(office, post, batch, look, items).take_all()
    return True


def _find(office: Office, post: Post, batch: Batch) -> bool:
    """Look for a batch whose submission nobody saw the end of; return whether it is given up."""
    with transaction(office.engine) as session:
        if batch.run != office.job and not submitter_is_gone(session, batch):
            return False  # It is being submitted just now.
        known = remote_ids(session)
    since = datetime.fromisoformat(batch.created)
    found = post.service.find(batch.id, since, batch.requests, known)
    with transaction(office.engine) as session:
        if found.remote is not None:
            change_batch(session, batch.id, "open", remote=found.remote)
            office.note(f"{post.name}: found batch {found.remote}, which had been submitted")
            return False
        if batch.state == "submitting":
            change_batch(session, batch.id, "missing")
            return False
        silent = datetime.now(UTC) - datetime.fromisoformat(batch.changed)
        if found.perhaps or silent.total_seconds() < office.settling:
            return False
        finish_batch(session, batch, "unsent", message="it never reached the provider")
    office.settle(post, batch, Cost(), Cost())
    return True


@dataclass(slots=True)
class _Ending:
    """A batch that has ended, while its results are taken."""

    office: Office
    post: Post
    batch: Batch
    look: Look
    items: list[BatchItem]
    counts: Counter[str] = field(default_factory=Counter[str])
    seen: set[str] = field(default_factory=set[str])
    known: Cost = field(default_factory=Cost)
    doubtful: Cost = field(default_factory=Cost)

    def take_all(self) -> None:
        """Take every result, then those requests that have none, and end the batch."""
        by_dialogue = {item.dialogue: item for item in self.items}
        self.post.full = ""
        with TemporaryFile() as stream:
            if self.look.stage is Stage.ENDED and self.batch.remote is not None:
                self.post.service.results(self.batch.remote, stream)
            self._take(self._arrivals(stream, by_dialogue))
        self._take(self._absent())
        failed = self.look.stage is Stage.FAILED
        with transaction(self.office.engine) as session:
            finish_batch(
                session,
                self.batch,
                "failed" if failed else "done",
                counts=dict(self.counts),
                message=self.look.message,
            )
        self.office.settle(self.post, self.batch, self.known, self.doubtful)
        words = ", ".join(f"{kind} {count:,}" for kind, count in self.counts.items())
        told = f": {self.look.message}" if failed else ""
        self.office.note(f"{self.post.name}: batch {self.batch.remote} has ended{told} ({words})")

    def _take(self, arrivals: Iterator[Arrival]) -> None:
        """Take arrivals part by part."""
        sizes = {item.dialogue: item.size for item in self.items}
        while part := list(islice(arrivals, PART)):
            with transaction(self.office.engine) as session:
                taken = take(session, self.post.reviewer, part)
            for each in taken:
                self._charge(each.arrival, sizes[each.arrival.dialogue])
                self.counts[each.became.value] += 1
                self.office.count(each.answers)
            self.office.show()

    def _charge(self, arrival: Arrival, size: int) -> None:
        """Add what a request cost; only replies are charged."""
        if not isinstance(arrival.outcome, Reply):
            return
        cost = cost_of(arrival.outcome.usage, self.post.reviewer.price, batch=True)
        if cost is None:
            self.doubtful = self.doubtful + self.post.worst(size)
        else:
            self.known = self.known + cost

    def _arrivals(self, stream: BinaryIO, items: Mapping[str, BatchItem]) -> Iterator[Arrival]:
        """Yield what the results bring; those of unknown requests are counted."""
        stream.seek(0)
        for raw in stream:
            found = _read(raw)
            item = None if found is None else items.get(found[0])
            if found is None or item is None or item.dialogue in self.seen:
                self.office.unknown += 1
                self.counts["unknown"] += 1
                continue
            self.seen.add(item.dialogue)
            yield self._arrival(item, found[1])

    def _arrival(self, item: BatchItem, result: Result) -> Arrival:
        arrival = Arrival(item.dialogue, item.turn, item.tries, item.rollouts, None)
        if result.withdrawn:
            return arrival
        reviewer, secret = self.post.reviewer, self.post.secret
        outcome = outcome_of(result, reviewer.dialect, secret=secret)
        if isinstance(outcome, Fault):
            return replace(arrival, outcome=outcome)
        cost = cost_of(outcome.usage, reviewer.price, batch=True)
        dollars = None if cost is None or reviewer.price is None else cost.dollars
        reply = replace(outcome, usage=replace(outcome.usage, dollars=dollars))
        return replace(arrival, outcome=reply, body=without(result.body, secret))

    def _absent(self) -> Iterator[Arrival]:
        """Yield the requests of which the results say nothing."""
        # Too much at once says nothing against a request, unless it was alone.
        too_much = self.look.full and len(self.items) > 1
        if too_much:
            self.post.most = max(1, len(self.items) // 2)
            self.post.full = self.look.message
        untouched = too_much or self.look.stopped
        words = self.look.message or "the results of its batch do not hold it"
        fault = None if untouched else Fault(Cause.OVERLOAD, words)
        for item in self.items:
            if item.dialogue not in self.seen:
                yield Arrival(item.dialogue, item.turn, item.tries, item.rollouts, fault)


def _read(raw: bytes) -> tuple[str, Result] | None:
    """Return the dialogue of a line of results and what it says, ``None`` when it is no such."""
    try:
        result = read_result(raw)
    except msgspec.MsgspecError:
        return None
    custom_id = read_id(result.custom_id)
    return None if custom_id is None else (custom_id.dialogue, result)
