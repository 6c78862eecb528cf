"""Jobs: long work that tells how far it is, so that a killed one can be seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

LOST_AFTER = 120.0
"""A running job that is silent for longer, in seconds, is shown as ``lost``."""

Outcome = Literal["done", "partial", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of import, review, consensus, credit or export."""

    id: int
    kind: str
    """``import``, ``review``, ``consensus``, ``credit``, ``export`` or ``train``."""
    params: Mapping[str, object]
    status: str
    """``running``, ``done``, ``partial``, ``failed``, ``interrupted``; ``lost`` when killed."""
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
    raise NotImplementedError


def update_job(
    session: Session,
    job_id: int,
    *,
    done: int | None = None,
    total: int | None = None,
    counts: Mapping[str, object] | None = None,
) -> None:
    """Give a sign of life, with new figures where given."""
    raise NotImplementedError


def finish_job(
    session: Session,
    job_id: int,
    status: Outcome,
    *,
    done: int | None = None,
    counts: Mapping[str, object] | None = None,
    message: str = "",
) -> None:
    """End a job."""
    raise NotImplementedError


def list_jobs(session: Session, *, limit: int = 50) -> list[Job]:
    """Return the newest jobs first; a silent running job comes as ``lost``."""
    raise NotImplementedError
