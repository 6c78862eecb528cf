"""Dialogues that go on after days: picked up from the store, and put back or brought to an end.

This is what requests in files and in providers' batches have in common. A dialogue is begun anew
each time and told the replies that are kept; it then stands at the question that it stood at.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy.orm import Session

from dca.domain.errors import ReviewerUnavailable
from dca.domain.review import Answer
from dca.domain.rollout import Rollout
from reviewers.course import Course
from reviewers.exchange import Fault, Question, Reply
from reviewers.line import Asked
from reviewers.protocol import review_key
from store.claims import release
from store.replies import Asker, KeptReply, drop_replies, keep_replies, replies_of
from store.reviews import add_answers, answered
from store.rollouts import iter_rollouts
from store.selection import Selection

TRIES = 3
"""Times that one question is sent before its reply is given up."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of a dialogue, ready to be sent."""

    rollouts: tuple[Rollout, ...]
    dialogue: str
    """``ReviewKey.id`` of the first rollout."""
    turn: int
    tries: int
    """How often it was sent before."""
    body: bytes
    """In the reviewer's dialect."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came back for one request."""

    dialogue: str
    turn: int
    tries: int
    rollouts: tuple[str, ...]
    """Ids."""
    outcome: Reply | Fault | None
    """``None``: it was withdrawn before anybody worked on it."""
    body: bytes = b""
    """The reply as it came."""


class Became(StrEnum):
    """What became of an arrival."""

    ANSWERED = "answered"
    """The dialogue is at its end and its answers are stored."""
    AGAIN = "again"
    """The dialogue asks another question: to repair the reply, or its next one."""
    FAILED = "failed"
    """The same question is to be sent again."""
    BEFORE = "before"
    """It was taken before."""
    EARLY = "early"
    """The dialogue does not stand at this question yet."""
    NOTHING = "nothing"
    """Nobody worked on it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An arrival and what became of it."""

    arrival: Arrival
    became: Became
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a dialogue stands, told what is kept of it."""

    course: Course
    tries: int = 0
    """How often its question was sent in vain."""


def asker_of(reviewer: Asked) -> Asker:
    """Return what the store knows a reviewer by."""
    return Asker(reviewer.info.digest, reviewer.prompt_digest, reviewer.labels.name)


def body_of(reviewer: Asked, question: Question) -> bytes:
    """Return the body of the request that asks ``question``."""
    return reviewer.dialect.encode(question, reviewer.endpoint, reviewer.calling)


def digest_of(body: bytes) -> str:
    """Return what a kept reply remembers of its question."""
    return hashlib.blake2b(body, digest_size=10).hexdigest()


def resume(reviewer: Asked, rollouts: Sequence[Rollout], kept: Sequence[KeptReply]) -> Standing:
    """Begin a dialogue and tell it what is kept, as far as that answers its questions.

    Args:
        reviewer: Whose dialogue.
        rollouts: About what.
        kept: In the order of turns.
    """
    course = Course(reviewer.dialogue(rollouts))
    for reply in kept:
        if course.ended or reply.turn != course.turn:
            break
        if reply.question != digest_of(body_of(reviewer, course.question)):
            break
        if reply.body is not None:
            course.hear(replace(reviewer.dialect.decode(reply.body), usage=reply.usage))
        elif reply.tries < TRIES:
            return Standing(course, reply.tries)
        else:
            course.fail(_unavailable(reviewer, reply.fault))
    return Standing(course)


def ask_of(reviewer: Asked, rollouts: Sequence[Rollout], standing: Standing) -> Ask:
    """Return the question at which a dialogue stands that has not ended."""
    course = standing.course
    body = body_of(reviewer, course.question)
    key = review_key(reviewer, rollouts[0])
    return Ask(tuple(rollouts), key.id, course.turn, standing.tries, body)


def take(
    session: Session, reviewer: Asked, arrivals: Sequence[Arrival], *, final: str = ""
) -> list[Taken]:
    """Tell dialogues what came back and store what follows, each dialogue at most once a call.

    Args:
        session: Open session; the caller commits.
        reviewer: Whose dialogues.
        arrivals: What came back.
        final: Why no further question is asked: dialogues end here. ``""``: they go on.
    """
    ids = sorted({key for arrival in arrivals for key in arrival.rollouts})
    pages = iter_rollouts(session, Selection(ids=tuple(ids)), arrays=False) if ids else iter(())
    rollouts = {rollout.id: rollout for page in pages for rollout in page}
    kept = replies_of(session, [arrival.dialogue for arrival in arrivals])
    keys = [review_key(reviewer, rollout).id for rollout in rollouts.values()]
    reviewed = answered(session, keys, again=True)
    taken: list[Taken] = []
    put_back: list[KeptReply] = []
    for arrival in arrivals:
        about = [rollouts[key] for key in arrival.rollouts]
        if all(review_key(reviewer, rollout).id in reviewed for rollout in about):
            taken.append(Taken(arrival, Became.BEFORE))
            continue
        standing = resume(reviewer, about, kept.get(arrival.dialogue, ()))
        taken.append(_tell(reviewer, arrival, standing.course, put_back, final))
    _store(session, reviewer, taken, put_back)
    return taken


def _tell(
    reviewer: Asked, arrival: Arrival, course: Course, put_back: list[KeptReply], final: str
) -> Taken:
    """Tell one dialogue what came back; what is to be kept of it goes to ``put_back``."""
    if course.ended or course.turn > arrival.turn:
        return Taken(arrival, Became.BEFORE)
    if course.turn < arrival.turn:
        return Taken(arrival, Became.EARLY)
    outcome = arrival.outcome
    if outcome is None:
        return Taken(arrival, Became.NOTHING)
    reply = _kept(reviewer, arrival, outcome, course.question)
    if isinstance(outcome, Reply):
        course.hear(outcome)
    elif reply.tries < TRIES and not final:
        put_back.append(reply)
        return Taken(arrival, Became.FAILED)
    else:
        course.fail(_unavailable(reviewer, outcome.message, outcome.raw))
    answers = course.end(final) if final else course.answers
    if answers is None:
        put_back.append(reply)
        return Taken(arrival, Became.AGAIN)
    return Taken(arrival, Became.ANSWERED, answers)


def _kept(
    reviewer: Asked, arrival: Arrival, outcome: Reply | Fault, question: Question
) -> KeptReply:
    """Return what is kept of an arrival if the dialogue goes on."""
    reply = KeptReply(
        dialogue=arrival.dialogue,
        turn=arrival.turn,
        question=digest_of(body_of(reviewer, question)),
        body=arrival.body,
        rollouts=arrival.rollouts if len(arrival.rollouts) > 1 else (),
    )
    if isinstance(outcome, Reply):
        return replace(reply, usage=outcome.usage)
    tries = arrival.tries + 1 if outcome.retried else TRIES
    return replace(reply, body=None, fault=outcome.message, tries=tries)


def _store(
    session: Session, reviewer: Asked, taken: Sequence[Taken], put_back: Sequence[KeptReply]
) -> None:
    """Store answers and replies, and let the claims of answered reviews go."""
    answers = [answer for each in taken for answer in each.answers]
    add_answers(session, answers)
    release(session, (answer.key.id for answer in answers))
    drop_replies(
        session, (each.arrival.dialogue for each in taken if each.became is Became.ANSWERED)
    )
    if put_back:
        keep_replies(session, asker_of(reviewer), put_back)


def _unavailable(reviewer: Asked, message: str, raw: str = "") -> ReviewerUnavailable:
    return ReviewerUnavailable(f"{reviewer.info.name}: {message}", raw=raw)
