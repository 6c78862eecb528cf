"""Per-token scores as compact arrays, and the credit runs that made them."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.codecs import ITEM_BYTES, from_blob, to_blob
from store.selection import among
from store.tables import CreditRunRow, TokenScoresRow
from store.writing import Row, dialect_of, insert_or_replace, now


@dataclass(frozen=True, slots=True)
class TokenScores:
    """One number per completion token of one rollout."""

    rollout_id: str
    name: str
    """What is scored, for example ``credit:deliberative:weight``."""
    source: str
    """What it was made from: a consensus version, a model digest."""
    values: "array[float] | array[int]"
    """Typecode ``b``, ``i``, ``f`` or ``d``; length T, the rollout's completion tokens."""
    meta: Mapping[str, object] = field(default_factory=dict[str, object])
    """JSON values only."""


@dataclass(frozen=True, slots=True)
class CreditRun:
    """One run of a credit assigner over a selection."""

    method: str
    """Name of the assigner."""
    params: Mapping[str, object]
    """Its settings, JSON values only."""
    consensus_version: int | None
    """Number of the version it read; ``None`` when the method reads none."""
    label_set: str
    summary: Mapping[str, object] = field(default_factory=dict[str, object])
    """Counts and totals, JSON values only."""
    id: int = 0
    """Number given by the store; 0 before it is stored."""
    created: str = ""
    """UTC time, ISO 8601; given by the store."""


def add_scores(session: Session, scores: Sequence[TokenScores]) -> None:
    """Store scores; those of the same rollout, name and source are replaced. Safe to repeat.

    Raises:
        ValueError: An array's typecode is not one of ``b``, ``i``, ``f`` and ``d``.
    """
    insert_or_replace(session, TokenScoresRow, [_scores_row(item) for item in scores])


def _scores_row(item: TokenScores) -> Row:
    typecode = item.values.typecode
    if typecode not in ITEM_BYTES:
        raise ValueError(f"scores {item.name!r}: typecode {typecode!r} is none of b, i, f, d")
    return {
        "rollout_id": item.rollout_id,
        "name": item.name,
        "source": item.source,
        "typecode": typecode,
        "values": to_blob(item.values, typecode),
        "meta": dict(item.meta) or None,
    }


def scores_of(
    session: Session, rollout_ids: Sequence[str], name: str, source: str
) -> dict[str, TokenScores]:
    """Return rollout id to its scores, in one query; rollouts without have no entry."""
    statement = select(TokenScoresRow).where(
        among(TokenScoresRow.rollout_id, rollout_ids, dialect_of(session)),
        TokenScoresRow.name == name,
        TokenScoresRow.source == source,
    )
    return {row.rollout_id: _to_scores(row) for row in session.scalars(statement)}


def _to_scores(row: TokenScoresRow) -> TokenScores:
    values = from_blob(row.values, row.typecode) or array(row.typecode)
    return TokenScores(row.rollout_id, row.name, row.source, values, row.meta or {})


def add_credit_run(session: Session, run: CreditRun) -> CreditRun:
    """Store a run and return it with its ``id`` and ``created``."""
    row = CreditRunRow(
        method=run.method,
        params=dict(run.params),
        consensus_version=run.consensus_version,
        label_set=run.label_set,
        summary=dict(run.summary),
        created=now(),
    )
    session.add(row)
    session.flush()
    return replace(run, id=row.id, created=row.created)


def list_credit_runs(session: Session, *, limit: int | None = None) -> list[CreditRun]:
    """Return the newest runs first, all unless ``limit`` says how many."""
    rows = session.scalars(select(CreditRunRow).order_by(CreditRunRow.id.desc()).limit(limit))
    return [_to_run(row) for row in rows]


def latest_credit_run(session: Session, method: str | None = None) -> CreditRun | None:
    """Return the newest run, of one method when given, or ``None``."""
    statement = select(CreditRunRow).order_by(CreditRunRow.id.desc()).limit(1)
    if method is not None:
        statement = statement.where(CreditRunRow.method == method)
    row = session.scalar(statement)
    return None if row is None else _to_run(row)


def _to_run(row: CreditRunRow) -> CreditRun:
    return CreditRun(
        method=row.method,
        params=row.params,
        consensus_version=row.consensus_version,
        label_set=row.label_set,
        summary=row.summary,
        id=row.id,
        created=row.created,
    )
