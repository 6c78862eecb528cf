"""What happens to each attempt of each item: pure, from a hash of a seed.

An item is one question to one model; its attempts are counted from 1. The same seed gives the
same faults and the same waiting times whatever the order of arrival.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from statistics import NormalDist

MIXED_RATE = 0.125
"""Fraction of attempts that go wrong under ``mixed``."""

POISON_RATE = 0.003
"""Fraction of items that never get a valid answer under ``mixed``."""

_QUANTILES = 4096
_NORMAL = tuple(NormalDist().inv_cdf((at + 0.5) / _QUANTILES) for at in range(_QUANTILES))
_MOST_ATTEMPTS = 1000


class Fault(StrEnum):
    """What goes wrong with one attempt; the value is its name on the command line."""

    SERVER_ERROR = "server-error"
    """500."""
    OVERLOADED = "overloaded"
    """529 from Anthropic, 503 from OpenAI."""
    LIMITED = "limited"
    """429 with Retry-After."""
    LIMITED_BARE = "limited-bare"
    """429 without Retry-After."""
    RESET = "reset"
    """The connection is reset."""
    CUT_BODY = "cut-body"
    """Fewer bytes arrive than ``content-length`` says."""
    HANG = "hang"
    """No answer, ever."""
    DRIP = "drip"
    """A byte now and then, beyond every deadline."""
    HTML = "html"
    """A page in HTML, status 200."""
    HUGE = "huge"
    """A body of many megabytes."""
    REDIRECT = "redirect"
    """301 to another path of the same host."""
    REDIRECT_AWAY = "redirect-away"
    """307 to another host."""
    CUT_JSON = "cut-json"
    """The reply ends inside its JSON, and the stop reason says that it is complete."""
    BAD_SCHEMA = "bad-schema"
    """The reply is JSON of another shape."""
    BAD_UNITS = "bad-units"
    """The steps of the reply name units, or quote words, that do not exist."""
    FENCED = "fenced"
    """A valid reply in a code fence."""
    LENGTH = "length"
    """The reply stops at the limit of output tokens."""
    REFUSAL = "refusal"
    """A refusal in the dialect's own field."""
    REFUSAL_PROSE = "refusal-prose"
    """An apology where the reply should be."""
    CONTENT_FILTER = "content-filter"
    """The content filter stops the answer; Anthropic has none and refuses."""


UNPAID = frozenset(
    {
        Fault.SERVER_ERROR,
        Fault.OVERLOADED,
        Fault.LIMITED,
        Fault.LIMITED_BARE,
        Fault.RESET,
        Fault.CUT_BODY,
        Fault.HANG,
        Fault.DRIP,
        Fault.HTML,
        Fault.HUGE,
        Fault.REDIRECT,
        Fault.REDIRECT_AWAY,
    }
)
"""Faults that deliver no answer with its usage."""

USABLE = frozenset({None, Fault.FENCED})
"""What delivers a valid review."""

FINAL = frozenset({Fault.REFUSAL, Fault.REFUSAL_PROSE, Fault.CONTENT_FILTER})
"""Answers that asking again is not meant to change: no more attempts are needed."""


def settles(fault: Fault | None) -> bool:
    """Tell whether an attempt with ``fault`` is the last that its item needs."""
    return fault in USABLE or fault in FINAL


POISONS = (Fault.CUT_JSON, Fault.BAD_SCHEMA, Fault.BAD_UNITS)
"""What a poisoned item gets where another gets a valid answer."""

_MIXED: Mapping[Fault, float] = {
    **dict.fromkeys(
        (
            Fault.SERVER_ERROR,
            Fault.OVERLOADED,
            Fault.RESET,
            Fault.CUT_BODY,
            Fault.CUT_JSON,
            Fault.BAD_SCHEMA,
            Fault.FENCED,
            Fault.HANG,
            Fault.DRIP,
        ),
        MIXED_RATE / 10,
    ),
    Fault.LIMITED: MIXED_RATE / 20,
    Fault.LIMITED_BARE: MIXED_RATE / 20,
}


@dataclass(frozen=True, slots=True)
class Rates:
    """How often what goes wrong; every rate in [0, 1]."""

    faults: Mapping[Fault, float] = field(default_factory=dict[Fault, float])
    """Fraction of attempts; together at most 1."""
    poison: float = 0.0
    """Fraction of items that never get a valid answer."""
    batch_failed: float = 0.0
    """Fraction of batches that fail as a whole."""
    batch_expired: float = 0.0
    """Fraction of batches that expire with a part of their requests unanswered."""

    def __post_init__(self) -> None:
        """Refuse rates outside their range."""
        every = (*self.faults.values(), self.poison, self.batch_failed, self.batch_expired)
        if any(not 0 <= rate <= 1 for rate in every) or sum(self.faults.values()) > 1 + 1e-9:
            raise ValueError("rates lie in 0 to 1, and those of faults sum to at most 1")


