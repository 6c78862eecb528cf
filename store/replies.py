"""Replies of dialogues that are not at their end, kept so that they go on after days.

A dialogue is known by the review id of its first rollout; its replies are numbered by turn, from
1. With each reply stands a digest of the question that it answers: whoever goes on with a dialogue
asks its questions again in thought, and a reply to another question is not used. When a dialogue
comes to its answers, these are stored and its replies go.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dca.domain.review import Usage
from store.selection import among
from store.tables import ReplyRow, ReviewRow
from store.writing import dialect_of, insert_or_replace, now

_FIGURES = tuple(item.name for item in fields(Usage))


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a reviewer with its words."""

    reviewer: str
    """Digest, as the next."""
    prompt: str
    label_set: str

    @property
    def columns(self) -> dict[str, str]:
        """Return what rows say of it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What came back for one question, or that nothing did."""

    dialogue: str
    """``ReviewKey.id`` of the first rollout."""
    turn: int
    """>= 1."""
    question: str
    """Digest of the question."""
    body: bytes | None
    """The reply as it came; ``None`` when there was none."""
    fault: str = ""
    """Why there was none."""
    tries: int = 0
    """How often the question was sent and brought none."""
    usage: Usage = field(default_factory=Usage)
    rollouts: tuple[str, ...] = ()
    """Ids of all rollouts where there are several; else empty."""


def keep_replies(session: Session, asker: Asker, replies: Sequence[KeptReply]) -> None:
    """Store replies to one asker, whose reviewer is stored; a question keeps its last one."""
    created = now()
    rows = [
        {
            "dialogue": reply.dialogue,
            "turn": reply.turn,
            **asker.columns,
            "rollouts": list(reply.rollouts) or None,
            "question": reply.question,
            "body": reply.body,
            "fault": reply.fault,
            "tries": reply.tries,
            "usage": _usage_column(reply.usage),
            "created": created,
        }
        for reply in replies
    ]
    insert_or_replace(session, ReplyRow, rows)


def replies_of(session: Session, dialogues: Sequence[str]) -> dict[str, list[KeptReply]]:
    """Return dialogue to its replies in the order of turns; one without any has no entry."""
    statement = select(ReplyRow).where(among(ReplyRow.dialogue, dialogues, dialect_of(session)))
    found: dict[str, list[KeptReply]] = {}
    for row in session.scalars(statement.order_by(ReplyRow.dialogue, ReplyRow.turn)):
        found.setdefault(row.dialogue, []).append(_to_reply(row))
    return found


def common_dialogues(session: Session, asker: Asker) -> list[tuple[str, tuple[str, ...]]]:
    """Return the open dialogues of an asker about several rollouts, with these rollouts' ids."""
    statement = select(ReplyRow.dialogue, ReplyRow.rollouts).filter_by(**asker.columns)
    statement = statement.where(
        ReplyRow.turn == 1,
        ReplyRow.rollouts.is_not(None),
    )
    rows = session.execute(statement.order_by(ReplyRow.dialogue))
    return [(row.dialogue, tuple(row.rollouts)) for row in rows]


def drop_replies(session: Session, dialogues: Iterable[str]) -> None:
    """Forget the replies of dialogues that are at their end. Safe to repeat."""
    gone = sorted(dialogues)
    if gone:
        wanted = among(ReplyRow.dialogue, gone, dialect_of(session))
        session.execute(delete(ReplyRow).where(wanted))


def drop_answered(session: Session) -> None:
    """Forget the replies of dialogues whose first review was made otherwise in the meantime."""
    reviewed = select(ReviewRow.id)
    session.execute(delete(ReplyRow).where(ReplyRow.dialogue.in_(reviewed)))


def _usage_column(usage: Usage) -> dict[str, float] | None:
    figures = ((name, getattr(usage, name)) for name in _FIGURES)
    return {name: value for name, value in figures if value is not None} or None


def _to_reply(row: ReplyRow) -> KeptReply:
    return KeptReply(
        dialogue=row.dialogue,
        turn=row.turn,
        question=row.question,
        body=row.body,
        fault=row.fault,
        tries=row.tries,
        usage=Usage(**row.usage or {}),
        rollouts=tuple(row.rollouts or ()),
    )
