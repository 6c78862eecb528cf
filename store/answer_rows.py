"""Reviews and abstentions as rows and back.

Steps, links and unplaced parts are compact JSON lists in the review's own row:

    steps     [[start, stop, label, confidence, reason], ...]
    links     [[source, target, kind], ...]
    unplaced  [[quote, reason], ...]
    usage     {"input_tokens": 812, ...} without the unknown figures
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from dca.domain.review import (
    Abstention,
    AbstentionKind,
    Blame,
    Link,
    LinkKind,
    Review,
    ReviewKey,
    Soundness,
    Step,
    Unplaced,
    Usage,
)
from dca.domain.spans import Span
from store.codecs import from_raw, to_raw
from store.rollout_rows import span_columns, to_span
from store.tables import AbstentionRow, ReviewRow
from store.writing import Row

_NONE_WRONG = -1
_USAGE_FIELDS = tuple(field.name for field in fields(Usage))


def review_row(review: Review, created: str) -> Row:
    """Return the columns of one review."""
    return {
        **_key_columns(review.key),
        "steps": [
            [step.span.start, step.span.stop, step.label, step.confidence, step.reason]
            for step in review.steps
        ],
        "links": [[link.source, link.target, link.kind] for link in review.links] or None,
        **span_columns("covered", review.covered),
        "blame": _blame_column(review.blame),
        "soundness": None if review.soundness is None else review.soundness.value,
        "unplaced": [[part.quote, part.reason] for part in review.unplaced] or None,
        "usage": _usage_column(review.usage),
        "raw": to_raw(review.raw),
        "created": created,
    }


def abstention_row(abstention: Abstention, created: str) -> Row:
    """Return the columns of one abstention."""
    return {
        **_key_columns(abstention.key),
        "kind": abstention.kind.value,
        "reason": abstention.reason,
        "usage": _usage_column(abstention.usage),
        "raw": to_raw(abstention.raw),
        "created": created,
    }


def _key_columns(key: ReviewKey) -> Row:
    return {
        "id": key.id,
        "rollout_id": key.rollout_id,
        "reviewer": key.reviewer,
        "prompt": key.prompt,
        "label_set": key.label_set,
        "round": key.round,
    }


def _blame_column(blame: Blame | None) -> int | None:
    if blame is None:
        return None
    return _NONE_WRONG if blame.step is None else blame.step


def _usage_column(usage: Usage) -> dict[str, Any] | None:
    known = {name: value for name in _USAGE_FIELDS if (value := getattr(usage, name)) is not None}
    return known or None


def to_review(row: ReviewRow, *, raw: bool) -> Review:
    """Return the review of a row; its reply only when ``raw`` was read."""
    return Review(
        key=_key(row),
        steps=_steps(row.steps),
        links=tuple(Link(source, to, LinkKind(kind)) for source, to, kind in row.links or ()),
        covered=to_span(row.covered_start, row.covered_stop),
        blame=_blame(row.blame),
        soundness=None if row.soundness is None else Soundness(row.soundness),
        unplaced=tuple(Unplaced(quote, reason) for quote, reason in row.unplaced or ()),
        usage=Usage(**row.usage or {}),
        raw=from_raw(row.raw) if raw else "",
    )


def to_abstention(row: AbstentionRow, *, raw: bool) -> Abstention:
    """Return the abstention of a row; its reply only when ``raw`` was read."""
    return Abstention(
        key=_key(row),
        kind=AbstentionKind(row.kind),
        reason=row.reason,
        usage=Usage(**row.usage or {}),
        raw=from_raw(row.raw) if raw else "",
    )


def _key(row: ReviewRow | AbstentionRow) -> ReviewKey:
    return ReviewKey(row.rollout_id, row.reviewer, row.prompt, row.label_set, row.round)


def _steps(stored: Iterable[tuple[int, int, str, float | None, str]]) -> tuple[Step, ...]:
    return tuple(
        Step(Span(start, stop), label, confidence, reason)
        for start, stop, label, confidence, reason in stored
    )


def _blame(column: int | None) -> Blame | None:
    if column is None:
        return None
    return Blame(None if column == _NONE_WRONG else column)
