"""Hard caps on what a run may spend, kept by reserving the worst case before each request.

Pure state without locks: one event loop owns it. All money is in whole nanodollars, so that sums
are exact and no rounding can cross a cap.

What a request may cost at most is set aside before it is sent. When it ends, the reservation is
replaced by what it really cost; when nobody knows whether it was charged (the connection broke,
no answer came in time), the whole reservation counts as spent. So the sum of what is spent and
what is set aside never exceeds a cap, however many requests fly and however long their answers
become.
"""

from dataclasses import dataclass
from enum import Enum

from dca.domain.errors import BudgetSpent

NANO = 1_000_000_000
"""Nanodollars in a dollar."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request costs."""

    nanodollars: int = 0
    """>= 0; 0 where no price is known."""
    tokens: int = 0
    """Input and output, >= 0."""

    def __add__(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(self.nanodollars + other.nanodollars, self.tokens + other.tokens)

    def __sub__(self, other: "Cost") -> "Cost":
        """Return what is left without ``other``."""
        return Cost(self.nanodollars - other.nanodollars, self.tokens - other.tokens)

    @property
    def dollars(self) -> float:
        """The money in dollars."""
        return self.nanodollars / NANO


@dataclass(frozen=True, slots=True)
class Caps:
    """What a run may spend at most; ``None``: no cap."""

    dollars: float | None = None
    tokens: int | None = None
    seconds: float | None = None
    """Time in which new requests are begun; kept by whoever holds the clock."""

    def crossed(self, cost: Cost) -> str:
        """Return the cap that ``cost`` exceeds, ``dollars`` or ``tokens``; else ``""``."""
        if self.dollars is not None and cost.nanodollars > self.dollars * NANO:
            return "dollars"
        if self.tokens is not None and cost.tokens > self.tokens:
            return "tokens"
        return ""


class Verdict(Enum):
    """Whether a request may be sent."""

    GRANTED = "granted"
    """Its worst case is set aside."""
    LATER = "later"
    """It fits only if requests in flight turn out cheaper than their worst case."""
    NEVER = "never"
    """It fits in no case."""


class Budget:
    """What a run has spent and set aside."""

    def __init__(self, caps: Caps | None = None) -> None:
        """Begin with nothing spent."""
        self.caps = caps or Caps()
        self.spent = Cost()
        """What is known to be charged, and what may have been."""
        self.doubtful = Cost()
        """The part of ``spent`` of which nobody knows whether it was charged."""
        self.reserved = Cost()

    def reserve(self, worst: Cost) -> Verdict:
        """Set the worst case of one request aside, if the caps allow it."""
        if self.caps.crossed(self.spent + worst):
            return Verdict.NEVER
        if self.caps.crossed(self.spent + self.reserved + worst):
            return Verdict.LATER
        self.reserved = self.reserved + worst
        return Verdict.GRANTED

    def settle(self, worst: Cost, actual: Cost) -> None:
        """Replace a reservation by what the request cost; nothing, if it was never sent."""
        self.reserved = self.reserved - worst
        self.spent = self.spent + actual

    def keep(self, worst: Cost) -> None:
        """Count a reservation as spent: nobody knows whether the request was charged."""
        self.settle(worst, worst)
        self.doubtful = self.doubtful + worst

    def refusal(self, name: str, worst: Cost) -> BudgetSpent:
        """Return the error of a request by ``name`` that fits in no case, and what would help."""
        cap = self.caps.crossed(self.spent + worst)
        if cap == "dollars":
            most = f"${worst.dollars:.4f}"
            left = f"${max(0.0, (self.caps.dollars or 0.0) - self.spent.dollars):.4f}"
        else:
            most = f"{worst.tokens:,} tokens"
            left = f"{max(0, (self.caps.tokens or 0) - self.spent.tokens):,} tokens"
        return BudgetSpent(
            f"{name}: one more request may cost {most}, and {left} of the budget is left",
            cap=cap,
            hint="Raise the cap, or lower max_output_tokens: its worst case is set aside.",
        )
