"""Spans: half-open ranges of Unicode code points in a completion."""

from dataclasses import dataclass


# Spans are made by the million. Setting the slots directly takes half the time of the ``__init__``
# that a frozen dataclass would get.
@dataclass(frozen=True, slots=True, order=True, init=False)
class Span:
    """The text ``completion[start:stop]``."""

    start: int
    """First code point, >= 0."""
    stop: int
    """One past the last code point, >= ``start``."""

    def __init__(self, start: int, stop: int) -> None:
        """Refuse a span that runs backwards or begins before the text."""
        if not 0 <= start <= stop:
            raise ValueError(f"span [{start}, {stop}) is not a range of the text")
        _set_start(self, start)
        _set_stop(self, stop)

    def __len__(self) -> int:
        """Return the number of code points."""
        return self.stop - self.start

    def overlap(self, other: "Span") -> int:
        """Return the number of code points that both spans hold."""
        return max(0, min(self.stop, other.stop) - max(self.start, other.start))

    def text(self, completion: str) -> str:
        """Return the stretch of ``completion`` that this span names."""
        return completion[self.start : self.stop]


_set_start = Span.__dict__["start"].__set__
_set_stop = Span.__dict__["stop"].__set__
