"""Rollouts in the store: add, page through, count and find them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dca.domain.consensus import Status
from dca.domain.rollout import Rollout
from sqlalchemy.orm import Session

from store.selection import Selection


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a batch; the three counts sum to its distinct ids."""

    new: int
    """Rollouts that were not stored before."""
    unchanged: int
    """Rollouts already stored with the same content."""
    conflicts: tuple[str, ...] = ()
    """Ids already stored with other content (reward, truth, tokens, ...); the stored one stays."""


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


def add_rollouts(session: Session, rollouts: Sequence[Rollout]) -> Added:
    """Store rollouts that are not yet stored. Safe to repeat, also from two processes at once."""
    raise NotImplementedError


def iter_rollouts(
    session: Session, selection: Selection, *, page: int = 500
) -> Iterator[list[Rollout]]:
    """Yield the selected rollouts in pages, ordered by group, then id."""
    raise NotImplementedError


def iter_groups(
    session: Session, selection: Selection, *, page: int = 100
) -> Iterator[list[list[Rollout]]]:
    """Yield pages of about ``page`` groups; a group is whole: every rollout of it, selected or not.

    A group comes when at least one of its rollouts is selected.
    """
    raise NotImplementedError


def count_rollouts(session: Session, selection: Selection) -> int:
    """Return how many rollouts the selection holds."""
    raise NotImplementedError


def find_rollout(session: Session, id_prefix: str) -> Rollout:
    """Return the rollout whose id starts with ``id_prefix``.

    Raises:
        NothingSelected: No id starts so.
        SelectionError: Several ids start so.
    """
    raise NotImplementedError


def list_rollouts(
    session: Session,
    selection: Selection,
    *,
    limit: int = 100,
    after: tuple[str, str] | None = None,
) -> list[RolloutLine]:
    """Return at most ``limit`` lines ordered by (group, id), those after ``after`` when given."""
    raise NotImplementedError


def missing_ids(session: Session, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the ids that are not stored, in the order given."""
    raise NotImplementedError
