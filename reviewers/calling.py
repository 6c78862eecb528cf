"""How a model is called: sampling, limits, timeouts, retries."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Calling:
    """How one model is called."""

    max_tokens: int = 16_000
    """Most output tokens, hidden reasoning included."""
    temperature: float | None = None
    """``None``: not sent, because reasoning models refuse it."""
    effort: str | None = None
    """Reasoning effort in the provider's words; ``None``: not sent."""
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    """Further fields of the request, as the provider spells them."""
    timeout: float = 600.0
    """Seconds for one attempt as a whole, so that a slow drip ends too."""
    attempts: int = 8
    """Most requests for one question that may end in a fault, >= 1; rate limits do not count."""
    backoff: float = 1.0
    """Seconds: the first wait is drawn from [0, backoff), and the range doubles each time."""
    max_wait: float = 60.0
    """Longest wait in seconds; a server that asks for more is given up."""
    concurrency: int | None = None
    """Most requests to this model in flight, >= 1; ``None``: only the run's bound."""
    requests_per_minute: float | None = None
    """The user's own cap; the provider's is read from its headers."""
    tokens_per_minute: float | None = None
    """Likewise, input and output together."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What can change an answer, and so belongs into the reviewer's digest."""
        given = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "effort": self.effort,
            "extra": dict(self.extra) or None,
        }
        return {key: value for key, value in given.items() if value is not None}
