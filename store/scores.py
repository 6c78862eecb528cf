"""Per-token scores as compact arrays, and the credit runs that made them."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session


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
    """Store scores; those of the same rollout, name and source are replaced. Safe to repeat."""
    raise NotImplementedError


def scores_of(
    session: Session, rollout_ids: Sequence[str], name: str, source: str
) -> dict[str, TokenScores]:
    """Return rollout id to its scores, in one query; rollouts without have no entry."""
    raise NotImplementedError


def add_credit_run(session: Session, run: CreditRun) -> CreditRun:
    """Store a run and return it with its ``id`` and ``created``."""
    raise NotImplementedError


def list_credit_runs(session: Session) -> list[CreditRun]:
    """Return all runs, newest first."""
    raise NotImplementedError


def latest_credit_run(session: Session, method: str | None = None) -> CreditRun | None:
    """Return the newest run, of one method when given, or ``None``."""
    raise NotImplementedError
