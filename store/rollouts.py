"""Rollouts in the store: add, page through, count and find them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from dca.domain.errors import NothingSelected, SelectionError
from dca.domain.rollout import Rollout
from store.paging import chunks, in_order, needs_keys, read_rows, row_pages, selected_keys
from store.rollout_rows import to_rollout, to_row
from store.selection import Selection, among, conditions, starts_with
from store.tables import RolloutRow
from store.writing import dialect_of, insert_new, now, table_of

_ARRAYS = frozenset({"token_ids", "prompt_ids", "offsets", "logprobs"})
"""Columns that can outweigh the text."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch: each of its rollouts is in exactly one of the four."""

    new: int
    """Rollouts that were not stored before."""
    unchanged: int
    """Rollouts already stored, or earlier in the batch, with the same content."""
    conflicts: tuple[str, ...] = ()
    """Ids of rollouts stored with other content (reward, truth, tokens, ...); the stored stay."""
    reused: tuple[str, ...] = ()
    """Ids of rollouts that are not stored, because the source's id is, with another text."""


def add_rollouts(session: Session, rollouts: Sequence[Rollout]) -> Added:
    """Store the rollouts that are not yet stored. Safe to repeat, also from two processes at once.

    Of several rollouts with one id, or with one ``source_key``, in the batch the first is stored.

    Raises:
        ValueError: A reward is not finite.
    """
    created = now()
    rows = [to_row(rollout, created) for rollout in rollouts]
    first = {row["id"]: row for row in reversed(rows)}
    named = {row["source_key"]: row["id"] for row in reversed(rows)}
    wanted = [
        row
        for row in first.values()
        if row["source_key"] is None or named[row["source_key"]] == row["id"]
    ]
    new = insert_new(session, RolloutRow, wanted)
    stored = {key: row["digest"] for key, row in first.items()}
    if new < len(first):
        stored = _digests(session, list(first))
    reused = tuple(row["id"] for row in rows if row["id"] not in stored)
    conflicts = tuple(
        row["id"] for row in rows if stored.get(row["id"], row["digest"]) != row["digest"]
    )
    unchanged = len(rows) - new - len(conflicts) - len(reused)
    return Added(new, unchanged, conflicts, reused)


def _digests(session: Session, ids: Sequence[str]) -> dict[str, str]:
    wanted = among(RolloutRow.id, ids, dialect_of(session))
    found = session.execute(select(RolloutRow.id, RolloutRow.digest).where(wanted))
    return {row.id: row.digest for row in found}


def iter_rollouts(
    session: Session, selection: Selection, *, page: int = 500, arrays: bool = True
) -> Iterator[list[Rollout]]:
    """Yield the selected rollouts in pages, ordered by group, then id.

    Args:
        session: Open session; it may commit between pages.
        selection: Which rollouts.
        page: Most rollouts at once.
        arrays: Whether to read token ids, offsets and log-probabilities, which can outweigh the
            text; without them ``Rollout.tokens`` is ``None``.
    """
    for rows in row_pages(session, selection, whole_rows(arrays=arrays), page):
        yield [to_rollout(row, arrays=arrays) for row in rows]


def whole_rows(*, arrays: bool) -> Select[*tuple[Any, ...]]:
    """Return the statement that reads rollouts, with or without their token arrays."""
    columns = table_of(RolloutRow).columns
    return select(*[column for column in columns if arrays or column.name not in _ARRAYS])


def iter_groups(
    session: Session, selection: Selection, *, page: int = 50, arrays: bool = True
) -> Iterator[list[list[Rollout]]]:
    """Yield the groups of the selected rollouts, at most ``page`` groups at once.

    A group comes whole, with the rollouts of it that were not selected: a baseline over half a
    group is wrong. Groups are ordered by id, rollouts within a group too.
    """
    for names in _group_pages(session, selection, page):
        wanted = among(RolloutRow.group_id, names, dialect_of(session))
        rows = read_rows(session, in_order(whole_rows(arrays=arrays).where(wanted)))
        rollouts = [to_rollout(row, arrays=arrays) for row in rows]
        yield [list(group) for _, group in groupby(rollouts, key=lambda item: item.group_id)]


def _group_pages(session: Session, selection: Selection, page: int) -> Iterator[list[str]]:
    if needs_keys(selection):
        keys = selected_keys(session, selection)
        yield from chunks((name for name, _ in groupby(keys, key=lambda key: key[0])), page)
        return
    group = RolloutRow.group_id
    statement = select(group).where(*conditions(selection, dialect_of(session))).distinct()
    statement = statement.order_by(group).limit(page)
    names = list(session.scalars(statement))
    while names:
        yield names
        names = list(session.scalars(statement.where(group > names[-1])))


def count_rollouts(session: Session, selection: Selection) -> int:
    """Return how many rollouts the selection holds."""
    wanted = conditions(selection, dialect_of(session))
    count = session.scalar(select(func.count()).select_from(RolloutRow).where(*wanted)) or 0
    caps = [cap for cap in (selection.sample, selection.limit) if cap is not None]
    return min([count, *caps])


def find_rollout(session: Session, id_prefix: str) -> Rollout:
    """Return the rollout whose id is ``id_prefix`` or alone starts with it.

    Raises:
        NothingSelected: No id starts so.
        SelectionError: Several ids start so.
    """
    statement = whole_rows(arrays=True).where(starts_with(RolloutRow.id, id_prefix))
    rows = read_rows(session, statement.order_by(RolloutRow.id).limit(4))
    if not rows:
        raise NothingSelected(f"no rollout has an id that starts with {id_prefix!r}")
    if len(rows) > 1 and rows[0].id != id_prefix:
        some = ", ".join(row.id for row in rows[:3])
        more = ", ..." if len(rows) > 3 else ""
        raise SelectionError(
            f"several rollouts have an id that starts with {id_prefix!r}: {some}{more}",
            hint="Give more digits.",
        )
    return to_rollout(rows[0], arrays=True)


def missing_ids(session: Session, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the ids that are not stored, in the order given."""
    wanted = among(RolloutRow.id, ids, dialect_of(session))
    stored = set(session.scalars(select(RolloutRow.id).where(wanted)))
    return tuple(key for key in ids if key not in stored)
