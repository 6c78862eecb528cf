"""Dialogues: what is asked of a model about rollouts, and what follows from its replies. Pure.

A dialogue is a generator: it yields a ``Question``, is sent the ``Reply`` and goes on until it
returns its answers. It knows nothing of networks, retries, limits or money, so the same dialogue
is carried by requests over HTTP, by a provider's batches, by files or by a model in this process.
Whoever carries it throws ``ReviewerUnavailable`` in when a question can get no reply; the answers
are then abstentions that keep what the replies before have cost.

A reply that does not validate gets one repair turn with the error; a reply that was cut at the
length limit and a refusal do not, because asking the same again would bring the same again.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

from dca.domain.errors import (
    ReplyInvalid,
    ReplyTruncated,
    ReviewerRefused,
    ReviewError,
    ReviewerUnavailable,
)
from dca.domain.review import Abstention, AbstentionKind, Answer, Review, ReviewKey, Usage
from dca.domain.rollout import Rollout
from reviewers.exchange import Ended, Question, Reply, Turn
from reviewers.parse import Parsed, clean, parse_reply
from reviewers.protocol import Answerer, review_key
from reviewers.question import Asking, pose

Dialogue = Generator[Question, Reply, tuple[Answer, ...]]
"""Yields questions, is sent replies, returns one answer for each rollout."""

Result = TypeVar("Result")

LONGEST_DETAIL = 300
"""Code points of a provider's own words in an error."""
LONGEST_REPEATED = 20_000
"""Code points of a bad reply that the repair turn shows to its author again."""
NEXT_REPLY = "\n\x1e\n"
"""Stands between the raw replies of one dialogue: a line with the record separator."""

ABSTENTION_ERRORS: Mapping[AbstentionKind, type[ReviewError]] = {
    AbstentionKind.REFUSED: ReviewerRefused,
    AbstentionKind.TRUNCATED: ReplyTruncated,
    AbstentionKind.INVALID: ReplyInvalid,
    AbstentionKind.UNAVAILABLE: ReviewerUnavailable,
}
"""What each kind of abstention records."""


class Asker(Answerer, Protocol):
    """A reviewer that asks a model."""

    @property
    def asking(self) -> Asking:
        """How the model is asked."""
        ...


@dataclass(slots=True)
class Book:
    """What the replies of one dialogue have cost and said."""

    usage: Usage = field(default_factory=Usage)
    replies: list[str] = field(default_factory=list[str])

    def enter(self, reply: Reply) -> None:
        """Add one reply."""
        self.usage = add_usage(self.usage, reply.usage)
        self.replies.append(reply.text)

    @property
    def raw(self) -> str:
        """Every reply as it came, the last one last."""
        return NEXT_REPLY.join(self.replies)

    def review(self, key: ReviewKey, parsed: Parsed) -> Review:
        """Return the review that ``parsed`` makes."""
        return Review(
            key,
            parsed.steps,
            parsed.links,
            parsed.covered,
            parsed.blame,
            parsed.soundness,
            parsed.unplaced,
            self.usage,
            self.raw,
        )

    def abstention(self, key: ReviewKey, error: ReviewError) -> Abstention:
        """Return the record of a dialogue that came to nothing."""
        usage = add_usage(self.usage, error.usage)
        return Abstention(key, abstention_kind(error), str(error), usage, self.raw or error.raw)


def abstention_kind(error: ReviewError) -> AbstentionKind:
    """Return the kind of abstention that ``error`` becomes."""
    kinds = (kind for kind, cause in ABSTENTION_ERRORS.items() if isinstance(error, cause))
    return next(kinds, AbstentionKind.UNAVAILABLE)


def add_usage(one: Usage, other: Usage) -> Usage:
    """Return the sum of two usages; a figure that neither states stays unknown."""
    if one == _NOTHING:
        return other
    return Usage(*(_add(getattr(one, name), getattr(other, name)) for name in _FIGURES))


def _add(one: float | None, other: float | None) -> Any:  # noqa: ANN401 - as the field's own type
    """Return the sum of two figures; ``None`` when neither is known."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


_FIGURES = tuple(item.name for item in fields(Usage))
_NOTHING = Usage()


def discuss(reviewer: Asker, rollout: Rollout, question: Question | None = None) -> Dialogue:
    """Ask about one rollout in one question, which is posed unless it is given."""
    key, book = review_key(reviewer, rollout), Book()
    try:
        if not rollout.completion.strip():
            raise ReplyInvalid("the completion holds no text to review")
        asked = question or pose(rollout, reviewer.asking)

        def read(text: str) -> Parsed:
            return parse_reply(text, rollout.completion, asked.form, asked.units)

        parsed = yield from obtain(asked, read, book)
    except ReviewError as error:
        return (book.abstention(key, error),)
    return (book.review(key, parsed),)


def obtain(
    question: Question, read: Callable[[str], Result], book: Book
) -> Generator[Question, Reply, Result]:
    """Ask one question, with one repair turn, and return what ``read`` makes of the reply.

    Args:
        question: What is asked.
        read: Turns the text of a reply into what is wanted; raises ``ReviewError``.
        book: Takes every reply.

    Raises:
        ReviewError: Refused, cut at the length limit, or not valid even after the repair turn.
    """
    reply = yield question
    book.enter(reply)
    try:
        return read(ended_well(reply))
    except (ReplyInvalid, ReplyTruncated) as error:
        if reply.ended is not Ended.COMPLETE:
            raise
        again = repair(question, reply.text, error)
    reply = yield again
    book.enter(reply)
    return read(ended_well(reply))


def ended_well(reply: Reply) -> str:
    """Return the text of a reply that its author finished.

    Raises:
        ReviewError: It was cut, refused, or ended in no way that a reply in text ends.
    """
    detail = clean(reply.detail)[:LONGEST_DETAIL]
    if reply.ended is Ended.TRUNCATED:
        raise ReplyTruncated(f"the reply was cut at the length limit ({detail})")
    if reply.ended is Ended.REFUSED:
        raise ReviewerRefused(f"the model declined ({detail})")
    if reply.ended is Ended.OTHER:
        raise ReplyInvalid(f"the reply ended with {detail}")
    return reply.text


def repair(question: Question, reply: str, error: ReviewError) -> Question:
    """Return the question that shows a bad reply to its author with what is wrong with it.

    A reply that broke off, or that is too long to be shown again, is not repeated: the question
    is then asked once more as it was.
    """
    if isinstance(error, ReplyTruncated) or not 0 < len(reply.strip()) <= LONGEST_REPEATED:
        return replace(question, flaw=str(error))
    words = (
        f"That reply cannot be used: {error}. Mend this, and keep the rest of your judgement as it"
        " is. Reply to the request above once more, in full, with the one JSON object in the form"
        " that the instructions give and nothing else."
    )
    turns: Sequence[Turn] = (*question.turns, Turn("assistant", reply), Turn("user", words))
    return replace(question, turns=tuple(turns), flaw=str(error))
