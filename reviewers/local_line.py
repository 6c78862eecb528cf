"""The way from one reviewer to a model in this process: budget, slot, model.

There is no address to wait for: no rate limits, no retries. A slot of the gate is held while a
question is with the model, which makes of many waiting questions one batch.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from dca.domain.errors import BudgetSpent, DcaError, ReviewerUnavailable
from dca.domain.review import Answer
from dca.domain.rollout import Rollout
from reviewers.budget import Budget, Cost, Verdict
from reviewers.calling import Calling
from reviewers.dialogue import Dialogue
from reviewers.exchange import Question, Reply
from reviewers.gate import Closed, Gate, Lane
from reviewers.line import ROOM_LATER, conduct
from reviewers.meter import Meter
from reviewers.prices import cost_of, worst_case
from reviewers.protocol import Answerer


@runtime_checkable
class Conversing(Answerer, Protocol):
    """A reviewer that carries its own dialogues."""

    @property
    def calling(self) -> Calling:
        """How the model is called."""
        ...

    @property
    def bundle(self) -> int:
        """Rollouts that are asked about together."""
        ...

    @property
    def down(self) -> DcaError | None:
        """Why it answers nothing more; ``None`` while it works."""
        ...

    def dialogue(self, rollouts: Sequence[Rollout]) -> Dialogue:
        """Return what is to be said about rollouts."""
        ...

    async def ask(self, question: Question, *, begun: bool = False) -> Reply:
        """Put one question to the model.

        Raises:
            DcaError: There is no reply.
        """
        ...


class LocalLine:
    """One reviewer's connection to its model in this process."""

    def __init__(self, reviewer: Conversing, *, lane: Lane, gate: Gate, budget: Budget) -> None:
        """Connect; nothing is loaded.

        Args:
            reviewer: Who is asked.
            lane: The reviewer's way through ``gate``.
            gate: Slots.
            budget: Of the run; its cap on tokens holds here too.
        """
        self.name = reviewer.info.name
        self.meter = Meter()
        self.down: DcaError | None = None
        """Why nothing new is asked: the model has failed, or there is nothing left to spend."""
        self._reviewer = reviewer
        self._lane = lane
        self._gate = gate
        self._budget = budget
        over = lane.over
        lane.over = lambda: self.down is not None or over()

    async def answer(self, rollouts: Sequence[Rollout]) -> Sequence[Answer]:
        """Return what the reviewer says of ``rollouts``.

        Raises:
            Closed: Nothing new is begun, or the model has failed: nothing is said of these.
            ConfigError: The model cannot be loaded.
            MissingExtra: Its library is not installed.
        """
        return await conduct(self._reviewer.dialogue(rollouts), self.ask)

    async def ask(self, question: Question, *, begun: bool = False) -> Reply:
        """Put one question to the model when budget and gate allow it.

        Args:
            question: What is asked.
            begun: True when an earlier question of the same dialogue was answered.

        Raises:
            DcaError: As ``Conversing.ask``.
            Closed: Nothing new is begun; the line may have gone down.
        """
        worst = worst_case(_bytes(question), self._reviewer.calling.max_tokens, None)
        await self._set_aside(worst, begun=begun)
        cost = Cost()
        try:
            async with self._gate.slot(self._lane, begun=begun):
                reply = await self._put(question, begun=begun)
            cost = cost_of(reply.usage, None) or worst
        finally:
            self._budget.settle(worst, cost)
        self.meter.spent = self.meter.spent + cost
        return reply

    async def _put(self, question: Question, *, begun: bool) -> Reply:
        """Put one question to the model; what is fatal to it is fatal to the line."""
        meter = self.meter
        meter.requests += 1
        meter.flying += 1
        try:
            reply = await self._reviewer.ask(question, begun=begun)
        except ReviewerUnavailable:
            if self._reviewer.down is not None:
                self._go_down(self._reviewer.down)
            raise
        finally:
            meter.flying -= 1
        meter.reply(reply.usage.seconds or 0.0)
        return reply

    async def _set_aside(self, worst: Cost, *, begun: bool) -> None:
        """Reserve the worst case of a question, waiting for others to end if it may then fit."""
        while (verdict := self._budget.reserve(worst)) is not Verdict.GRANTED:
            if verdict is Verdict.NEVER:
                most = f"{worst.tokens:,} tokens"
                self._go_down(
                    BudgetSpent(
                        f"{self.name}: one more question may take {most}: more than is left",
                        cap="tokens",
                        hint="Raise the cap, or lower max_output_tokens: its worst case is set"
                        " aside.",
                    )
                )
            await self._gate.rest(ROOM_LATER, begun=begun)

    def _go_down(self, error: DcaError) -> None:
        """Ask nothing more; whoever waits goes away."""
        if self.down is None:
            self.down = error
            self.meter.down = str(error)
            self._gate.call()
        raise Closed


def _bytes(question: Question) -> int:
    """Return the bytes of everything that a question says."""
    said = (question.system, *(turn.text for turn in question.turns))
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in said)
