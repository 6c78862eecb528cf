"""Clients and a server with rate limits in virtual time: no clock, no sockets, seeded.

The server counts as real ones do and writes real headers; the clients read them and use the
limiter, the width, the token estimate and the patience as the engine does.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reviewers.exchange import Cause, Fault
from reviewers.headroom import anthropic_headroom, openai_headroom
from reviewers.limits import Limiter, Ticket
from reviewers.patience import Patience
from reviewers.tokens_estimate import TokensEstimate
from reviewers.width import Width

EPOCH = 1_767_268_800.0
"""Wall time at virtual second 0."""


@dataclass(frozen=True)
class Calling:
    attempts: int = 5
    backoff: float = 1.0
    max_wait: float = 60.0


@dataclass
class Limit:
    """One limit of the server, in requests or tokens."""

    name: str
    capacity: float
    """Also what the headers call the limit."""
    period: float
    fixed: bool
    phase: float = 0.0
    """Seconds from the beginning of the run to the first reset of a fixed window."""
    level: float = 0.0
    at: float = 0.0
    whole_at: float = 0.0
    told: float | None = None
    """What the headers call the limit where it is enforced in shorter pieces."""
    of_minute: bool = False
    """True: the headers name the limit of a minute beside what is left of a smaller bucket."""

    def __post_init__(self) -> None:
        self.level = self.capacity
        self.whole_at = self.phase or self.period

    @property
    def rate(self) -> float:
        return self.capacity / self.period

    def advance(self, now: float) -> None:
        if not self.fixed:
            self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        while self.fixed and now >= self.whole_at:
            self.level, self.whole_at = self.capacity, self.whole_at + self.period
        self.at = now

    def reset_in(self, now: float) -> float:
        return self.whole_at - now if self.fixed else (self.capacity - self.level) / self.rate

    def wait_for(self, size: float, now: float) -> float:
        """Seconds until ``size`` fits."""
        return self.whole_at - now if self.fixed else (size - self.level) / self.rate


def spell(seconds: float) -> str:
    """Write a span as OpenAI does: 6m0s, 1.5s, 20ms."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


@dataclass
class Server:
    limits: list[Limit]
    dialect: str = "openai"
    """``openai``, ``anthropic`` or ``mute``: no headers but Retry-After."""
    late: bool = False
    """True: the headers are written when the answer is ready; False: when it is begun."""
    retry_after: bool = True

    def size(self, limit: Limit, tokens: tuple[int, int]) -> float:
        sizes = {"requests": 1, "tokens": sum(tokens), "input-tokens": tokens[0]}
        return sizes[limit.name] if limit.name in sizes else tokens[1]

    def admit(self, tokens: tuple[int, int], now: float) -> float | None:
        """Count a request; return the Retry-After of a refusal."""
        for limit in self.limits:
            limit.advance(now)
        short = [
            limit.wait_for(self.size(limit, tokens), now)
            for limit in self.limits
            if limit.level < self.size(limit, tokens) - 1e-9
        ]
        if short:
            return math.ceil(max(short))
        for limit in self.limits:
            limit.level -= self.size(limit, tokens)
        return None

    def headers(self, now: float) -> dict[str, str]:
        found: dict[str, str] = {}
        for limit in self.limits if self.dialect != "mute" else ():
            limit.advance(now)
            told = limit.told or limit.capacity
            left = math.floor(limit.level + told - limit.capacity)
            if limit.of_minute:
                told, left = 60 * limit.rate, math.floor(limit.level)
            reset = limit.reset_in(now)
            if self.dialect == "openai":
                name = limit.name.removeprefix("input-")
                found |= {
                    f"x-ratelimit-limit-{name}": f"{told:g}",
                    f"x-ratelimit-remaining-{name}": str(left),
                    f"x-ratelimit-reset-{name}": spell(reset),
                }
            else:
                if limit.name != "requests":
                    left = round(left, -3)
                moment = datetime.fromtimestamp(math.ceil(EPOCH + now + reset), UTC)
                found |= {
                    f"anthropic-ratelimit-{limit.name}-limit": f"{told:.0f}",
                    f"anthropic-ratelimit-{limit.name}-remaining": str(left),
                    f"anthropic-ratelimit-{limit.name}-reset": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
                }
        return found


@dataclass
class Item:
    body_bytes: int
    tokens: tuple[int, int]
    patience: Patience


@dataclass
class Outcome:
    """What a run came to."""

    sent: list[float] = field(default_factory=list[float])
    """Moments at which requests reached the server."""
    accepted: list[tuple[float, int, int]] = field(default_factory=list[tuple[float, int, int]])
    """Moment, input and output tokens."""
    refused: list[float] = field(default_factory=list[float])
    early: int = 0
    """Requests sent before a Retry-After was over."""
    lost: int = 0
    end: float = 0.0

    def share_refused(self, after: float = 0.0) -> float:
        sent = [moment for moment in self.sent if moment >= after]
        return sum(moment >= after for moment in self.refused) / max(1, len(sent))

    def rate(self, start: float, stop: float, column: int = 0) -> float:
        """Requests (0), input (1) or output (2) tokens accepted per second."""
        total = sum(
            1 if column == 0 else row[column] for row in self.accepted if start <= row[0] < stop
        )
        return total / (stop - start)


