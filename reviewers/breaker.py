"""A circuit breaker: stop asking a server that is down, and find out when it is back.

Closed, everything goes. After some faults in a row it opens and nothing goes until a cool-down is
over; then one request goes as a probe, and its fate closes the breaker or opens it for longer.
"""

import random

FAULTS = 10
"""Faults in a row that open a breaker."""
COOL_S = 1.0
"""Seconds of the first cool-down; each next one is twice as long."""
LONGEST_S = 30.0
"""Seconds of the longest cool-down, before jitter."""
JITTER = 0.2
"""Share by which a cool-down may be longer, so that several processes do not return at once."""


class Breaker:
    """The state of one endpoint. Every moment is in monotonic seconds.

    Args:
        faults: Faults in a row that open it, >= 1.
    """

    __slots__ = ("_changed", "_cool", "_faults", "_most", "_probe", "_silent", "_until")

    def __init__(self, faults: int = FAULTS) -> None:
        self._most = faults
        self._faults = 0
        self._cool = COOL_S
        self._until: float | None = None
        self._probe: float | None = None
        self._changed = float("-inf")
        self._silent: float | None = None

    def ready_at(self, now: float) -> float:
        """Return when ``admit`` may say yes: ``now``, later, or never while a probe is out."""
        if self._until is None:
            return now
        return float("inf") if self._probe is not None else max(now, self._until)

    def admit(self, now: float) -> bool:
        """Let a request through, or not.

        After a yes the request must be sent at this very ``now`` and end with ``answered``,
        ``faulted`` or ``withdrawn``: it may be the probe for which all others wait.
        """
        if self._until is None:
            return True
        if self._probe is not None or now < self._until:
            return False
        self._probe = self._changed = now
        return True

    def answered(self, begun: float, now: float) -> None:
        """Note that the server answered: a reply, or a refusal that is no sign of overload.

        Args:
            begun: Moment at which the request was let through.
            now: Moment of the answer.
        """
        self._silent = None
        if self._until is None:
            self._faults = 0
        elif self._is_probe(begun):
            self._until = self._probe = None
            self._changed, self._faults, self._cool = now, 0, COOL_S

    def faulted(self, begun: float, now: float, rng: random.Random) -> None:
        """Note that the server did not answer, or said that it is not well."""
        if self._silent is None:
            self._silent = begun
        if self._until is not None:
            if self._is_probe(begun):
                self._cool = min(2 * self._cool, LONGEST_S)
                self._open(now, rng)
        elif begun >= self._changed:
            self._faults += 1
            if self._faults >= self._most:
                self._open(now, rng)

    def withdrawn(self, begun: float) -> None:
        """Note that a request ended without telling anything: it was cancelled."""
        if self._is_probe(begun):
            self._probe = None

    def silent_for(self, now: float) -> float:
        """Return the seconds since the first of the faults after the last answer; 0 if none."""
        return 0.0 if self._silent is None else now - self._silent

    def _is_probe(self, begun: float) -> bool:
        return self._probe is not None and begun >= self._probe

    def _open(self, now: float, rng: random.Random) -> None:
        self._probe, self._changed, self._faults = None, now, 0
        self._until = now + self._cool * (1 + JITTER * rng.random())
