"""The way from one reviewer to its model: rate, slot, budget, request, and again if need be.

Each request passes, in this order: the budget (its worst case is set aside), the rate limits
learned from the provider and the circuit breaker, a slot of the gate, the wire. What comes back
teaches the limits. A passing fault is met again after a wait that holds no slot.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NoReturn, Protocol

from dca.domain.errors import (
    CredentialError,
    DcaError,
    ReviewError,
    ReviewerUnavailable,
)
from dca.domain.review import Answer, Usage
from dca.domain.rollout import Rollout
from reviewers.budget import Budget, Cost, Verdict
from reviewers.calling import Calling
from reviewers.dialects.dialect import Address, Dialect
from reviewers.dialogue import Dialogue
from reviewers.endpoint import Endpoint
from reviewers.exchange import Cause, Fault, Question, Reply
from reviewers.gate import Closed, Gate, Lane
from reviewers.meter import Meter
from reviewers.patience import LONGEST_LIMIT, Patience
from reviewers.prices import Price, cost_of, worst_case
from reviewers.protocol import Answerer
from reviewers.responses import judge
from reviewers.secrecy import hide
from reviewers.tracing import Observer, Seen
from reviewers.traffic import Passage, Traffic
from reviewers.wire import Response, Wire

SILENCE = 300.0
"""Seconds for which a server may only fail before it is asked nothing more in this run."""
LOOK_UP = 1.0
"""Seconds after which a long wait looks up whether the line is still there."""
ROOM_LATER = 0.05
"""Seconds until the budget is asked again whether requests in flight turned out cheaper."""


class Asked(Answerer, Protocol):
    """What a line has to know of a reviewer."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the model answers."""
        ...

    @property
    def dialect(self) -> Dialect:
        """The provider's language."""
        ...

    @property
    def calling(self) -> Calling:
        """How the model is called."""
        ...

    @property
    def price(self) -> Price | None:
        """What a token costs; ``None``: not known."""
        ...

    def dialogue(self, rollouts: Sequence[Rollout]) -> Dialogue:
        """Return what is to be said about rollouts."""
        ...