MIXED = Rates(_MIXED, poison=POISON_RATE)
"""Ten kinds of faults in equal parts, and a few poisoned items."""


def parse_rates(text: str) -> Rates:
    """Return the rates that ``none``, ``mixed`` or ``NAME=RATE,...`` says.

    ``mixed`` may be followed by terms that change it: ``mixed,poison=0,html=0.01``.

    Raises:
        ValueError: An unknown name, or a rate outside [0, 1].
    """
    faults: dict[Fault, float] = {}
    others = {"poison": 0.0, "batch-failed": 0.0, "batch-expired": 0.0}
    for term in text.split(","):
        name, given, rate = term.strip().partition("=")
        if name == "mixed":
            faults.update(_MIXED)
            others["poison"] = POISON_RATE
        elif name != "none" and not given:
            raise ValueError(f"{term!r} is neither none, mixed nor NAME=RATE")
        elif name in others:
            others[name] = float(rate)
        elif name != "none":
            faults[Fault(name)] = float(rate)
    return Rates(faults, others["poison"], others["batch-failed"], others["batch-expired"])


@dataclass(frozen=True, slots=True)
class Draw:
    """What one attempt gets."""

    fault: Fault | None
    """``None``: a valid answer."""
    latency_s: float
    """Seconds from the request to its answer."""
    size: float
    """Factor on the number of hidden reasoning tokens; median 1."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that chance decides."""

    seed: int = 1
    rates: Rates = field(default_factory=Rates)
    median_s: float = 0.05
    """Median of the lognormal latency in seconds; 0 answers at once."""
    sigma: float = 0.5
    """Standard deviation of the logarithm of the latency."""
    tail: float = 0.0
    """Standard deviation of the logarithm of the hidden reasoning's length; 0: always the same."""
    _names: tuple[Fault, ...] = field(init=False, repr=False)
    _edges: tuple[float, ...] = field(init=False, repr=False)
    _key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare what every draw needs."""
        faults = self.rates.faults
        object.__setattr__(self, "_names", tuple(faults))
        object.__setattr__(self, "_edges", tuple(accumulate(faults.values())))
        object.__setattr__(self, "_key", str(self.seed).encode())

    def draw(self, item: bytes, attempt: int) -> Draw:
        """Return what attempt ``attempt``, counted from 1, of ``item`` gets."""
        bits = self._bits(item, attempt)
        chance = (bits & 0xFFFFFFFF) / 0x1_0000_0000
        place = bisect_right(self._edges, chance)
        fault = self._names[place] if place < len(self._names) else None
        if fault in USABLE and self.is_poisoned(item):
            fault = POISONS[(bits >> 96) % len(POISONS)]
        latency, size = self.median_s, 1.0
        if self.median_s:
            latency *= math.exp(self.sigma * _NORMAL[(bits >> 32) % _QUANTILES])
        if self.tail:
            size = math.exp(self.tail * _NORMAL[(bits >> 64) % _QUANTILES])
        return Draw(fault, latency, size)

    def is_poisoned(self, item: bytes) -> bool:
        """Tell whether ``item`` never gets a valid answer."""
        return self.rates.poison > 0 and self._chance(item, 0) < self.rates.poison

    def minimum_attempts(self, item: bytes) -> int | None:
        """Return the fewest attempts that settle ``item``; ``None``: none ever does.

        An item is settled by a valid answer or by one that asking again is not meant to change;
        a poisoned item never is.
        Attempts that a rate limit or a bad key turned away are not counted.
        """
        if self.is_poisoned(item):
            return None
        attempts = range(1, _MOST_ATTEMPTS)
        return next((n for n in attempts if settles(self.draw(item, n).fault)), None)

    def batch_fault(self, number: int) -> str:
        """Return ``failed``, ``expired`` or ``""`` for the batch created as ``number``."""
        chance = self._chance(b"batch", number)
        if chance < self.rates.batch_failed:
            return "failed"
        return "expired" if 1 - chance <= self.rates.batch_expired else ""

    def _chance(self, item: bytes, attempt: int) -> float:
        return (self._bits(item, attempt) & 0xFFFFFFFF) / 0x1_0000_0000

    def _bits(self, item: bytes, attempt: int) -> int:
        """Return 128 bits that the seed, the item and the attempt decide."""
        told = item + attempt.to_bytes(4, "big")
        return int.from_bytes(hashlib.blake2b(told, digest_size=16, key=self._key).digest(), "big")
