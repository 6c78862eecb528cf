"""One reviewer tried on one rollout, with everything that was said; nothing is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dca.domain.errors import ReviewError
from dca.domain.review import Answer
from dca.domain.rollout import Rollout
from dca.pipeline.bridge import wait_for
from reviewers.exchange import Question, Reply
from reviewers.gate import Closed
from reviewers.line import Line, conduct
from reviewers.model_reviewer import ModelReviewer
from reviewers.panel import abstention, opened
from reviewers.prices import worst_case
from reviewers.protocol import Reviewer
from reviewers.switchboard import Switchboard


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a question is."""

    characters: int
    """Code points of instructions and turns."""
    body_bytes: int
    """Of the request."""
    most_tokens: int
    """Input and output that it may take at most."""
    most_dollars: float | None
    """What it may cost at most; ``None`` without a price."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One question and what came back."""

    question: Question
    sizes: Sizes
    reply: Reply | None = None
    """``None`` when none came, or when it was not asked."""
    fault: str = ""
    """Why no reply came."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a reviewer was asked and said."""

    answer: Answer | None
    """``None`` when it was not asked."""
    exchanges: Sequence[Exchanged] = ()
    """In order; none for reviewers that are no models."""
    requests: int = 0
    """Sent, attempts that failed included."""
    dollars: float | None = None
    """What they cost, or may have cost; ``None`` without a price."""


def try_reviewer(reviewer: Reviewer, rollout: Rollout) -> Trial:
    """Ask ``reviewer`` about ``rollout``.

    Raises:
        CredentialError: The key is missing or was refused.
        ReviewerUnavailable: There is nothing left to spend.
    """
    if isinstance(reviewer, ModelReviewer):
        return wait_for(_Ear(reviewer).listen(rollout))
    return Trial(wait_for(_ask(reviewer, rollout)))


def first_question(reviewer: Reviewer, rollout: Rollout) -> Trial:
    """Return the first question that ``reviewer`` would be asked; needs no key, sends nothing."""
    if not isinstance(reviewer, ModelReviewer):
        return Trial(None)
    dialogue = reviewer.dialogue((rollout,))
    try:
        question = next(dialogue)
    except StopIteration as end:
        return Trial(end.value[0])
    finally:
        dialogue.close()
    return Trial(None, (Exchanged(question, _sizes(reviewer, question)),))


async def _ask(reviewer: Reviewer, rollout: Rollout) -> Answer:
    """Ask a reviewer that is no model."""
    async with opened([reviewer]):
        try:
            return await reviewer.review(rollout)
        except ReviewError as error:
            return abstention(reviewer, rollout, error)


@dataclass(slots=True)
class _Ear:
    """Hears everything that is said to a model and by it."""

    reviewer: ModelReviewer
    heard: list[Exchanged] = field(default_factory=list[Exchanged])

    async def listen(self, rollout: Rollout) -> Trial:
        """Carry the dialogue about ``rollout`` to its end."""
        async with Switchboard(1) as board:
            line = board.line(self.reviewer, board.gate.lane())

            async def ask(question: Question, *, begun: bool) -> Reply:
                return await self._ask(line, question, begun=begun)

            try:
                (answer,) = await conduct(self.reviewer.dialogue((rollout,)), ask)
            except Closed:
                if line.down is None:
                    raise
                raise line.down from None
            priced = self.reviewer.price is not None
            spent = line.meter.spent.dollars if priced else None
            return Trial(answer, self.heard, line.meter.requests, spent)

    async def _ask(self, line: Line, question: Question, *, begun: bool) -> Reply:
        sizes = _sizes(self.reviewer, question)
        try:
            reply = await line.ask(question, begun=begun)
        except ReviewError as error:
            self.heard.append(Exchanged(question, sizes, fault=str(error)))
            raise
        self.heard.append(Exchanged(question, sizes, reply))
        return reply


def _sizes(reviewer: ModelReviewer, question: Question) -> Sizes:
    body = reviewer.dialect.encode(question, reviewer.endpoint, reviewer.calling)
    most = worst_case(len(body), reviewer.calling.max_tokens, reviewer.price)
    said = len(question.system) + sum(len(turn.text) for turn in question.turns)
    priced = reviewer.price is not None
    return Sizes(said, len(body), most.tokens, most.dollars if priced else None)
