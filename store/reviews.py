"""Reviewers and their answers in the store."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from typing import TypeVar

from sqlalchemy import ColumnElement, CompoundSelect, Select, exists, func, select
from sqlalchemy.orm import Session, undefer

from dca.domain.review import Abstention, Review, ReviewerInfo
from dca.domain.rollout import ID_DIGITS, Rollout
from store.answer_rows import abstention_row, review_row, to_abstention, to_review
from store.paging import KEY_PAGE, chunks, rows_by_id, selected_keys
from store.rollout_rows import to_rollout
from store.rollouts import whole_rows
from store.selection import Selection, among, among_given, given
from store.tables import AbstentionRow, ReviewerRow, ReviewRow
from store.writing import dialect_of, insert_new, insert_or_replace, now, table_of

_AnswerRow = type[ReviewRow] | type[AbstentionRow]
_Row = TypeVar("_Row", ReviewRow, AbstentionRow)
_Answer = TypeVar("_Answer", Review, Abstention)


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """How many answers one reviewer has given under one prompt, label set and round."""

    reviewer: str
    """Reviewer digest."""
    prompt: str
    """Prompt digest."""
    label_set: str
    round: int
    reviews: int
    abstentions: int
    """Abstentions that no review has replaced."""


@dataclass(frozen=True, slots=True)
class AnswerFilter:
    """Which answers of a rollout to read."""

    label_set: str
    round: int = 1
    reviewers: Sequence[str] | None = None
    """Reviewer digests to keep; ``None`` keeps all."""
    prompts: Sequence[str] | None = None
    """Prompt digests to keep; ``None`` keeps all."""


def add_reviewers(session: Session, reviewers: Iterable[ReviewerInfo]) -> None:
    """Store reviewers by digest, before their answers. Safe to repeat."""
    created = now()
    rows = [
        {
            "digest": info.digest,
            "name": info.name,
            "kind": info.kind,
            "family": info.family,
            "model": info.model,
            "settings": dict(info.settings),
            "created": created,
        }
        for info in reviewers
    ]
    insert_new(session, ReviewerRow, rows)


def list_reviewers(session: Session) -> list[ReviewerInfo]:
    """Return all reviewers, sorted by name, then digest."""
    rows = session.scalars(select(ReviewerRow).order_by(ReviewerRow.digest))
    infos = [ReviewerInfo(row.name, row.kind, row.family, row.model, row.settings) for row in rows]
    return sorted(infos, key=lambda info: info.name)


def add_answers(session: Session, answers: Sequence[Review | Abstention]) -> int:
    """Store answers by key and return how many reviews were new. Safe to repeat.

    A stored review never changes. An abstention replaces an earlier abstention of its key; it
    stands only while no review has that key, whichever of the two was stored first. Reviewers and
    rollouts must be stored before.
    """
    created = now()
    reviews = [review_row(item, created) for item in answers if isinstance(item, Review)]
    failed = [abstention_row(item, created) for item in answers if isinstance(item, Abstention)]
    insert_or_replace(session, AbstentionRow, failed)
    return insert_new(session, ReviewRow, reviews)


def pending(
    session: Session,
    reviewer_digest: str,
    prompt_digest: str,
    label_set: str,
    round_: int,
    selection: Selection,
    *,
    page: int = 500,
    retry_failed: bool = False,
) -> Iterator[list[Rollout]]:
    """Yield pages of the selected rollouts that this reviewer has not answered under this key.

    Abstentions count as answered unless ``retry_failed``. The limit and the sample of the
    selection choose first, so that asking again never widens the choice. Rollouts come without
    their token arrays, which no reviewer sees.
    """
    kept = AnswerFilter(label_set, round_, (reviewer_digest,), (prompt_digest,))
    answers = (ReviewRow,) if retry_failed else (ReviewRow, AbstentionRow)
    ids = _unanswered(session, selection, kept, answers)
    for rows in rows_by_id(session, ids, whole_rows(arrays=False), page):
        yield [to_rollout(row, arrays=False) for row in rows]


def answered(session: Session, keys: Sequence[str], *, again: bool = False) -> frozenset[str]:
    """Return which of the reviews with these ids are answered.

    Args:
        session: Open session.
        keys: ``ReviewKey.id`` of each.
        again: Whether an abstention counts as no answer.
    """
    dialect = dialect_of(session)
    found = session.execute(_answered(dialect, again), {"given": given(keys, dialect)})
    return frozenset(found.scalars())


@cache
def _answered(dialect: str, again: bool) -> "Select[str] | CompoundSelect[str]":
    """Return the statement that finds which of the given reviews are answered."""
    ids = [table_of(row).c.id for row in (ReviewRow, AbstentionRow)]
    reviews, abstentions = (select(key).where(among_given(key, dialect)) for key in ids)
    return reviews if again else reviews.union_all(abstentions)


def count_pending(
    session: Session,
    reviewer_digest: str,
    prompt_digest: str,
    label_set: str,
    round_: int,
    selection: Selection,
    *,
    retry_failed: bool = False,
) -> int:
    """Return how many rollouts ``pending`` would yield."""
    key = reviewer_digest, prompt_digest, label_set, round_
    return sum(1 for _ in pending_ids(session, *key, selection, retry_failed=retry_failed))


def pending_ids(
    session: Session,
    reviewer_digest: str,
    prompt_digest: str,
    label_set: str,
    round_: int,
    selection: Selection,
    *,
    retry_failed: bool = False,
) -> Iterator[str]:
    """Yield the ids of the rollouts that ``pending`` would yield, in its order, without texts."""
    kept = AnswerFilter(label_set, round_, (reviewer_digest,), (prompt_digest,))
    answers = (ReviewRow,) if retry_failed else (ReviewRow, AbstentionRow)
    return _unanswered(session, selection, kept, answers)


def _unanswered(
    session: Session, selection: Selection, kept: AnswerFilter, answers: Sequence[_AnswerRow]
) -> Iterator[str]:
    """Yield the ids of selected rollouts that have none of the answers.

    Keys are read in big pages of their own: an anti-join beside every page of texts is planned
    anew each time, and PostgreSQL then hashes all answers for each.
    """
    for keys in chunks(selected_keys(session, selection), KEY_PAGE):
        ids = [key for _, key in keys]
        done: set[str] = set()
        for answer in answers:
            wanted = _kept(session, answer, ids, kept)
            done.update(session.scalars(select(answer.rollout_id).where(*wanted)))
        yield from (key for key in ids if key not in done)


def reviews_of(
    session: Session,
    rollout_ids: Sequence[str],
    *,
    label_set: str,
    round_: int = 1,
    reviewers: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    raw: bool = True,
) -> dict[str, list[Review]]:
    """Return rollout id to its reviews, in one query; a rollout without reviews has no entry.

    The reviews of a rollout are ordered by reviewer digest, then prompt digest.

    Args:
        session: Open session.
        rollout_ids: Which rollouts; any number.
        label_set: Name of the label set.
        round_: Review round.
        reviewers: Reviewer digests to keep; ``None`` keeps all.
        prompts: Prompt digests to keep; ``None`` keeps all.
        raw: Whether to read the replies; without them ``Review.raw`` is ``""``.
    """
    kept = AnswerFilter(label_set, round_, reviewers, prompts)
    wanted = _kept(session, ReviewRow, rollout_ids, kept)
    return _by_rollout(session, ReviewRow, wanted, partial(to_review, raw=raw), raw=raw)


def abstentions_of(
    session: Session,
    rollout_ids: Sequence[str],
    *,
    label_set: str,
    round_: int = 1,
    reviewers: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    raw: bool = True,
) -> dict[str, list[Abstention]]:
    """Return rollout id to its abstentions that no review replaces; see ``reviews_of``."""
    kept = AnswerFilter(label_set, round_, reviewers, prompts)
    wanted = [*_kept(session, AbstentionRow, rollout_ids, kept), _standing()]
    return _by_rollout(session, AbstentionRow, wanted, partial(to_abstention, raw=raw), raw=raw)


def _by_rollout(
    session: Session,
    answer: type[_Row],
    wanted: Sequence[ColumnElement[bool]],
    read: Callable[[_Row], _Answer],
    *,
    raw: bool,
) -> dict[str, list[_Answer]]:
    """Return rollout id to its answers, ordered by reviewer digest, then prompt digest."""
    statement = select(answer).where(*wanted)
    statement = statement.order_by(answer.rollout_id, answer.reviewer, answer.prompt)
    if raw:
        statement = statement.options(undefer(answer.raw))
    found: dict[str, list[_Answer]] = {}
    for row in session.scalars(statement):
        found.setdefault(row.rollout_id, []).append(read(row))
    return found


def _standing() -> ColumnElement[bool]:
    """Return the condition that no review replaces an abstention."""
    return ~exists().where(ReviewRow.id == AbstentionRow.id)


def _kept(
    session: Session,
    answer: _AnswerRow,
    rollout_ids: Sequence[str],
    kept: AnswerFilter,
) -> list[ColumnElement[bool]]:
    dialect = dialect_of(session)
    found = [
        among(answer.rollout_id, rollout_ids, dialect),
        answer.label_set == kept.label_set,
        answer.round == kept.round,
    ]
    if kept.reviewers is not None:
        found.append(among(answer.reviewer, kept.reviewers, dialect))
    if kept.prompts is not None:
        found.append(among(answer.prompt, kept.prompts, dialect))
    return found


def count_answers(
    session: Session, *, label_set: str | None = None, round_: int | None = None
) -> list[AnswerCount]:
    """Return the counts per reviewer, prompt, label set and round, sorted by these."""
    counts: dict[tuple[str, str, str, int], list[int]] = {}
    for place, answer in enumerate((ReviewRow, AbstentionRow)):
        key = (answer.reviewer, answer.prompt, answer.label_set, answer.round)
        statement = select(*key, func.count()).group_by(*key)
        if answer is AbstentionRow:
            statement = statement.where(_standing())
        if label_set is not None:
            statement = statement.where(answer.label_set == label_set)
        if round_ is not None:
            statement = statement.where(answer.round == round_)
        for reviewer, prompt, labels, asked_round, number in session.execute(statement):
            counts.setdefault((reviewer, prompt, labels, asked_round), [0, 0])[place] = number
    return [AnswerCount(*key, *counts[key]) for key in sorted(counts)]


def abstention_reasons(
    session: Session,
    reviewer_digest: str,
    prompt_digest: str,
    label_set: str,
    round_: int,
    selection: Selection,
) -> Counter[str]:
    """Return why a reviewer abstained on the selected rollouts: message to count.

    Only abstentions that no review has replaced are counted.
    """
    kept = AnswerFilter(label_set, round_, (reviewer_digest,), (prompt_digest,))
    counts: Counter[str] = Counter()
    for keys in chunks(selected_keys(session, selection), KEY_PAGE):
        ids = [key for _, key in keys]
        wanted = _kept(session, AbstentionRow, ids, kept)
        reasons = select(AbstentionRow.reason).where(*wanted, _standing())
        counts.update(session.scalars(reasons))
    return counts


def answers_digest(
    session: Session,
    selection: Selection,
    *,
    label_set: str,
    round_: int = 1,
    reviewers: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
) -> str:
    """Return a digest of the reviews that a consensus over the selection would read.

    Reviews are immutable, so equal digests mean equal inputs. A selected rollout without reviews
    counts too: it is settled as uncovered.
    """
    kept = AnswerFilter(label_set, round_, reviewers, prompts)
    found = sha256()
    for keys in chunks(selected_keys(session, selection), KEY_PAGE):
        ids = [key for _, key in keys]
        statement = select(ReviewRow.id).where(*_kept(session, ReviewRow, ids, kept))
        reviews = session.scalars(statement.order_by(ReviewRow.id)).all()
        found.update("\n".join([*sorted(ids), "", *reviews, ""]).encode())
    return found.hexdigest()[:ID_DIGITS]
