"""What stored answers have used and cost."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from heapq import merge

from sqlalchemy import select
from sqlalchemy.orm import Session

from dca.domain.review import Usage
from store.tables import AbstentionRow, ReviewRow

_FIGURES = tuple(item.name for item in fields(Usage))
_ROWS = (ReviewRow, AbstentionRow)


@dataclass(frozen=True, slots=True)
class AnswerUsage:
    """What one answer has used."""

    rollout_id: str
    usage: Usage
    reviewed: bool
    """False for an abstention."""


@dataclass(slots=True)
class UsageTotal:
    """What all answers of one reviewer have used; a figure is the sum of what is known.

    An abstention that a review has followed counts, because it was paid for; one that another
    abstention has followed is not stored.
    """

    reviewer: str
    """Reviewer digest."""
    reviews: int = 0
    abstentions: int = 0
    unknown: int = 0
    """Answers without a number of tokens."""
    unpriced: int = 0
    """Answers with tokens but without a price."""
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    seconds: float = 0.0
    dollars: float = 0.0


def sample_usage(
    session: Session, reviewer: str, prompt: str, label_set: str, round_: int, *, limit: int
) -> list[AnswerUsage]:
    """Return what at most ``limit`` answers of a key have used.

    They are the first by their ids. An id is a digest, so this is a random sample that stays the
    same while nothing is added.
    """
    parts = (
        _first_of(session, row, (reviewer, prompt, label_set, round_), limit) for row in _ROWS
    )
    found = [answer for _, answer in merge(*parts, key=lambda item: item[0])]
    return found[:limit]


def _first_of(
    session: Session,
    row: type[ReviewRow] | type[AbstentionRow],
    key: tuple[str, str, str, int],
    limit: int,
) -> list[tuple[str, AnswerUsage]]:
    reviewer, prompt, label_set, round_ = key
    statement = (
        select(row.id, row.rollout_id, row.usage)
        .where(row.reviewer == reviewer, row.prompt == prompt)
        .where(row.label_set == label_set, row.round == round_)
        .order_by(row.id)
        .limit(limit)
    )
    return [
        (id_, AnswerUsage(rollout, Usage(**usage or {}), row is ReviewRow))
        for id_, rollout, usage in session.execute(statement)
    ]


def usage_totals(session: Session, *, page: int = 2_000) -> dict[str, UsageTotal]:
    """Return reviewer digest to what its answers have used, over all prompts and rounds."""
    totals: dict[str, UsageTotal] = {}
    for reviewer, answer in _every_usage(session, page):
        _add(totals.setdefault(reviewer, UsageTotal(reviewer)), answer)
    return totals


def _every_usage(session: Session, page: int) -> Iterator[tuple[str, AnswerUsage]]:
    """Yield reviewer digest and usage of all answers, ``page`` read at once."""
    for row in _ROWS:
        last = ""
        statement = select(row.id, row.reviewer, row.rollout_id, row.usage)
        statement = statement.order_by(row.id).limit(page)
        while found := session.execute(statement.where(row.id > last)).all():
            for _, reviewer, rollout, usage in found:
                yield reviewer, AnswerUsage(rollout, Usage(**usage or {}), row is ReviewRow)
            last = found[-1][0]


def _add(total: UsageTotal, answer: AnswerUsage) -> None:
    """Add one answer to a total."""
    usage = answer.usage
    known = usage.input_tokens is not None and usage.output_tokens is not None
    if answer.reviewed:
        total.reviews += 1
    else:
        total.abstentions += 1
    total.unknown += not known
    total.unpriced += known and usage.dollars is None
    for name in _FIGURES:
        figure = getattr(usage, name)
        if figure is not None:
            setattr(total, name, getattr(total, name) + figure)
