"""How many requests may be in flight at once: additive increase, multiplicative decrease.

A run starts narrow and doubles in steps of time, not of answers: a refusal comes within one trip
over the wire, an answer may take a minute. So a small limit turns a handful away, and a server
without limits is at full width after an eighth of a second (256 at once).
"""

START = 8.0
"""Requests in flight at the very beginning."""
STEP_S = 0.025
"""Seconds in which the width doubles at the beginning."""
CUT = 0.7
"""Factor of a decrease."""
GROWTH = 1 / 32
"""Share of the ceiling by which the width grows in each round of answers."""


class Width:
    """Adaptive concurrency of one endpoint.

    Args:
        ceiling: Most requests in flight, >= 1.
    """

    __slots__ = ("_begun", "_ceiling", "_changed", "_width")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = float(max(1, ceiling))
        self._width = min(START, self._ceiling)
        self._begun: float | None = None
        self._changed: float | None = None

    def now(self, now: float) -> int:
        """Return how many requests may be in flight, from 1 to the ceiling."""
        return int(self._at(now))

    def answered(self, begun: float, now: float) -> None:
        """Note a success.

        Args:
            begun: Moment at which its request was sent.
            now: Moment of the answer.
        """
        width = self._at(now)
        if self._changed is not None and begun >= self._changed:
            growth = max(1.0, self._ceiling * GROWTH) / width
            self._width = min(self._ceiling, width + growth)

    def refused(self, begun: float, now: float) -> None:
        """Note that the server had too much to do (429, 5xx, 529).

        Only the first such answer of a round counts: those to requests that were sent before the
        decrease say nothing of the width after it.
        """
        width = self._at(now)
        if self._changed is None or begun >= self._changed:
            self._width = max(1.0, width * CUT)
            self._changed = now

    def _at(self, now: float) -> float:
        """Return the width, with the steps of the beginning up to ``now``."""
        if self._begun is None:
            self._begun = now
        if self._changed is not None:
            return self._width
        steps = min((now - self._begun) // STEP_S, 64.0)
        return min(self._ceiling, self._width * 2.0**steps)