class World:
    """Virtual time: a heap of what happens when."""

    def __init__(self, server: Server, seed: int, *, answer_s: float = 2.0) -> None:
        self.server, self.rng = server, random.Random(seed)
        self.answer_s = answer_s
        self.now = 0.0
        self.outcome = Outcome()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def at(self, moment: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (max(moment, self.now), next(self._count), act))

    def run(self) -> Outcome:
        while self._heap:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.outcome.end = self.now
        return self.outcome

    def wire_s(self) -> float:
        return self.rng.uniform(0.005, 0.050)

    def duration(self) -> float:
        return self.answer_s * self.rng.lognormvariate(0, 0.25)


class Client:
    """One process with one key."""

    def __init__(
        self, world: World, items: int, *, at_once: int, input_tokens: int = 0, **caps: float
    ) -> None:
        self.world = world
        self.limiter = Limiter(**caps)
        self.width = Width(at_once)
        self.estimate = TokensEstimate(4000)
        self.waiting = deque(self._item(input_tokens) for _ in range(items))
        self.flying = 0
        self.head: Ticket | None = None
        self.closed_until = 0.0
        self.wake_at = math.inf
        world.at(0.0, self.dispatch)

    def _item(self, input_tokens: int) -> Item:
        rng = self.world.rng
        tokens = round(rng.uniform(0.7, 1.3) * input_tokens) if input_tokens else 800
        body = round(tokens * rng.uniform(3.8, 4.2))
        return Item(body, (tokens, round(rng.uniform(200, 600))), Patience(Calling(), rng))

    def dispatch(self) -> None:
        now = self.world.now
        if now >= self.wake_at:
            self.wake_at = math.inf
        while self.waiting:
            if self.flying >= self.width.now(now):
                self._wake(now + 0.025)
                return
            item = self.waiting[0]
            if self.head is None:
                sizes = self.estimate.input_tokens(item.body_bytes), self.estimate.output_tokens()
                self.head = self.limiter.reserve(*sizes, now)
            due = self.limiter.due(self.head, now)
            if due > now:
                self._wake(due)
                return
            self._send(self.waiting.popleft(), self.head)
            self.head = None

    def _wake(self, moment: float) -> None:
        if moment < self.wake_at:
            self.wake_at = moment
            self.world.at(moment, self.dispatch)

    def _send(self, item: Item, ticket: Ticket) -> None:
        world, now = self.world, self.world.now
        world.outcome.early += now < self.closed_until
        self.limiter.start(ticket, now)
        self.flying += 1
        world.at(now + world.wire_s(), lambda: self._arrive(item, ticket))

    def _arrive(self, item: Item, ticket: Ticket) -> None:
        world, server, now = self.world, self.world.server, self.world.now
        world.outcome.sent.append(now)
        refusal = server.admit(item.tokens, now)
        headers = server.headers(now)
        if refusal is not None:
            world.outcome.refused.append(now)
            wait = refusal if server.retry_after else 0.0
            world.at(now + world.wire_s(), lambda: self._refused(item, ticket, headers, wait))
            return
        world.outcome.accepted.append((now, *item.tokens))

        def ready() -> None:
            told = server.headers(world.now) if server.late else headers
            world.at(world.now + world.wire_s(), lambda: self._answered(item, ticket, told))

        world.at(now + world.duration(), ready)

    def _answered(self, item: Item, ticket: Ticket, headers: Mapping[str, str]) -> None:
        now = self.world.now
        self.flying -= 1
        self.limiter.settle(ticket, *item.tokens, now)
        self.limiter.learn(self._headroom(headers), ticket, now)
        self.estimate.learn(item.body_bytes, *item.tokens)
        assert ticket.sent is not None
        self.width.answered(ticket.sent, now)
        self.dispatch()

    def _refused(
        self, item: Item, ticket: Ticket, headers: Mapping[str, str], wait: float
    ) -> None:
        now = self.world.now
        self.flying -= 1
        self.limiter.refuse(ticket, self._headroom(headers), now)
        if wait:
            self.closed_until = max(self.closed_until, now + wait)
            self.limiter.pause(now + wait)
        assert ticket.sent is not None
        self.width.refused(ticket.sent, now)
        again = item.patience.next_wait(Fault(Cause.LIMIT, "429", 429, wait))
        if again is None:
            self.world.outcome.lost += 1
        else:
            self.world.at(now + again, lambda: self._again(item))
        self.dispatch()

    def _again(self, item: Item) -> None:
        self.waiting.append(item)
        self.dispatch()

    def _headroom(self, headers: Mapping[str, str]):
        read = anthropic_headroom if self.world.server.dialect == "anthropic" else openai_headroom
        return read(headers, EPOCH + self.world.now)
