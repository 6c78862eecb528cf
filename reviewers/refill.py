"""How a limit fills up again, judged from what its headers said over time.

Two kinds are in use. A *sliding* bucket refills all the time, so the reset that it tells is as far
away as the bucket is empty: used / (limit / period). A *fixed* window is whole again at one
moment, whatever was used, so its resets name the same moment until that has passed.
"""

from dataclasses import dataclass, field

from reviewers.headroom import Reset

MINUTE = 60.0
USUAL = (1.0, MINUTE, 3600.0, 86400.0)
"""Usual lengths of windows and periods, in seconds."""
_CERTAIN = 4
"""Most by which the votes for one kind may outweigh those for the other, so that a judgement can
be revised."""
_AGREED = 8
"""Sightings that have to agree on a small bucket."""
_APART = 4.0
"""Least by which what was left has to differ among them."""
_SMALL = 0.9
"""Largest share of a limit per minute that a small bucket holds."""
_ROUNDED = 0.01
"""Share of a limit to which providers round what is left."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one response said of one limit."""

    limit: float
    left: float
    reset: Reset
    sent: float
    """Moment at which its request was sent."""
    came: float
    """Moment at which the response came."""

    @property
    def used(self) -> tuple[float, float]:
        """Least and most that was taken of the limit: what is left is a rounded number."""
        used, rounded = self.limit - self.left, 1.0 + _ROUNDED * self.limit
        return max(0.0, used - rounded), max(0.0, used) + rounded

    @property
    def spans(self) -> tuple[float, float]:
        """Least and most seconds to the reset at the moment at which ``left`` was true."""
        seconds, grain = self.reset.seconds, self.reset.grain
        late = self.came - self.sent if self.reset.dated else 0.0
        return max(0.0, seconds - grain), seconds + grain + late

    @property
    def moments(self) -> tuple[float, float]:
        """Earliest and latest monotonic moment of the reset."""
        seconds, grain = self.reset.seconds, self.reset.grain
        begun = self.came if self.reset.dated else self.sent
        return begun + seconds - grain, self.came + seconds + grain


@dataclass(slots=True, eq=False)
class Pieces:
    """The guess that a limit per minute is enforced in shorter pieces."""

    holds: tuple[float, float] = (0.0, float("inf"))
    """Least and most that the bucket can hold, if it refills by the limit in a minute."""
    seen: int = 0
    """Sightings that agree on it."""
    lefts: tuple[float, float] = (float("inf"), 0.0)
    """Least and most that was left in them."""

    @property
    def burst(self) -> float | None:
        """What the bucket holds; ``None`` while it need not be smaller than the limit."""
        alike = self.lefts[1] - self.lefts[0] < max(_APART, self.holds[1] / 2)
        return None if self.seen < _AGREED or alike else self.holds[0]

    def see(self, seen: Sighting) -> None:
        """Take one more sighting into account."""
        if not seen.reset.seconds or seen.reset.dated:
            return  # some servers always say 0, and whole seconds tell too little
        soonest, latest = (seen.left + span * seen.limit / MINUTE for span in seen.spans)
        holds = soonest, latest + 1.0  # what is left is rounded down
        if _overlap(self.holds, holds):
            self.holds = max(self.holds[0], holds[0]), min(self.holds[1], holds[1])
            self.lefts = min(self.lefts[0], seen.left), max(self.lefts[1], seen.left)
            self.seen += 1
        else:
            self.holds, self.lefts, self.seen = holds, (seen.left, seen.left), 1
        if self.holds[1] > _SMALL * seen.limit:
            self.seen = 0


@dataclass(slots=True, eq=False)
class Refill:
    """The judgement on one limit."""

    period: float = MINUTE
    """Seconds in which a sliding bucket refills from empty to full."""
    window: float = USUAL[0]
    """Seconds of a fixed window: the shortest that explains every reset seen."""
    votes: int = 0
    """Sightings that only a fixed window explains, less those that only a sliding one does."""
    first: Sighting | None = None
    """What later sightings are compared with."""
    pieces: Pieces = field(default_factory=Pieces)
    """Whether a limit per minute is enforced in shorter pieces."""

    @property
    def fixed(self) -> bool:
        """True when the limit is a fixed window."""
        return self.votes > 0 and self.burst is None

    @property
    def burst(self) -> float | None:
        """What the bucket of a limit per minute holds; ``None``: all that the limit says."""
        return self.pieces.burst

    def rate(self, limit: float, largest: float) -> float:
        """Return what the limit allows per second over a long time.

        Args:
            limit: What it allows in its period.
            largest: Size of a large request; an even stream may begin a fixed window with one
                more than it ends with, so there must be room for one.
        """
        if self.burst is not None:
            return limit / MINUTE
        if not self.fixed:
            return limit / self.period
        return max(limit - largest, limit / 2) / self.window

    def room(self, seen: Sighting, rate: float) -> tuple[float, float]:
        """Return what could be sent, if ``left`` was true as the request was sent, or at the end.

        In a fixed window it is what is left beyond an even use of the rest of the window: one
        that is spent evenly needs no exact knowledge of the moment of its reset.

        Args:
            seen: The sighting.
            rate: Of even use, per second.
        """
        if not self.fixed:
            return seen.left, seen.left
        rest = seen.reset.seconds + seen.reset.grain
        late = seen.came - seen.sent if seen.reset.dated else 0.0
        spans = (min(rest + late, self.window), min(rest, self.window))
        return seen.left - rate * spans[0], seen.left - rate * spans[1]

    def see(self, seen: Sighting) -> None:
        """Take one more sighting into account."""
        self.pieces.see(seen)
        self._stretch(seen)
        first = self.first
        if first is None or seen.limit != first.limit:
            self.first = seen
            return
        passed = seen.came >= first.moments[0]
        slides = _slides(first, seen)
        stays = passed or _overlap(first.moments, seen.moments)
        if slides != stays:
            step = 1 if stays else -1
            self.votes = max(-_CERTAIN, min(_CERTAIN, self.votes + step))
        if passed or slides != stays:
            self.first = seen

    def _stretch(self, seen: Sighting) -> None:
        """Keep period and window within what the sighting allows."""
        if not seen.reset.seconds:
            return  # some servers always say 0
        shortest, longest = seen.spans
        while shortest > self.window and self.window < USUAL[-1]:
            self.window = USUAL[USUAL.index(self.window) + 1]
        least, most = seen.used
        if not least:
            return
        least, most = shortest * seen.limit / most, longest * seen.limit / least
        if not least <= self.period <= most:
            usual = [period for period in USUAL if least <= period <= most]
            self.period = usual[-1] if usual else min(max(least, self.period), most)


def _slides(first: Sighting, seen: Sighting) -> bool:
    """Tell whether the resets are in proportion to what was used, as far as both are known."""
    least, most = first.used
    soonest = first.spans[0] * seen.used[0] / most
    latest = first.spans[1] * seen.used[1] / least if least else float("inf")
    return _overlap((soonest, latest), seen.spans)


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
