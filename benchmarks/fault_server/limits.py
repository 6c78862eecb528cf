"""Rate limits of one key and model, by requests and tokens per minute, with both headers.

Buckets fill continuously. Times are seconds of any clock that only runs forward.
"""

import math
import time
from dataclasses import dataclass, field

from benchmarks.fault_server.asks import Ask, Dialect


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may use of one model."""

    requests: int = 0
    """Requests per minute; 0: any number."""
    tokens: int = 0
    """Tokens per minute, charged on arrival; 0: any number. Anthropic's are uncached input."""
    output_tokens: int = 0
    """Output tokens per minute, charged with the answer; Anthropic only; 0: any number."""
    burst_s: float = 60.0
    """How many seconds' worth may be used at once after a pause."""
    reserve: bool = True
    """OpenAI's charge: the larger of input and limit of output; ``False``: the input."""

    def charge(self, ask: Ask, cached: int) -> int:
        """Return the tokens that ``ask`` is charged on arrival."""
        if ask.dialect is Dialect.MESSAGES:
            return ask.tokens - cached
        return max(ask.tokens, ask.limit or 0) if self.reserve else ask.tokens


@dataclass(slots=True)
class Bucket:
    """So many a minute; the level may fall below zero when more is used than was foreseen."""

    per_minute: int
    capacity: float
    level: float = field(init=False)
    at: float = 0.0
    """When the level was worked out."""

    def __post_init__(self) -> None:
        """Begin full."""
        self.level = self.capacity

    def fill(self, now: float) -> None:
        """Add what has come since the last time."""
        self.level = min(self.capacity, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now

    def wait(self, amount: float) -> float:
        """Return the seconds until ``amount`` can be taken; more than the capacity never can."""
        short = min(amount, self.capacity) - self.level
        return max(0.0, short * 60 / self.per_minute)

    @property
    def reset_s(self) -> float:
        """Seconds until the bucket is full."""
        return max(0.0, (self.capacity - self.level) * 60 / self.per_minute)


class Limiter:
    """The buckets of one key and model."""

    def __init__(self, limits: Limits) -> None:
        """Begin with full buckets."""
        self._buckets = {
            name: Bucket(amount, max(1.0, amount * limits.burst_s / 60))
            for name, amount in (
                ("requests", limits.requests),
                ("tokens", limits.tokens),
                ("output", limits.output_tokens),
            )
            if amount
        }

    def admit(self, tokens: int, now: float) -> float:
        """Take one request of so many tokens and return 0, or return the seconds to wait."""
        asked = {"requests": 1, "tokens": tokens, "output": 1}
        wait = 0.0
        for name, bucket in self._buckets.items():
            bucket.fill(now)
            wait = max(wait, bucket.wait(asked[name]))
        if wait == 0:
            for name, bucket in self._buckets.items():
                bucket.level -= asked[name] if name != "output" else 0
        return wait

    def settle(self, output: int) -> None:
        """Charge the output tokens of an answer."""
        if "output" in self._buckets:
            self._buckets["output"].level -= output

    def headers(self, *, anthropic: bool) -> bytes:
        """Return the headers of a response, each line with its end."""
        write = self._anthropic if anthropic else self._openai
        return b"".join(write(name, bucket) for name, bucket in self._buckets.items())

    def _openai(self, name: str, bucket: Bucket) -> bytes:
        if name == "output":
            return b""
        left = max(0, math.floor(bucket.level))
        return (
            f"x-ratelimit-limit-{name}: {bucket.per_minute}\r\n"
            f"x-ratelimit-remaining-{name}: {left}\r\n"
            f"x-ratelimit-reset-{name}: {go_duration(bucket.reset_s)}\r\n"
        ).encode()

    def _anthropic(self, name: str, bucket: Bucket) -> bytes:
        reset = rfc3339(time.time() + bucket.reset_s)
        left = max(0, math.floor(bucket.level))
        kinds = {"requests": ("requests",), "tokens": ("tokens", "input-tokens")}
        return "".join(
            f"anthropic-ratelimit-{kind}-limit: {bucket.per_minute}\r\n"
            f"anthropic-ratelimit-{kind}-remaining: {left}\r\n"
            f"anthropic-ratelimit-{kind}-reset: {reset}\r\n"
            for kind in kinds.get(name, ("output-tokens",))
        ).encode()


def go_duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: ``6m0s``, ``1.5s``, ``20ms``."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown


def rfc3339(moment: float) -> str:
    """Return a time since the epoch, rounded up to the second, as ``2026-01-02T03:04:05Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(math.ceil(moment)))
