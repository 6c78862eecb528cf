"""Spans: half-open ranges of Unicode code points in a completion."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The text ``completion[start:stop]``."""

    start: int
    """First code point, >= 0."""
    stop: int
    """One past the last code point, >= ``start``."""

    def __post_init__(self) -> None:
        """Refuse a span that runs backwards or begins before the text."""
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"span [{self.start}, {self.stop}) is not a range of the text")

    def __len__(self) -> int:
        """Return the number of code points."""
        return self.stop - self.start

    def overlap(self, other: "Span") -> int:
        """Return the number of code points that both spans hold."""
        return max(0, min(self.stop, other.stop) - max(self.start, other.start))

    def text(self, completion: str) -> str:
        """Return the stretch of ``completion`` that this span names."""
        return completion[self.start : self.stop]
