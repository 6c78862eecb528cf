"""Batches at providers: written down before they are submitted, until their results are stored.

A batch has a job row of its own, in state ``submitted``, which holds the claims of its reviews:
they outlive every process. The states of a batch:

    submitting   written down; nobody knows yet whether the provider has it
    missing      its process is gone, and the provider has not shown it so far
    open         the provider has it
    cancelling   the provider was asked to stop it
    done         its results are stored
    failed       the provider refused it, lost it or could not work on it
    unsent       it never reached the provider
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, undefer

from store.claims import hand_over, release_job
from store.jobs import Outcome, finish_job, start_job, submit_job, update_job
from store.replies import Asker
from store.tables import BatchRow, JobRow
from store.writing import now

State = Literal["submitting", "missing", "open", "cancelling", "done", "failed", "unsent"]
LIVE: tuple[State, ...] = ("submitting", "missing", "open", "cancelling")
"""States in which a batch holds its claims."""
_OUTCOMES: Mapping[State, Outcome] = {"done": "done", "failed": "failed", "unsent": "failed"}


class BatchItem(msgspec.Struct, frozen=True, array_like=True):
    """One request of a batch."""

    dialogue: str
    """``ReviewKey.id`` of the first rollout."""
    turn: int
    """Number of the question, >= 1."""
    tries: int
    """How often it was sent before."""
    size: int
    """Bytes of its body."""
    rollouts: tuple[str, ...]
    """Ids of all rollouts that it asks about."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch."""

    id: str
    """Ours, told to the provider where it takes such a thing."""
    job: int
    """The batch's own job, which holds its claims."""
    run: int
    """The job that submitted it."""
    remote: str | None
    """The provider's id; ``None`` while it is not known."""
    state: str
    requests: int
    nanodollars: int
    """Most that it can cost."""
    tokens: int
    """Most tokens that it can take."""
    counts: Mapping[str, object]
    """What became of its requests."""
    message: str
    created: str
    """UTC time, ISO 8601."""
    changed: str
    """UTC time of the last change of its state."""


_ITEMS = msgspec.json.Decoder(list[BatchItem])


def add_batch(
    session: Session,
    batch_id: str,
    asker: Asker,
    items: Sequence[BatchItem],
    claims: Sequence[str],
    *,
    run: int,
    worst: tuple[int, int],
) -> Batch:
    """Write a batch down before it is submitted, and have it hold its claims from now on.

    Args:
        session: Open session.
        batch_id: New and unique.
        asker: Who asks; the reviewer must be stored before.
        items: Its requests.
        claims: ``ReviewKey.id`` of every review that they ask for, claimed by ``run``.
        run: The running job that submits it.
        worst: Most nanodollars and tokens that it can cost.
    """
    job = start_job(session, "batch", {"batch": batch_id, "run": run}, total=len(items))
    submit_job(session, job)
    hand_over(session, claims, run, job)
    created = now()
    row = BatchRow(
        id=batch_id,
        job=job,
        run=run,
        **asker.columns,
        remote=None,
        state="submitting",
        requests=len(items),
        items=zlib.compress(msgspec.json.encode(items), 1),
        nanodollars=worst[0],
        tokens=worst[1],
        counts={},
        message="",
        created=created,
        changed=created,
    )
    session.add(row)
    session.flush()
    return _to_batch(row)


def live_batches(session: Session, asker: Asker) -> list[Batch]:
    """Return the batches of an asker that hold claims, the oldest first."""
    statement = select(BatchRow).filter_by(**asker.columns).where(BatchRow.state.in_(LIVE))
    rows = session.scalars(statement.order_by(BatchRow.created, BatchRow.id))
    return [_to_batch(row) for row in rows]


def count_live(session: Session) -> int:
    """Return how many batches hold claims, whoever asked."""
    statement = select(func.count()).select_from(BatchRow).where(BatchRow.state.in_(LIVE))
    return session.scalar(statement) or 0


def get_batch(session: Session, batch_id: str) -> Batch:
    """Return one batch, which must be stored."""
    statement = select(BatchRow).where(BatchRow.id == batch_id)
    return _to_batch(session.scalars(statement.execution_options(populate_existing=True)).one())


def items_of(session: Session, batch_id: str) -> list[BatchItem]:
    """Return the requests of a batch, which must be stored."""
    statement = select(BatchRow).options(undefer(BatchRow.items)).where(BatchRow.id == batch_id)
    row = session.scalars(statement).one()
    return _ITEMS.decode(zlib.decompress(row.items))


def remote_ids(session: Session) -> frozenset[str]:
    """Return the provider's ids of all batches that were ever stored."""
    found = session.scalars(select(BatchRow.remote).where(BatchRow.remote.is_not(None)))
    return frozenset(remote for remote in found if remote is not None)


def change_batch(
    session: Session, batch_id: str, state: State, *, remote: str | None = None, message: str = ""
) -> None:
    """Put a live batch into another live state."""
    columns = {"state": state, "message": message, "changed": now()}
    if remote is not None:
        columns["remote"] = remote
    session.execute(update(BatchRow).where(BatchRow.id == batch_id).values(**columns))


def tell_batch(session: Session, batch: Batch, done: int) -> None:
    """Note how many of its requests the provider has worked on."""
    update_job(session, batch.job, done=done)


def finish_batch(
    session: Session,
    batch: Batch,
    state: Literal["done", "failed", "unsent"],
    *,
    counts: Mapping[str, object] | None = None,
    message: str = "",
) -> None:
    """End a batch and let go of what it still holds: that is asked for again. Safe to repeat."""
    columns = {"state": state, "counts": dict(counts or {}), "message": message, "changed": now()}
    session.execute(update(BatchRow).where(BatchRow.id == batch.id).values(**columns))
    release_job(session, batch.job)
    finish_job(session, batch.job, _OUTCOMES[state], counts=counts or {}, message=message)


def submitter_is_gone(session: Session, batch: Batch) -> bool:
    """Tell whether the job that submitted a batch has ended; see ``store.claims.reap``."""
    return session.scalar(select(JobRow.status).where(JobRow.id == batch.run)) != "running"


def _to_batch(row: BatchRow) -> Batch:
    return Batch(
        id=row.id,
        job=row.job,
        run=row.run,
        remote=row.remote,
        state=row.state,
        requests=row.requests,
        nanodollars=row.nanodollars,
        tokens=row.tokens,
        counts=row.counts,
        message=row.message,
        created=row.created,
        changed=row.changed,
    )
