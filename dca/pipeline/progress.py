"""How a stage tells what it is doing. Pure: who listens decides how it looks."""

from typing import Protocol


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

    def finish(self) -> None:
        """Ignore the end."""
