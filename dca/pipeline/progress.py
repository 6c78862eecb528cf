"""How a stage tells what it is doing. Pure: who listens decides how it looks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReviewerFigures:
    """How far one reviewer is."""

    name: str
    done: int
    """Answers of this run."""
    total: int
    """Rollouts that it has to answer in this run."""
    reviews: int
    abstained: int
    flying: int
    """Requests in flight."""
    resting: int
    """Asks that wait for their next attempt."""
    per_minute: float
    """Answers, over the whole run."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    """Part of ``input_tokens``."""
    dollars: float | None
    """Spent so far; ``None`` without a price."""
    p50: float | None
    """Median latency of the latest replies, seconds."""
    p95: float | None
    state: str
    """``paused``, or why it is asked no more; ``""`` while it works."""

    @property
    def projected_dollars(self) -> float | None:
        """What the run will cost, if the rest costs as much for each rollout."""
        if self.dollars is None or not self.done:
            return None
        return self.dollars * self.total / self.done

    def as_json(self) -> dict[str, object]:
        """Return the figures for a JSON document."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far reviewers agree so far, on a sample of what several of them have reviewed."""

    alpha: float
    """Krippendorff's alpha of the labels of characters, at most 1."""
    rollouts: int
    """Sampled rollouts that it rests on."""


class Progress(Protocol):
    """A listener to one stage after another: ``start``, many ``advance`` and ``note``, ``finish``.

    Safe to call from several threads.
    """

    def start(self, total: int | None, name: str) -> None:
        """Begin a stage of ``total`` units, ``None`` when not known; ends the one before."""
        ...

    def advance(self, n: int = 1, **counts: int) -> None:
        """Count ``n`` more units done, and add to named counts, such as ``abstained=1``."""
        ...

    def note(self, text: str) -> None:
        """Say one sentence about a change of state."""
        ...

    def show(
        self, reviewers: Sequence[ReviewerFigures], agreement: Agreement | None = None
    ) -> None:
        """Take the latest figures of the reviewers at work, several times a second."""
        ...

    def finish(self) -> None:
        """End the stage."""
        ...


class Silent:
    """A listener that says nothing."""

    def start(self, total: int | None, name: str) -> None:
        """Ignore the beginning."""

    def advance(self, n: int = 1, **counts: int) -> None:
        """Ignore the units."""

    def note(self, text: str) -> None:
        """Ignore the sentence."""

    def show(
        self, reviewers: Sequence[ReviewerFigures], agreement: Agreement | None = None
    ) -> None:
        """Ignore the figures."""

    def finish(self) -> None:
        """Ignore the end."""