class Line:
    """One reviewer's connection to its model."""

    def __init__(
        self,
        reviewer: Asked,
        address: Address,
        secret: str,
        *,
        lane: Lane,
        gate: Gate,
        wire: Wire,
        traffic: Traffic,
        budget: Budget,
    ) -> None:
        """Connect; nothing is sent.

        Args:
            reviewer: Who is asked.
            address: Where, and how requests are signed.
            secret: The key, which is taken out of everything that comes back.
            lane: The reviewer's way through ``gate``; it gets narrower with the traffic's width.
            gate: Slots.
            wire: Connections.
            traffic: What is known of the model's limits and health; shared by its reviewers.
            budget: Of the run.
        """
        self.name = reviewer.info.name
        self.meter = Meter()
        self.down: DcaError | None = None
        """Why nothing new is asked: the key was refused, or there is nothing left to spend."""
        self.observer: Observer | None = None
        """Is shown every request that has ended."""
        self._reviewer = reviewer
        self._address = address
        self._secret = secret
        self._lane = lane
        self._gate = gate
        self._wire = wire
        self._traffic = traffic
        self._budget = budget
        self._last = ""
        """The message of the last fault."""
        width, over = lane.width, lane.over
        lane.width = lambda: min(width(), traffic.room(time.monotonic()) + lane.flying)
        lane.over = lambda: self.down is not None or over()

    async def answer(self, rollouts: Sequence[Rollout]) -> Sequence[Answer]:
        """Return what the reviewer says of ``rollouts``.

        Raises:
            Closed: Nothing new is begun, and nothing was paid for these.
        """
        return await conduct(self._reviewer.dialogue(rollouts), self.ask)

    async def answer_or_raise(self, rollouts: Sequence[Rollout]) -> Sequence[Answer]:
        """Return what the reviewer says; a line that is down raises why."""
        try:
            return await self.answer(rollouts)
        except Closed:
            if self.down is None:
                raise
            raise self.down from None

    async def ask(self, question: Question, *, begun: bool = False) -> Reply:
        """Send one question until a reply comes or it must be given up.

        Args:
            question: What is asked.
            begun: True when an earlier question of the same dialogue has been paid for.

        Raises:
            ReviewerUnavailable: No reply.
            Closed: Nothing new is begun; the line may have gone down.
        """
        reviewer = self._reviewer
        body = reviewer.dialect.encode(question, reviewer.endpoint, reviewer.calling)
        patience = Patience(reviewer.calling, self._traffic.rng)
        while True:
            outcome = await self._attempt(body, begun=begun)
            if isinstance(outcome, Reply):
                return outcome
            wait = self._next_wait(patience, outcome, begun=begun)
            self.meter.resting += 1
            try:
                await self._rest(wait, begun=begun)
            finally:
                self.meter.resting -= 1

    async def _rest(self, seconds: float, *, begun: bool) -> None:
        """Wait, holding no slot; raises ``Closed`` soon after the line goes down."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await self._gate.rest(min(left, LOOK_UP), begun=begun)
            if self._lane.over() and not begun:
                raise Closed

    def _next_wait(self, patience: Patience, fault: Fault, *, begun: bool) -> float:
        """Return the seconds until the next attempt after ``fault``.

        Raises:
            ReviewerUnavailable: There is none.
            Closed: There is none for any other question either.
        """
        if fault.cause is Cause.KEY:
            self._go_down(
                CredentialError(
                    f"{self.name}: {fault.message}",
                    hint="Check the key in the environment variable of api_key_env and its"
                    " rights.",
                ),
                begun=begun,
            )
        # A limit that lasts longer than anybody waits will meet every other question too.
        endless = fault.cause is Cause.LIMIT and fault.retry_after > LONGEST_LIMIT
        if fault.cause is Cause.QUOTA or endless:
            self._go_down(ReviewerUnavailable(f"{self.name}: {fault.message}"), begun=begun)
        wait = patience.next_wait(fault)
        if wait is None:
            address = self._reviewer.endpoint.address
            where = f" (base_url {address})" if address else ""
            raise ReviewerUnavailable(f"{self.name}: {fault.message}{where}", raw=fault.raw)
        return wait

    def _go_down(self, error: DcaError, *, begun: bool) -> NoReturn:
        """Ask nothing more; whoever waits goes away, and what was paid for in part abstains."""
        if self.down is None:
            self.down = error
            self.meter.down = str(error)
            self._gate.call()
        if begun:
            raise ReviewerUnavailable(str(error))
        raise Closed

    async def _attempt(self, body: bytes, *, begun: bool) -> Reply | Fault:
        """Send one request when everything allows it."""
        worst = worst_case(len(body), self._reviewer.calling.max_tokens, self._reviewer.price)
        await self._set_aside(worst, begun=begun)
        cost: Cost | None = Cost()
        try:
            passage = self._traffic.queue(len(body), time.monotonic())
            try:
                async with self._way(passage, begun=begun):
                    cost = None
                    outcome = await self._send(body, passage)
                    cost = self._cost(outcome)
                    return outcome
            finally:
                if not passage.begun:
                    self._traffic.withdraw(passage, time.monotonic())
        finally:
            self._settle(worst, cost)

    @asynccontextmanager
    async def _way(self, passage: Passage, *, begun: bool) -> AsyncGenerator[None, None]:
        """Wait until limits, breaker and gate all let one request through; hold its slot."""
        traffic = self._traffic
        while True:
            while (wait := traffic.due(passage, now := time.monotonic()) - now) > 0:
                self._give_up_if_silent(now, begun=begun)
                await self._rest(wait, begun=begun)
            async with self._gate.slot(self._lane, begun=begun):
                # The way may have been closed while this one waited for its slot.
                if traffic.enter(passage, time.monotonic()):
                    yield
                    return

    def _give_up_if_silent(self, now: float, *, begun: bool) -> None:
        """Ask nothing more of a server that has only failed for too long."""
        silent = self._traffic.silent_for(now)
        if silent > SILENCE:
            self._go_down(
                ReviewerUnavailable(f"{self.name}: only faults for {silent:.0f} s; {self._last}"),
                begun=begun,
            )

    async def _send(self, body: bytes, passage: Passage) -> Reply | Fault:
        """Send one request, and let the traffic and the meter know what came of it."""
        meter = self.meter
        meter.requests += 1
        meter.flying += 1
        known: Reply | Fault | None = None
        try:
            response = await self._wire.post(
                self._address.url,
                self._address.headers,
                body,
                deadline=self._reviewer.calling.timeout,
            )
            known = outcome = self._judge(response, passage)
        finally:
            now = time.monotonic()
            meter.flying -= 1
            self._traffic.leave(passage, known, now)
            if self.observer is not None:
                self.observer(self._seen(known, now - passage.begun))
        if isinstance(outcome, Fault):
            meter.faults[outcome.cause] += 1
            self._last = outcome.message
            return outcome
        seconds = now - passage.begun
        meter.reply(seconds)
        usage = replace(outcome.usage, seconds=seconds, dollars=self._dollars(outcome.usage))
        return replace(outcome, usage=usage)

    def _seen(self, outcome: Reply | Fault | None, seconds: float) -> Seen:
        """Return what whoever traces sees of a request."""
        asked = self._reviewer
        return Seen(asked.info, asked.calling, self._address.url, outcome, seconds)

    def _judge(self, response: Response | Fault, passage: Passage) -> Reply | Fault:
        """Return what a response says; no word of the key gets any further."""
        if isinstance(response, Fault):
            return response
        dialect, secret = self._reviewer.dialect, self._secret
        now = time.time()
        passage.headroom = dialect.headroom(response.headers, now)
        outcome = judge(response, dialect, secret=secret, now=now)
        if isinstance(outcome, Reply):
            text, detail = hide(outcome.text, secret), hide(outcome.detail, secret)
            if (text, detail) != (outcome.text, outcome.detail):
                return replace(outcome, text=text, detail=detail)
        return outcome

    async def _set_aside(self, worst: Cost, *, begun: bool) -> None:
        """Reserve the worst case of a request, waiting for others to end if it may then fit."""
        while (verdict := self._budget.reserve(worst)) is not Verdict.GRANTED:
            if verdict is Verdict.NEVER:
                self._go_down(self._budget.refusal(self.name, worst), begun=begun)
            await self._rest(ROOM_LATER, begun=begun)

    def _cost(self, outcome: Reply | Fault) -> Cost | None:
        """Return what a request cost; ``None``: nobody knows."""
        if isinstance(outcome, Fault):
            return None if outcome.perhaps_paid else Cost()
        return cost_of(outcome.usage, self._reviewer.price)

    def _settle(self, worst: Cost, cost: Cost | None) -> None:
        """Put what a request cost in the place of what was set aside; ``None``: nobody knows."""
        if cost is None:
            self._budget.keep(worst)
            self.meter.spent = self.meter.spent + worst
        else:
            self._budget.settle(worst, cost)
            self.meter.spent = self.meter.spent + cost

    def _dollars(self, usage: Usage) -> float | None:
        """Return what a call cost in dollars; ``None`` when no price or usage is known."""
        price = self._reviewer.price
        cost = None if price is None else cost_of(usage, price)
        return None if cost is None else cost.dollars


async def conduct(dialogue: Dialogue, ask: Callable[..., Awaitable[Reply]]) -> tuple[Answer, ...]:
    """Carry a dialogue to its end and return its answers."""
    begun = False
    try:
        question = next(dialogue)
        while True:
            try:
                reply = await ask(question, begun=begun)
            except ReviewError as error:
                question = dialogue.throw(error)
            else:
                begun = True
                question = dialogue.send(reply)
    except StopIteration as end:
        return end.value
    finally:
        dialogue.close()
