"""Claims: which review is being asked for by which job, written down before the first request.

A claim is made before anything is sent and goes away in the transaction that stores the answer.
So two runs at once never pay for one review twice, and after a kill the claims that are left say
which reviews were under way.

The claims of a batch at a provider are held by the batch's own job, which no process has to be
alive for, see ``store.batches``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    CursorResult,
    Delete,
    Select,
    bindparam,
    delete,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from store.jobs import HOLDING, lose_jobs
from store.reviews import answered
from store.selection import among, among_given, each_given, given
from store.tables import ClaimRow, JobRow
from store.writing import dialect_of, now, table_of

_CLAIMS = table_of(ClaimRow)
"""Below the mapping, for the statements that every batch of answers needs."""


@dataclass(frozen=True, slots=True)
class Reaped:
    """What was left behind by jobs that are gone."""

    jobs: tuple[int, ...]
    """Jobs that were found dead."""
    claims: int
    """Reviews that were under way, whose requests may have been paid for."""


def claim(
    session: Session, job: int, keys: Sequence[str], *, again: bool = False
) -> frozenset[str]:
    """Claim reviews for a job and return those that it now holds.

    Left out is what another job holds and what has been answered in the meantime.

    Args:
        session: Open session.
        job: Number of the job, running.
        keys: ``ReviewKey.id`` of each.
        again: Whether an abstention counts as no answer.
    """
    dialect = dialect_of(session)
    # In order: two writers that lock in one order cannot deadlock.
    asked = {"given": given(sorted(keys), dialect), "holder": job}
    mine = set(session.execute(_claimed(dialect), {**asked, "moment": now()}).scalars())
    if taken := [key for key in keys if key not in mine]:
        earlier = {"given": given(taken, dialect), "holder": job}
        mine.update(session.execute(_held(dialect), earlier).scalars())
    # Read after the claim: whoever held it before has stored the answer before letting go.
    done = answered(session, keys, again=again)
    release(session, mine & done)
    return frozenset(mine - done)


def release(session: Session, keys: Iterable[str]) -> None:
    """Let claims go: answered, or not asked after all. Safe to repeat."""
    gone = sorted(keys)
    if gone:
        dialect = dialect_of(session)
        session.execute(_released(dialect), {"given": given(gone, dialect)})


@cache
def _claimed(dialect: str) -> ReturningInsert[str]:
    """Return the statement that claims the given reviews that nobody holds, and returns them."""
    key = each_given(dialect)
    # SQLite needs a WHERE to tell ON CONFLICT from a join's ON.
    chosen = select(key, bindparam("holder"), bindparam("moment")).where(true())
    insert = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[dialect]
    claims = insert(_CLAIMS).from_select(["id", "job", "created"], chosen)
    return claims.on_conflict_do_nothing().returning(_CLAIMS.c.id)


@cache
def _held(dialect: str) -> Select[str]:
    """Return the statement that finds which of the given claims a job holds."""
    claims = _CLAIMS.c
    return select(claims.id).where(
        among_given(claims.id, dialect), claims.job == bindparam("holder")
    )


@cache
def _released(dialect: str) -> Delete:
    """Return the statement that lets the given claims go."""
    return delete(_CLAIMS).where(among_given(_CLAIMS.c.id, dialect))


def release_job(session: Session, job: int) -> int:
    """Let go what a job still holds and return how many claims that were."""
    result = session.execute(delete(ClaimRow).where(ClaimRow.job == job))
    return result.rowcount if isinstance(result, CursorResult) else 0


def hand_over(session: Session, keys: Sequence[str], job: int, other: int) -> None:
    """Let another job hold these claims of a job from now on."""
    wanted = among(ClaimRow.id, keys, dialect_of(session))
    session.execute(update(ClaimRow).where(wanted, ClaimRow.job == job).values(job=other))


def claimed(session: Session, keys: Sequence[str]) -> frozenset[str]:
    """Return which of these reviews any job holds."""
    wanted = among(ClaimRow.id, keys, dialect_of(session))
    return frozenset(session.scalars(select(ClaimRow.id).where(wanted)))


def reap(session: Session) -> Reaped:
    """Mark the jobs that are gone as ``lost`` and let go whatever no job at work holds."""
    lost = lose_jobs(session)
    running = select(JobRow.id).where(JobRow.status.in_(HOLDING))
    result = session.execute(delete(ClaimRow).where(ClaimRow.job.not_in(running)))
    return Reaped(tuple(lost), result.rowcount if isinstance(result, CursorResult) else 0)
