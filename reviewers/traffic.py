"""What is known of one model at one address with one key: its limits, its health, its appetite.

Shared by the reviewers that ask it. Puts the rate limiter, the adaptive width and the circuit
breaker behind the three moments of a request: ``wait_for``, ``enter`` and ``leave``.
"""

import random
from dataclasses import dataclass

from reviewers.breaker import Breaker
from reviewers.calling import Calling
from reviewers.exchange import Cause, Fault, Reply
from reviewers.headroom import SILENT, Headroom
from reviewers.limits import Limiter, Ticket
from reviewers.patience import LONGEST_LIMIT
from reviewers.tokens_estimate import TokensEstimate
from reviewers.width import Width

_SICK = frozenset((Cause.TRANSPORT, Cause.OVERLOAD))
"""Faults that tell of a server that is not well."""


@dataclass(slots=True, eq=False)
class Passage:
    """One request on its way."""

    ticket: Ticket
    body_bytes: int
    begun: float = 0.0
    """Moment at which it was let through."""
    headroom: Headroom = SILENT
    """What the headers of its answer said."""


class Traffic:
    """Every moment is in monotonic seconds."""

    def __init__(
        self, calling: Calling, ceiling: int, rng: random.Random, *, counts_cached: bool
    ) -> None:
        """Begin with nothing known.

        Args:
            calling: The user's own caps on requests and tokens a minute.
            ceiling: Most requests in flight, >= 1.
            rng: Gives the jitter.
            counts_cached: Whether input from the provider's cache counts against its limits.
        """
        self.rng = rng
        self._limiter = Limiter(
            requests_per_minute=calling.requests_per_minute,
            tokens_per_minute=calling.tokens_per_minute,
        )
        self._width = Width(ceiling)
        self._breaker = Breaker()
        self._tokens = TokensEstimate(calling.max_tokens)
        self._counts_cached = counts_cached
        self._flying = 0

    def room(self, now: float) -> int:
        """Return how many more requests may be in flight."""
        return self._width.now(now) - self._flying

    def queue(self, body_bytes: int, now: float) -> Passage:
        """Take a place in the line of the rate limits, with an estimate of the tokens."""
        taken, given = self._tokens.input_tokens(body_bytes), self._tokens.output_tokens()
        return Passage(self._limiter.reserve(taken, given, now), body_bytes)

    def due(self, passage: Passage, now: float) -> float:
        """Return when to ask ``enter``; not after ``now``: at once. A guess of now."""
        # While a probe is out nobody knows when it comes back: look again soon.
        ready = min(self._breaker.ready_at(now), now + 0.25)
        return max(self._limiter.due(passage.ticket, now), ready)

    def enter(self, passage: Passage, now: float) -> bool:
        """Let a request through, or not: then ask ``due`` again."""
        if self._limiter.due(passage.ticket, now) > now or not self._breaker.admit(now):
            return False
        self._limiter.start(passage.ticket, now)
        passage.begun = now
        self._flying += 1
        return True

    def withdraw(self, passage: Passage, now: float) -> None:
        """Give back the place of a request that is not sent."""
        self._limiter.release(passage.ticket, now)

    def leave(self, passage: Passage, outcome: Reply | Fault | None, now: float) -> None:
        """Learn from how a request ended; ``None``: it was cancelled."""
        self._flying -= 1
        ticket, begun = passage.ticket, passage.begun
        if outcome is None:
            self._breaker.withdrawn(begun)
        elif isinstance(outcome, Reply):
            self._replied(passage, outcome, now)
        elif outcome.cause is Cause.LIMIT:
            self._breaker.answered(begun, now)
            self._width.refused(begun, now)
            self._limiter.refuse(ticket, passage.headroom, now)
        else:
            self._failed(outcome, begun, now)
            self._limiter.learn(passage.headroom, ticket, now)
        if isinstance(outcome, Fault) and 0 < outcome.retry_after <= LONGEST_LIMIT:
            self._limiter.pause(now + outcome.retry_after)

    def silent_for(self, now: float) -> float:
        """Return the seconds for which the server has only failed; 0 when it answers."""
        return self._breaker.silent_for(now)

    def _failed(self, fault: Fault, begun: float, now: float) -> None:
        """Learn from a fault that is no rate limit."""
        if fault.cause in _SICK:
            self._breaker.faulted(begun, now, self.rng)
            self._width.refused(begun, now)
        else:
            self._breaker.answered(begun, now)

    def _replied(self, passage: Passage, reply: Reply, now: float) -> None:
        """Learn from a reply."""
        self._breaker.answered(passage.begun, now)
        self._width.answered(passage.begun, now)
        taken, given = reply.usage.input_tokens, reply.usage.output_tokens
        self._tokens.learn(passage.body_bytes, taken, given)
        if taken is not None and given is not None:
            free = 0 if self._counts_cached else reply.usage.cached_tokens or 0
            self._limiter.settle(passage.ticket, taken - free, given, now)
        self._limiter.learn(passage.headroom, passage.ticket, now)
