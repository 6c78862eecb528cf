"""A token bucket by virtual scheduling: when may a request go that waits behind others?

The level is debited when a place is reserved, so it may be negative: then it is a queue, and the
refill tells when each place in it comes up. Everything here is arithmetic on moments that are
given, in monotonic seconds.
"""

from dataclasses import dataclass

FORGET_S = 30.0
"""Seconds in which the use by others is mostly forgotten when nothing is heard of it."""
SLOWEST = 0.05
"""Share of the nominal refill that is counted on however much others seem to use."""


@dataclass(slots=True, eq=False)
class Bucket:
    """One limit, in requests or tokens."""

    capacity: float
    """Most that can be saved up, > 0."""
    refill: float
    """Per second, > 0."""
    cushion: float = 0.0
    """What is left in the bucket, so that requests that overtake each other find room."""
    level: float = 0.0
    """After all reservations, those not yet sent included; may be negative."""
    at: float = 0.0
    """Moment of ``level``."""
    drain: float = 0.0
    """Per second that others take; negative when the refill is better than thought."""

    @property
    def speed(self) -> float:
        """Refill per second that is left for us, > 0."""
        return max(self.refill - self.drain, self.refill * SLOWEST)

    def advance(self, now: float, unsent: float) -> None:
        """Refill up to ``now``.

        Args:
            now: An earlier moment than that of the last call changes nothing.
            unsent: Reserved but not sent, so still in the bucket, which cannot overflow.
        """
        if now > self.at:
            grown = self.level + (now - self.at) * self.speed
            self.level = min(grown, max(self.capacity - unsent, self.level))
            self.drain -= self.drain * min(1.0, (now - self.at) / FORGET_S)
            self.at = now

    def due(self, size: float, behind: float) -> float:
        """Return the moment from which a reservation may be used.

        Args:
            size: What it reserved. More than the capacity goes when the bucket is full.
            behind: Reserved after it.
        """
        floor = min(self.cushion, self.capacity - size)
        missing = floor - (self.level + behind)
        # A hair of tolerance: a sum of floats that waits for itself would never come up.
        return self.at if missing <= 1e-6 * size else self.at + missing / self.speed
