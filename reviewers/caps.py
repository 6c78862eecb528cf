"""A limit per minute that the user has set: no 60 seconds, wherever they begin, hold more.

A record of the last minute makes that exact; a bucket beside it spreads the requests, so that the
minute does not begin with a burst and end with a wait.
"""

from collections import deque

from reviewers.bucket import Bucket

MINUTE = 60.0
SPREAD_S = 1.0
"""Seconds of the cap that may go at once."""


class Cap:
    """Most per minute, in requests or tokens."""

    __slots__ = ("_recent", "_used", "bucket", "per_minute")

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        burst = max(1.0, SPREAD_S * per_minute / MINUTE)
        self.bucket = Bucket(burst, per_minute / MINUTE, level=burst, at=float("-inf"))
        self._recent: deque[list[float]] = deque()
        self._used = 0.0

    def due(self, size: float, behind: float, unsent: float) -> float:
        """Return the moment from which a reservation may be used, as far as is known.

        Args:
            size: What it reserved. More than the whole cap goes alone.
            behind: Reserved after it.
            unsent: Reserved but not sent, itself included.
        """
        spread = self.bucket.due(size, behind)
        self._forget(self.bucket.at)
        allowed = max(self.per_minute, size)
        excess = self._used + (unsent - behind) - allowed
        if excess <= 1e-6 * size:
            return spread
        freed = spread
        for moment, used in self._recent:
            excess -= used
            freed = moment + MINUTE
            if excess <= 1e-6 * size:
                break
        return max(spread, freed)

    def record(self, size: float, now: float) -> list[float]:
        """Count what is sent, and return the entry for ``correct``."""
        entry = [now, size]
        self._recent.append(entry)
        self._used += size
        return entry

    def correct(self, entry: list[float], size: float) -> None:
        """Replace the estimate of an entry by what was used."""
        if self._recent and entry[0] >= self._recent[0][0]:
            self._used += size - entry[1]
        entry[1] = size

    def _forget(self, now: float) -> None:
        recent = self._recent
        while recent and recent[0][0] <= now - MINUTE:
            self._used -= recent.popleft()[1]
