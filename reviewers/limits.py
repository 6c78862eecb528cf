"""When a request may be sent: one limiter for each endpoint, key and model.

It holds the limits that the headers of the provider tell, those that the user has set, and the
pause that a Retry-After asks for. A request reserves its place in line with an estimate of its
tokens, is sent when its place is due, and settles with what it used. Places are kept as positions
in line, not as moments, so whatever is learned meanwhile holds for all that wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from reviewers.bucket import Bucket
from reviewers.caps import Cap
from reviewers.headroom import SILENT, Headroom, Room
from reviewers.learned_limit import LearnedLimit, View

_REQUESTS, _TOKENS, _INPUT, _OUTPUT = range(4)
_NONE = (0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True, eq=False)
class Ticket:
    """The place of one request in line."""

    sizes: tuple[float, ...]
    """Requests, tokens, input tokens, output tokens that are reserved for it."""
    places: tuple[float, ...]
    """All that was reserved up to and with it."""
    sent: float | None = None
    """Moment at which it was sent."""
    held: list[float | None] = field(default_factory=list[float | None])
    """Our counts of the server's limits as it was sent."""
    entries: list[list[float]] = field(default_factory=list[list[float]])
    """Its entries in the caps' records."""


class Limiter:
    """Decides when requests go to one endpoint with one key for one model.

    Not for use from several threads. Every moment is in monotonic seconds and not before those
    of earlier calls.

    Args:
        requests_per_minute: The user's own cap, > 0; ``None``: no cap.
        tokens_per_minute: The same for input and output tokens together.
    """

    def __init__(
        self, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        given = ((_REQUESTS, requests_per_minute), (_TOKENS, tokens_per_minute))
        self._caps = [(kind, Cap(most)) for kind, most in given if most is not None]
        self._learned: list[LearnedLimit | None] = [None] * 4
        self._total = list(_NONE)
        self._unsent = list(_NONE)
        self._closed_until = float("-inf")

    def reserve(self, input_tokens: float, output_tokens: float, now: float) -> Ticket:
        """Take the next place in line; ``due`` tells when it comes up."""
        self._advance(now)
        sizes = (1.0, input_tokens + output_tokens, input_tokens, output_tokens)
        self._shift(sizes, 1)
        return Ticket(sizes, tuple(self._total))

    def due(self, ticket: Ticket, now: float) -> float:
        """Return the moment from which a request may be sent; not after ``now``: at once.

        A later moment is the best guess of now: ask again when it has come.
        """
        self._advance(now)
        moment = max(now, self._closed_until)
        for kind, limit in enumerate(self._learned):
            if limit is not None:
                behind = self._total[kind] - ticket.places[kind]
                moment = max(moment, limit.bucket.due(ticket.sizes[kind], behind))
        for kind, cap in self._caps:
            behind = self._total[kind] - ticket.places[kind]
            due = cap.due(ticket.sizes[kind], behind, self._unsent[kind])
            moment = max(moment, due)
        return moment

    def ready_at(self, now: float) -> float:
        """Return when one more request, of no tokens, could be sent."""
        ticket = self.reserve(0.0, 0.0, now)
        moment = self.due(ticket, now)
        self.release(ticket, now)
        return moment

    def start(self, ticket: Ticket, now: float) -> None:
        """Note that a request is sent."""
        self._advance(now)
        ticket.sent = now
        ticket.entries = [cap.record(ticket.sizes[kind], now) for kind, cap in self._caps]
        for kind, size in enumerate(ticket.sizes):
            self._unsent[kind] -= size
        ticket.held = [
            None if limit is None else limit.held(self._unsent[kind])
            for kind, limit in enumerate(self._learned)
        ]

    def release(self, ticket: Ticket, now: float) -> None:
        """Give back the place of a request that is never sent."""
        self._advance(now)
        self._shift(ticket.sizes, -1)

    def settle(
        self, ticket: Ticket, input_tokens: float, output_tokens: float, now: float
    ) -> None:
        """Replace the estimate of a sent request by what it used; call it at most once.

        Args:
            ticket: As it was started.
            input_tokens: As the provider counts them for its limits: Anthropic leaves out those
                read from its cache.
            output_tokens: Reasoning included.
            now: Moment of the answer.
        """
        self._settle(ticket, (1.0, input_tokens + output_tokens, input_tokens, output_tokens), now)

    def _settle(
        self, ticket: Ticket, used: tuple[float, ...], now: float, *, refused: bool = False
    ) -> None:
        self._advance(now)
        for kind, limit in enumerate(self._learned):
            if limit is not None:
                limit.give_back(ticket.sizes[kind] - used[kind], refused=refused)
        for (kind, cap), entry in zip(self._caps, ticket.entries, strict=True):
            if kind != _REQUESTS:  # a refused request was sent all the same
                cap.bucket.level += ticket.sizes[kind] - used[kind]
                cap.correct(entry, used[kind])

    def learn(self, headroom: Headroom, ticket: Ticket, now: float) -> None:
        """Take the headers of the answer to a sent request into account, after ``settle``."""
        if headroom is SILENT:
            return
        self._advance(now)
        rooms = (headroom.requests, headroom.tokens, headroom.input_tokens, headroom.output_tokens)
        for kind, room in enumerate(rooms):
            if room is not None:
                self._learn(kind, room, ticket, now)

    def refuse(self, ticket: Ticket, headroom: Headroom, now: float) -> None:
        """Note that a sent request was refused as too fast (429); takes the place of ``settle``.

        It used nothing. If the headers do not explain the refusal, the server's limits are
        tighter than they say, and less is sent at once from here on.
        """
        self._settle(ticket, _NONE, now, refused=True)
        self.learn(headroom, ticket, now)
        known = [(kind, limit) for kind, limit in enumerate(self._learned) if limit is not None]
        sizes = ticket.sizes
        blamed = [
            limit.refused(sizes[kind], self._view(kind, ticket, now)) for kind, limit in known
        ]
        if not any(blamed):
            for kind, limit in known:
                limit.surprise(sizes[kind])

    def pause(self, until: float) -> None:
        """Send nothing before ``until``."""
        self._closed_until = max(self._closed_until, until)

    def closed_until(self, now: float) -> float:
        """Return the end of the pause; ``now`` when there is none."""
        return max(now, self._closed_until)

    def _learn(self, kind: int, room: Room, ticket: Ticket, now: float) -> None:
        limit, view = self._learned[kind], self._view(kind, ticket, now)
        if limit is None:
            coarse = 1.0 if kind == _REQUESTS else 0.0
            self._learned[kind] = LearnedLimit.first(room, view, coarse)
        else:
            limit.learn(room, view)

    def _view(self, kind: int, ticket: Ticket, now: float) -> View:
        return View(
            sent=now if ticket.sent is None else ticket.sent,
            came=now,
            size=ticket.sizes[kind],
            held=ticket.held[kind] if ticket.held else None,
            behind=self._total[kind] - ticket.places[kind],
            unsent=self._unsent[kind],
        )

    def _shift(self, sizes: tuple[float, ...], sign: int) -> None:
        """Add a reservation that is not sent, or take it away."""
        for kind, size in enumerate(sizes):
            self._total[kind] += sign * size
            self._unsent[kind] += sign * size
        for kind, bucket in self._buckets():
            bucket.level -= sign * sizes[kind]

    def _advance(self, now: float) -> None:
        for kind, bucket in self._buckets():
            bucket.advance(now, self._unsent[kind])

    def _buckets(self) -> Iterator[tuple[int, Bucket]]:
        for kind, limit in enumerate(self._learned):
            if limit is not None:
                yield kind, limit.bucket
        for kind, cap in self._caps:
            yield kind, cap.bucket
