"""Pages over the selected rollouts, by key and never by offset, ordered by (group, id)."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeVar, TypeVarTuple, cast

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from store.selection import Selection, among, conditions
from store.tables import RolloutRow
from store.writing import dialect_of

KEY_PAGE = 10_000
"""Keys read at once where only keys are read."""
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RolloutKey = tuple[str, str]
"""``(group_id, id)``."""


def after_key(key: RolloutKey | None) -> list[ColumnElement[bool]]:
    """Return the condition that a rollout comes after ``key`` in the order of pages."""
    return [] if key is None else [tuple_(RolloutRow.group_id, RolloutRow.id) > key]


def in_order(statement: Select[*Ts]) -> Select[*Ts]:
    """Return the statement ordered by (group, id), which its index serves."""
    return statement.order_by(RolloutRow.group_id, RolloutRow.id)


def row_pages(
    session: Session, selection: Selection, statement: Select[*tuple[Any, ...]], page: int
) -> Iterator[Sequence[RolloutRow]]:
    """Yield the selected rows of ``statement``, at most ``page`` at once."""
    if needs_keys(selection):
        keys = selected_keys(session, selection)
        yield from rows_by_id(session, (key for _, key in keys), statement, page)
        return
    statement = in_order(statement.where(*conditions(selection, dialect_of(session))))
    last: RolloutKey | None = None
    while rows := read_rows(session, statement.where(*after_key(last)).limit(page)):
        last = (rows[-1].group_id, rows[-1].id)
        yield rows


def read_rows(session: Session, statement: Select[*tuple[Any, ...]]) -> Sequence[RolloutRow]:
    """Return the rows of a statement over columns of rollouts, as if they were mapped.

    Mapped objects would cost as much again as all else about reading them.
    """
    return cast("Sequence[RolloutRow]", session.execute(statement).all())


def rows_by_id(
    session: Session, ids: Iterator[str], statement: Select[*tuple[Any, ...]], page: int
) -> Iterator[Sequence[RolloutRow]]:
    """Yield the rows of ``statement`` with these ids, given in order, at most ``page`` at once."""
    for chunk in chunks(ids, page):
        chosen = statement.where(among(RolloutRow.id, chunk, dialect_of(session)))
        yield read_rows(session, in_order(chosen))


def needs_keys(selection: Selection) -> bool:
    """Tell whether the selection has to be resolved to keys before rows are read."""
    return any(part is not None for part in (selection.ids, selection.sample, selection.limit))


def selected_keys(session: Session, selection: Selection) -> Iterator[RolloutKey]:
    """Yield the keys of the selected rollouts, in order; sample and limit are applied."""
    if selection.sample is not None:
        selection = _sampled(session, selection)
    yield from islice(_matching_keys(session, selection), selection.limit)


def _matching_keys(session: Session, selection: Selection) -> Iterator[RolloutKey]:
    """Yield the keys that meet the selection's conditions, in order."""
    statement = in_order(
        select(RolloutRow.group_id, RolloutRow.id).where(
            *conditions(selection, dialect_of(session))
        )
    )
    size = KEY_PAGE if selection.limit is None else min(KEY_PAGE, max(selection.limit, 1))
    last: RolloutKey | None = None
    while rows := session.execute(statement.where(*after_key(last)).limit(size)).all():
        last = (rows[-1].group_id, rows[-1].id)
        yield from ((row.group_id, row.id) for row in rows)


def _sampled(session: Session, selection: Selection) -> Selection:
    """Return the selection narrowed to its random sample.

    The sample is those with the smallest hash of seed and id: the same on every database, in
    memory of its own size, and nearly unchanged when rollouts are added.
    """

    def lot(key: RolloutKey) -> bytes:
        return blake2b(f"{selection.seed}:{key[1]}".encode(), digest_size=16).digest()

    everything = _matching_keys(session, replace(selection, limit=None))
    drawn = heapq.nsmallest(selection.sample or 0, everything, key=lot)
    return replace(selection, ids=tuple(key for _, key in drawn), sample=None)


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most ``size``."""
    while chunk := list(islice(items, size)):
        yield chunk
