"""Review several rollouts of one problem in one request: pure.

The problem is shown once, each rollout between tags with its number, and the reply holds one
review for each. Every rollout has an answer of its own: what is missing or invalid in the reply is
asked for again by itself. What the request cost is shared out by the sizes of the rollouts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from typing import cast

from dca.domain.errors import ReplyInvalid, ReviewError, ReviewerUnavailable
from dca.domain.review import Abstention, Answer, Usage
from dca.domain.rollout import Rollout
from dca.domain.spans import Span
from reviewers.decode import decode_object
from reviewers.dialogue import NEXT_REPLY, Asker, Book, Dialogue, add_usage, discuss, obtain
from reviewers.exchange import Question
from reviewers.parse import Parsed, read_review
from reviewers.protocol import review_key
from reviewers.question import Asking, Scope, exhibit_whole, put
from reviewers.schema import Outcome, ReplyForm
from reviewers.values import whole


@dataclass(frozen=True, slots=True)
class _Entry:
    """One rollout of a joint question."""

    rollout: Rollout
    form: ReplyForm
    """What the reply may say of this one: it depends on its outcome."""
    units: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Joint:
    """A question about several rollouts."""

    question: Question
    entries: tuple[_Entry, ...]
    """In the order of their numbers, which begin at 1."""


def pose_together(rollouts: Sequence[Rollout], asking: Asking) -> Joint:
    """Return the question about ``rollouts``, which share problem and reference answer."""
    outcomes = [asking.outcome(rollout) for rollout in rollouts]
    entries = tuple(
        _Entry(rollout, asking.form(outcome), asking.units(rollout.completion))
        for rollout, outcome in zip(rollouts, outcomes, strict=True)
    )
    exhibits = [
        exhibit_whole(
            entry.rollout.completion, entry.units, asking, entry.form.outcome, number=str(number)
        )
        for number, entry in enumerate(entries, 1)
    ]
    # Whatever the outcomes are, instructions and form are the same, so that both are cached.
    form = asking.form(Outcome.UNKNOWN, together=True)
    said = put(rollouts[0], asking, form, Scope.TOGETHER, exhibits)
    return Joint(Question(*said, form), entries)


def discuss_together(
    asker: Asker, rollouts: Sequence[Rollout], joint: Joint | None = None
) -> Dialogue:
    """Ask about several rollouts in one question, and again about those that it does not settle.

    Args:
        asker: Who is asked.
        rollouts: At least one, with one problem and one reference answer, and text to review.
        joint: The question; ``None``: it is posed.
    """
    joint = joint or pose_together(rollouts, asker.asking)
    entries, book = joint.entries, Book()

    def read(text: str) -> tuple[Parsed | None, ...]:
        return _read(text, entries)

    found: tuple[Parsed | None, ...] = (None,) * len(entries)
    try:
        found = yield from obtain(joint.question, read, book)
    except ReviewerUnavailable as error:
        return _abstentions(asker, rollouts, book, error)
    except ReviewError:
        pass  # asked for again below, each by itself
    shares = share(book.usage, [len(rollout.completion) for rollout in rollouts])
    answers: list[Answer] = []
    for rollout, parsed, usage in zip(rollouts, found, shares, strict=True):
        if parsed is not None:
            part = Book(usage, book.replies)
            answers.append(part.review(review_key(asker, rollout), parsed))
            continue
        (answer,) = yield from discuss(asker, rollout)
        raw = NEXT_REPLY.join((*book.replies, *([answer.raw] if answer.raw else [])))
        answers.append(replace(answer, usage=add_usage(usage, answer.usage), raw=raw))
    return tuple(answers)


def _abstentions(
    asker: Asker, rollouts: Sequence[Rollout], book: Book, error: ReviewError
) -> tuple[Abstention, ...]:
    """Return what becomes of rollouts when nobody can be asked any more."""
    total = add_usage(book.usage, error.usage)
    shares = share(total, [len(rollout.completion) for rollout in rollouts])
    alone = type(error)(str(error), raw=error.raw)
    return tuple(
        Book(usage, book.replies).abstention(review_key(asker, rollout), alone)
        for rollout, usage in zip(rollouts, shares, strict=True)
    )


def _read(raw: str, entries: Sequence[_Entry]) -> tuple[Parsed | None, ...]:
    """Return what a reply says of each rollout, ``None`` where it says nothing that can be used.

    Raises:
        ReviewError: There is nothing that can be used.
    """
    items = decode_object(raw, "reviews")["reviews"]
    if not isinstance(items, list):
        raise ReplyInvalid("the reviews are no list")
    reviews = [item for item in cast("list[object]", items) if isinstance(item, dict)]
    numbered = [
        (whole(item.get("rollout")), item) for item in cast("list[dict[str, object]]", reviews)
    ]
    counts = Counter(number for number, _ in numbered)
    by_number = {number: item for number, item in numbered if counts[number] == 1}
    found: list[Parsed | None] = []
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_read_one(by_number.get(number), entry))
        except ReviewError as error:
            found.append(None)
            faults.append(f"rollout {number}: {error}")
    if len(faults) == len(entries):
        raise ReplyInvalid("; ".join(faults[:3]))
    return tuple(found)


def _read_one(item: dict[str, object] | None, entry: _Entry) -> Parsed:
    """Return what one review says; raise ``ReviewError`` when it cannot be used."""
    if item is None:
        raise ReplyInvalid("there is not exactly one review with this number")
    return read_review(item, entry.rollout.completion, entry.form, entry.units)


def share(usage: Usage, sizes: Sequence[int]) -> tuple[Usage, ...]:
    """Return ``usage`` in parts that are in proportion to ``sizes`` and add up to it.

    Tokens are shared out in whole ones, so that the sum is exact; figures that are not known stay
    unknown.

    Args:
        usage: Of one request.
        sizes: Of what it was about, not all 0.
    """
    total = sum(sizes)
    figures = {item.name: getattr(usage, item.name) for item in fields(Usage)}

    def part(low: int, high: int) -> Usage:
        return Usage(
            **{
                name: figure * high // total - figure * low // total
                if isinstance(figure, int)
                else figure * (high - low) / total
                for name, figure in figures.items()
                if figure is not None
            }
        )

    return tuple(part(low, high) for low, high in pairwise((0, *accumulate(sizes))))
