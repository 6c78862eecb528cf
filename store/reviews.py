"""Reviewers and their answers in the store."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dca.domain.review import Abstention, Review, ReviewerInfo
from dca.domain.rollout import Rollout
from sqlalchemy.orm import Session

from store.selection import Selection


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


def add_reviewers(session: Session, reviewers: Iterable[ReviewerInfo]) -> None:
    """Store reviewers by digest, before their answers. Safe to repeat."""
    raise NotImplementedError


def list_reviewers(session: Session) -> list[ReviewerInfo]:
    """Return all reviewers, sorted by name, then digest."""
    raise NotImplementedError


def add_answers(session: Session, answers: Sequence[Review | Abstention]) -> int:
    """Store answers by key and return how many reviews were new. Safe to repeat.

    A stored review never changes. A review replaces an abstention of its key, an abstention
    replaces an earlier abstention, never a review. Reviewers and rollouts must be stored before.
    """
    raise NotImplementedError


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

    Abstentions count as answered unless ``retry_failed``.
    """
    raise NotImplementedError


def reviews_of(
    session: Session,
    rollout_ids: Sequence[str],
    *,
    label_set: str,
    round_: int = 1,
    reviewers: Sequence[str] | None = None,
    raw: bool = True,
) -> dict[str, list[Review]]:
    """Return rollout id to its reviews, in one query; a rollout without reviews has no entry.

    Args:
        session: Open session.
        rollout_ids: Which rollouts; any number.
        label_set: Name of the label set.
        round_: Review round.
        reviewers: Reviewer digests to keep; ``None`` keeps all.
        raw: Whether to read the raw replies; without them ``Review.raw`` is ``""``.
    """
    raise NotImplementedError


def abstentions_of(
    session: Session,
    rollout_ids: Sequence[str],
    *,
    label_set: str,
    round_: int = 1,
    reviewers: Sequence[str] | None = None,
    raw: bool = True,
) -> dict[str, list[Abstention]]:
    """Return rollout id to its abstentions that no review replaced; arguments as ``reviews_of``."""
    raise NotImplementedError


def count_answers(
    session: Session, *, label_set: str | None = None, round_: int | None = None
) -> list[AnswerCount]:
    """Return the counts per reviewer, prompt, label set and round."""
    raise NotImplementedError


def answers_digest(
    session: Session,
    selection: Selection,
    *,
    label_set: str,
    round_: int = 1,
    reviewers: Sequence[str] | None = None,
) -> str:
    """Return a digest of the reviews that a consensus over the selection would read.

    Reviews are immutable, so equal digests mean equal inputs.
    """
    raise NotImplementedError
