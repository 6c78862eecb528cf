"""Whether and when to ask again after a fault.

The strategies are tenacity's; its loop is not used, because the waits are the engine's own: they
end when a run is stopped, and rate limits are counted apart from faults.
"""

import random
from typing import Protocol, cast

import tenacity

from reviewers.exchange import RETRIED, Cause, Fault

LONGEST_LIMIT = 600.0
"""Seconds: the longest Retry-After of a rate limit that is waited for."""
LONGEST_LIMITS = 3600.0
"""Seconds: the longest time that rate limits alone may hold one request back."""
JITTER = 0.1
"""Share of a Retry-After by which each waits longer, so that not all return in one instant."""
LONGEST_JITTER = 5.0
"""Seconds of that share at most."""


class Persistence(Protocol):
    """What patience needs to know of how a model is called."""

    @property
    def attempts(self) -> int:
        """Most requests that may end in a fault other than a rate limit, >= 1."""
        ...

    @property
    def backoff(self) -> float:
        """Seconds: the first wait is drawn from [0, backoff), and the range doubles each time."""
        ...

    @property
    def max_wait(self) -> float:
        """Longest wait in seconds."""
        ...


class Patience:
    """What is left of it for one request.

    Args:
        calling: The settings of its reviewer.
        rng: Gives the jitter.
    """

    __slots__ = ("_calling", "_faults", "_held", "_limits", "_rng")

    def __init__(self, calling: Persistence, rng: random.Random) -> None:
        self._calling = calling
        self._rng = rng
        self._faults = 0
        self._limits = 0
        self._held = 0.0

    def next_wait(self, fault: Fault) -> float | None:
        """Return the seconds to wait before asking again after ``fault``; ``None``: give up.

        Faults use up the attempts; rate limits do not, but they may hold a request back only for
        so long in all. What the server asks for is waited in full, and a little longer; if it
        asks for more than the bound, the request is given up.
        """
        if fault.cause not in RETRIED:
            return None
        return self._after_limit(fault) if fault.cause is Cause.LIMIT else self._after_fault(fault)

    def _after_limit(self, fault: Fault) -> float | None:
        self._limits += 1
        if fault.retry_after > max(self._calling.max_wait, LONGEST_LIMIT):
            return None
        state = _state(self._limits)
        state.outcome_timestamp = self._held
        state.upcoming_sleep = self._wait(fault, state)
        if tenacity.stop_before_delay(LONGEST_LIMITS)(state):
            return None
        self._held += state.upcoming_sleep
        return state.upcoming_sleep

    def _after_fault(self, fault: Fault) -> float | None:
        self._faults += 1
        state = _state(self._faults)
        if fault.retry_after > self._calling.max_wait:
            return None
        if tenacity.stop_after_attempt(self._calling.attempts)(state):
            return None
        return self._wait(fault, state)

    def _wait(self, fault: Fault, state: tenacity.RetryCallState) -> float:
        """Draw from the whole of tenacity's exponential range; Retry-After is a floor."""
        calling = self._calling
        spread = tenacity.wait_exponential(multiplier=calling.backoff, max=calling.max_wait)
        wait = self._rng.uniform(0, spread(state))
        if fault.retry_after <= 0:
            return wait
        jitter = min(JITTER * fault.retry_after, LONGEST_JITTER)
        return max(wait, fault.retry_after + self._rng.uniform(0, jitter))


def _state(attempt: int) -> tenacity.RetryCallState:
    """Return what tenacity's strategies look at, with a clock that stands at 0."""
    state = tenacity.RetryCallState(cast("tenacity.BaseRetrying", None), None, (), {})
    state.attempt_number = attempt
    state.start_time = 0.0
    return state
