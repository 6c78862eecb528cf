"""Jobs: long work that tells how far it is, so that a killed one can be seen."""

import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from store.tables import JobRow
from store.writing import Row, now

LOST_AFTER = 120.0
"""A running job that is silent for longer, in seconds, is ``lost``."""

HOLDING = ("running", "submitted")
"""States of jobs that hold claims."""

Outcome = Literal["done", "partial", "failed", "interrupted", "lost"]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of import, review, consensus, credit or export."""

    id: int
    kind: str
    """``import``, ``review``, ``batch``, ``consensus``, ``credit``, ``export`` or ``train``."""
    params: Mapping[str, object]
    status: str
    """``running``, ``done``, ``partial``, ``failed``, ``interrupted``; ``lost`` when killed.

    A batch at a provider is ``submitted``: no process has to be alive for it.
    """
    done: int
    """Items finished."""
    total: int | None
    """Items to do; ``None`` when not known."""
    counts: Mapping[str, object]
    """Named counts, JSON values only."""
    message: str
    """One sentence for the user, ``""`` when there is none."""
    pid: int
    host: str
    created: str
    """UTC time, ISO 8601."""
    heartbeat: str
    """UTC time of the last sign of life, ISO 8601."""
    finished: str | None
    """UTC time of the end; ``None`` while it runs."""


def start_job(
    session: Session, kind: str, params: Mapping[str, object], *, total: int | None = None
) -> int:
    """Store a running job of this process and return its number."""
    created = now()
    row = JobRow(
        kind=kind,
        params=dict(params),
        status="running",
        done=0,
        total=total,
        counts={},
        message="",
        pid=os.getpid(),
        host=socket.gethostname(),
        created=created,
        heartbeat=created,
    )
    session.add(row)
    session.flush()
    return row.id


def update_job(
    session: Session,
    job_id: int,
    *,
    done: int | None = None,
    total: int | None = None,
    counts: Mapping[str, object] | None = None,
) -> None:
    """Give a sign of life, with new figures where given; the others stay."""
    figures = {"done": done, "total": total, "counts": counts}
    _change(session, job_id, {name: value for name, value in figures.items() if value is not None})


def submit_job(session: Session, job_id: int) -> None:
    """Mark a job as work that a provider does: it is never ``lost``."""
    _change(session, job_id, {"status": "submitted"})


def finish_job(
    session: Session,
    job_id: int,
    status: Outcome,
    *,
    done: int | None = None,
    counts: Mapping[str, object] | None = None,
    message: str = "",
) -> None:
    """End a job with its outcome, its last figures and one sentence for the user."""
    update_job(session, job_id, done=done, counts=counts)
    _change(session, job_id, {"status": status, "message": message, "finished": now()})


def _change(session: Session, job_id: int, columns: Row) -> None:
    session.execute(update(JobRow).where(JobRow.id == job_id).values(heartbeat=now(), **columns))


def list_jobs(session: Session, *, limit: int = 50) -> list[Job]:
    """Return the newest jobs first; a running one that is gone is ``lost``."""
    rows = session.scalars(select(JobRow).order_by(JobRow.id.desc()).limit(limit))
    return [_to_job(row) for row in rows]


def lose_jobs(session: Session) -> list[int]:
    """Mark the running jobs that are gone as ``lost`` and return their numbers."""
    rows = session.scalars(select(JobRow).where(JobRow.status == "running").order_by(JobRow.id))
    gone = [row.id for row in rows if _is_gone(row)]
    for job_id in gone:
        finish_job(session, job_id, "lost", message="killed before its end")
    return gone


def _is_gone(row: JobRow) -> bool:
    """Tell whether a job's process is dead, or has been silent for ``LOST_AFTER``."""
    if row.host == socket.gethostname():
        try:
            os.kill(row.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # It is alive and somebody else's.
    silent = datetime.now(UTC) - datetime.fromisoformat(row.heartbeat)
    return silent.total_seconds() > LOST_AFTER


def pause_reviewers(session: Session, job_id: int, names: Collection[str]) -> None:
    """Tell a running review which reviewers to ask no more for now; the others go on."""
    columns = {"control": {"paused": sorted(names)}}
    session.execute(update(JobRow).where(JobRow.id == job_id).values(**columns))


def paused_reviewers(session: Session, job_id: int) -> frozenset[str]:
    """Return the names of the reviewers that a job is told to leave in peace."""
    control = session.scalar(select(JobRow.control).where(JobRow.id == job_id))
    return frozenset(control["paused"]) if control else frozenset()


def _to_job(row: JobRow) -> Job:
    lost = row.status == "running" and _is_gone(row)
    return Job(
        id=row.id,
        kind=row.kind,
        params=row.params,
        status="lost" if lost else row.status,
        done=row.done,
        total=row.total,
        counts=row.counts,
        message=row.message,
        pid=row.pid,
        host=row.host,
        created=row.created,
        heartbeat=row.heartbeat,
        finished=row.finished,
    )
