"""How one server behaves."""

from dataclasses import dataclass, field

from benchmarks.fault_server.limits import Limits
from benchmarks.fault_server.plan import Plan


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch may hold."""

    requests: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be chosen."""

    plan: Plan = field(default_factory=Plan)
    limits: Limits = field(default_factory=Limits)
    """Of each key and model."""
    key: str | None = None
    """The only key that is accepted; ``None``: every key."""
    key_requests: int = 0
    """Requests after which a key has expired; 0: never."""
    retry_after_s: float = 1.0
    """Retry-After of a drawn 429."""
    drip_s: float = 0.2
    """Seconds between two bytes of a slow drip."""
    huge_bytes: int = 50 << 20
    """Size of a huge body."""
    models: tuple[str, ...] = ("tiny",)
    """What the list of models shows; every model is answered for."""
    batch_s: float = 2.0
    """Seconds that a batch takes; 24 hours of the real service."""
    openai_batch: BatchLimits = BatchLimits(50_000, 200 << 20)
    anthropic_batch: BatchLimits = BatchLimits(100_000, 256 << 20)
