"""Figures of one reviewer at work, for whoever shows progress."""

from collections import Counter, deque
from dataclasses import dataclass, field

from dca.domain.review import Usage
from reviewers.budget import Cost
from reviewers.exchange import Cause

REMEMBERED = 512
"""Latencies that the percentiles are taken over: the latest."""


@dataclass(slots=True)
class Meter:
    """Counts of one reviewer; only its own line writes them."""

    requests: int = 0
    """Sent."""
    replies: int = 0
    """Came back whole."""
    faults: Counter[Cause] = field(default_factory=Counter[Cause])
    """Requests that brought no reply, by cause."""
    flying: int = 0
    """Requests in flight."""
    resting: int = 0
    """Asks that wait for their next attempt."""
    usage: Usage = field(default_factory=Usage)
    """Of all replies."""
    spent: Cost = field(default_factory=Cost)
    """What is known to be charged, and what may have been."""
    down: str = ""
    """Why nothing more is asked; ``""`` while it works."""
    _seconds: "deque[float]" = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def reply(self, seconds: float) -> None:
        """Count a reply and remember how long it took."""
        self.replies += 1
        self._seconds.append(seconds)

    def latency(self, share: float) -> float | None:
        """Return the latency below which ``share`` of the latest replies came, in seconds."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
