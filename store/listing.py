"""Rollouts as lines of a listing, with how far each one is."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, ScalarSelect, Select, and_, exists, func, select
from sqlalchemy.orm import Session, aliased, load_only

from dca.domain.consensus import Status
from store.paging import RolloutKey, after_key, in_order, needs_keys, selected_keys
from store.selection import Selection, among, conditions
from store.tables import AbstentionRow, ConsensusRow, ReviewRow, RolloutRow
from store.writing import dialect_of


@dataclass(frozen=True, slots=True)
class RolloutLine:
    """One line of a listing: everything but the texts and arrays."""

    id: str
    group_id: str
    task: str
    model: str
    step: int | None
    reward: float | None
    chars: int
    """Code points of the completion."""
    tokens: int | None
    """Completion tokens; ``None`` without stored ids."""
    reviews: int
    """Stored reviews, over all reviewers, prompts, label sets and rounds."""
    abstentions: int
    """Stored abstentions that no review has replaced."""
    consensus: int | None
    """Latest consensus version that holds this rollout; ``None`` when there is none."""
    shares: dict[Status, float] | None
    """Share of characters in each status in that version."""


def list_rollouts(
    session: Session,
    selection: Selection,
    *,
    limit: int = 100,
    after: RolloutKey | None = None,
) -> list[RolloutLine]:
    """Return at most ``limit`` selected lines ordered by (group, id), in one query.

    Args:
        session: Open session.
        selection: Which rollouts.
        limit: Most lines.
        after: ``(group_id, id)`` of the line after which to go on.
    """
    statement = _lines().where(*after_key(after)).limit(limit)
    if needs_keys(selection):
        ids = [key for _, key in selected_keys(session, selection)]
        wanted: Sequence[ColumnElement[bool]] = [among(RolloutRow.id, ids, dialect_of(session))]
    else:
        wanted = conditions(selection, dialect_of(session))
    return [_line(*row) for row in session.execute(in_order(statement.where(*wanted)))]


def _lines() -> "Select[RolloutRow, int, int, ConsensusRow]":
    """Return the statement of lines: rollout, reviews, abstentions, newest consensus."""
    row = RolloutRow
    reviews = _count_of(ReviewRow.rollout_id == row.id)
    replaced = exists().where(ReviewRow.id == AbstentionRow.id)
    abstentions = _count_of(AbstentionRow.rollout_id == row.id, ~replaced)
    one = aliased(ConsensusRow)
    newest = select(func.max(one.version_id)).where(one.rollout_id == row.id).scalar_subquery()
    settled = and_(ConsensusRow.rollout_id == row.id, ConsensusRow.version_id == newest)
    shares = (
        ConsensusRow.agreed,
        ConsensusRow.disputed,
        ConsensusRow.thin,
        ConsensusRow.uncovered,
    )
    facts = (row.group_id, row.task, row.model, row.step, row.reward, row.chars, row.token_count)
    statement = select(row, reviews, abstentions, ConsensusRow)
    return statement.outerjoin_from(row, ConsensusRow, settled).options(
        load_only(*facts, raiseload=True), load_only(*shares, raiseload=True)
    )


def _count_of(*wanted: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.count()).where(*wanted).scalar_subquery()


def _line(
    row: RolloutRow, reviews: int, abstentions: int, settled: ConsensusRow | None
) -> RolloutLine:
    return RolloutLine(
        id=row.id,
        group_id=row.group_id,
        task=row.task,
        model=row.model,
        step=row.step,
        reward=row.reward,
        chars=row.chars,
        tokens=row.token_count,
        reviews=reviews,
        abstentions=abstentions,
        consensus=None if settled is None else settled.version_id,
        shares=None
        if settled is None
        else {status: getattr(settled, status) for status in Status},
    )
