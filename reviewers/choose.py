"""Choose how rollouts are put to a model: alone, several together, or in windows. Pure."""

from collections.abc import Generator, Sequence
from typing import Protocol

from dca.domain.review import Answer
from dca.domain.rollout import Rollout
from reviewers.calling import Calling
from reviewers.dialogue import LONGEST_REPEATED, Asker, Dialogue, discuss
from reviewers.exchange import Question, Reply
from reviewers.long import discuss_long, question_tokens
from reviewers.question import pose
from reviewers.together import discuss_together, pose_together


class CalledAsker(Asker, Protocol):
    """A reviewer that asks a model within limits."""

    @property
    def calling(self) -> Calling:
        """How the model is called."""
        ...


def dialogue_for(asker: CalledAsker, rollouts: Sequence[Rollout]) -> Dialogue:
    """Return what is to be said about ``rollouts``: one answer for each, in their order.

    Rollouts with one problem and one reference answer are put together, at most
    ``asking.together`` and as many as fit into the context; one that does not fit alone is shown
    in windows.
    """
    room = question_room(asker)
    answers: dict[int, Answer] = {}
    for bundle in _bundles(rollouts, asker.asking.together):
        found = yield from _discuss(asker, [rollouts[at] for at in bundle], room)
        answers.update(zip(bundle, found, strict=True))
    return tuple(answers[at] for at in range(len(rollouts)))


def question_room(asker: CalledAsker) -> int | None:
    """Return the most tokens of a question, ``None`` when every question fits.

    Room is kept for the reply, and for showing it again with what is wrong with it.
    """
    asking, calling = asker.asking, asker.calling
    if asking.context_tokens is None:
        return None
    again = min(calling.max_tokens, int(LONGEST_REPEATED / asking.bytes_per_token))
    return asking.context_tokens - calling.max_tokens - again


def _bundles(rollouts: Sequence[Rollout], most: int) -> list[list[int]]:
    """Return the positions of rollouts that are asked about together."""
    bundles: list[list[int]] = []
    open_: dict[object, list[int]] = {}
    for at, rollout in enumerate(rollouts):
        # A text of white space brings an abstention, and no question.
        key = (rollout.prompt, rollout.truth) if rollout.completion.strip() else at
        bundle = open_.get(key)
        if bundle is None or len(bundle) == most:
            bundle = open_[key] = []
            bundles.append(bundle)
        bundle.append(at)
    return bundles


def _discuss(
    asker: CalledAsker, rollouts: Sequence[Rollout], room: int | None
) -> Generator[Question, Reply, tuple[Answer, ...]]:
    """Ask about rollouts that share a problem: in one question where it fits."""
    if len(rollouts) == 1:
        return (yield from _discuss_one(asker, rollouts[0], room))
    joint = pose_together(rollouts, asker.asking)
    if room is None or _fits(asker, joint.question, room):
        return (yield from discuss_together(asker, rollouts, joint))
    half = (len(rollouts) + 1) // 2
    first = yield from _discuss(asker, rollouts[:half], room)
    second = yield from _discuss(asker, rollouts[half:], room)
    return first + second


def _discuss_one(asker: CalledAsker, rollout: Rollout, room: int | None) -> Dialogue:
    """Ask about one rollout, in windows where it does not fit."""
    if room is None or not rollout.completion.strip():
        return (yield from discuss(asker, rollout))
    question = pose(rollout, asker.asking)
    if _fits(asker, question, room):
        return (yield from discuss(asker, rollout, question))
    return (yield from discuss_long(asker, rollout, room))


def _fits(asker: Asker, question: Question, room: int) -> bool:
    """Tell whether a question fits into ``room`` tokens."""
    return question_tokens(question, asker.asking.bytes_per_token) <= room
