"""One limit of a server, as its headers tell: what is left, how it refills, who else uses it.

The server's count is followed by a bucket of our own, and the headers only correct it: they are
as old as the answer that carries them, and it is not said at what moment of the request they were
true. So a number that lies between what the bucket held when the request went out and what it
holds when the answer comes is no news; only what lies outside is a correction. Corrections in one
direction that go on are the use by others, and become a part of the refill.
"""

from dataclasses import dataclass, field

from reviewers.bucket import Bucket
from reviewers.headroom import Room
from reviewers.refill import Refill, Sighting

CUSHION_S = 0.25
"""Seconds of refill that stay in the bucket: by so much may requests overtake each other."""
WIDER = 1.5
"""Factor by which a refusal makes the cushion larger: others take what our count held free."""
WIDEST = 64.0
"""Largest factor of the cushion."""
NARROWER_S = 300.0
"""Seconds in which a larger cushion loses most of what it gained."""
MEMORY_S = 5.0
"""Seconds over which the use by others is averaged, or twice the age of the headers."""


@dataclass(frozen=True, slots=True)
class View:
    """How our own count stood when a response came."""

    sent: float
    """Moment at which its request was sent."""
    came: float
    size: float
    """What was reserved for it."""
    held: float | None
    """Our count as the request was sent; ``None`` if the limit was not known then."""
    behind: float
    """Reserved after the request, up to now."""
    unsent: float
    """Reserved but not sent."""


@dataclass(slots=True, eq=False)
class LearnedLimit:
    """What is known of one limit, from the first headers that tell it."""

    limit: float
    coarse: float
    """1 for requests, 0 for tokens: by how much a cushion is larger than its share."""
    bucket: Bucket
    refill: Refill = field(default_factory=Refill)
    moved: float = 0.0
    """Sum of all corrections, so that an older count can be brought up to date."""
    corrected: float = 0.0
    """Moment of the last correction."""
    slack: float = 1.0
    """Factor of the cushion, >= 1."""
    widened: float = float("-inf")
    """Moment at which it last grew."""
    burst: float = float("inf")
    """Most that may be saved up; finite once the server refused what it had promised."""

    @classmethod
    def first(cls, room: Room, view: View, coarse: float) -> "LearnedLimit | None":
        """Return the limit that ``room`` tells, ``None`` if it tells too little."""
        if room.limit is None or room.left is None:
            return None
        new = cls(room.limit, coarse, Bucket(room.limit, room.limit / 60, at=view.came))
        new.corrected = view.came
        new.learn(room, view, new=True)
        return new

    def held(self, unsent: float) -> float:
        """Return our count of what the server has left, free of all corrections."""
        return self.bucket.level + unsent - self.moved

    def learn(self, room: Room, view: View, *, new: bool = False) -> None:
        """Take the headers of a response into account.

        Args:
            room: What they say.
            view: How our own count stood.
            new: True for the first.
        """
        limit = self.limit if room.limit is None else room.limit
        if room.left is None:
            return
        left = (min(room.left, limit),) * 2
        before = self.refill.fixed, self.refill.burst is None
        if room.reset is not None:
            seen = Sighting(limit, left[0], room.reset, view.sent, view.came)
            self.refill.see(seen)
            left = self.refill.room(seen, self.refill.rate(limit, view.size))
        judged = before != (self.refill.fixed, self.refill.burst is None)
        restart = new or judged or limit != self.limit
        self.limit = limit
        self._fit(view.size)
        self.bucket.advance(view.came, view.unsent)
        left = min(left[0], self.bucket.capacity), min(left[1], self.bucket.capacity)
        if judged:
            self.bucket.drain = 0.0  # learned by the wrong measure
        if restart:
            # The most careful reading: the server has seen nothing that was sent later.
            self._move(min(left) - view.behind - self.bucket.level)
        else:
            self._correct(left, view)

    def give_back(self, size: float, *, refused: bool) -> None:
        """Note that a request used ``size`` less than it had reserved.

        The server never counted a refused one, so what we held since it was sent was too little.
        """
        self.bucket.level += size
        if refused:
            self.moved += size

    def refused(self, size: float, view: View) -> bool:
        """Note that the server refused a request of ``size``; tell whether this limit was why."""
        if self.bucket.level + view.unsent >= size + self.bucket.cushion:
            return False
        if view.sent >= self.widened:
            # Once in a round: requests that were under way together tell the same.
            self.slack, self.widened = min(self.slack * WIDER, WIDEST), view.came
            self._fit(size)
        return True

    def surprise(self, size: float) -> None:
        """Save up less: the server refused a request of ``size`` for which it had told room.

        Some servers enforce a limit per minute in shorter pieces.
        """
        least = max(self.bucket.refill, 2 * size)
        self.burst = max(least, min(self.burst, self.limit) / 4)
        self._fit(size)
        self.bucket.level = min(self.bucket.level, 0.0)

    def _fit(self, size: float) -> None:
        bucket = self.bucket
        bucket.capacity = min(self.limit, self.burst, self.refill.burst or self.limit)
        bucket.refill = self.refill.rate(self.limit, size)
        usual = bucket.refill * CUSHION_S + self.coarse
        bucket.cushion = min(usual * self.slack, bucket.capacity / 3)

    def _correct(self, left: tuple[float, float], view: View) -> None:
        """Bring our count to ``left`` as far as that contradicts it."""
        bucket, age = self.bucket, view.came - view.sent
        if self.refill.fixed and age > self.refill.window:
            return  # it may be of a window that is over
        now = bucket.level + view.unsent
        then = bucket.level + view.behind if view.held is None else view.held + self.moved
        either = left[0] - then, left[1] - now
        wrong = min(max(either), 0.0) + max(min(either), 0.0)
        self._move(wrong)
        passed, self.corrected = view.came - self.corrected, view.came
        self.slack += (1.0 - self.slack) * min(1.0, passed / NARROWER_S)
        if self.refill.fixed or age > self.refill.period:
            return
        # A step of any size is not the work of a stream of requests: bound what is learned of it.
        most = bucket.refill * passed
        bucket.drain -= max(-most, min(most, wrong)) / max(MEMORY_S, 2 * age)
        bucket.drain = max(-self.limit, min(bucket.drain, bucket.refill))

    def _move(self, by: float) -> None:
        self.bucket.level += by
        self.moved += by
