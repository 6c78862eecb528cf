"""The running outline of a long reasoning: what later windows are told of earlier steps. Pure."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dca.domain.labels import LabelSet
from dca.domain.review import Step
from dca.domain.spans import Span
from reviewers.parse import Parsed
from reviewers.windows import estimate_tokens

EARLIER = 1000
"""Steps of the outline have numbers above this, so that no step of a window has the same."""
LONGEST_GIST = 100
"""Code points of the few words that an outline gives of a step."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Some of the steps found so far, one to a line."""

    text: str
    steps: tuple[int, ...]
    """Positions of the steps that it names, in order."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers under which it names them."""
        return tuple(number_of(position) for position in self.steps)


def number_of(position: int) -> int:
    """Return the number of the step at ``position`` in an outline."""
    return EARLIER + 1 + position


@dataclass(frozen=True, slots=True)
class Sketcher:
    """Writes the outlines of one reasoning."""

    text: str
    units: Sequence[Span]
    """As they are shown; empty in the ``quotes`` protocol."""
    labels: LabelSet
    room: int
    """Most tokens of an outline."""
    bytes_per_token: float

    def sketch(self, found: Parsed) -> Outline:
        """Return the outline of the steps found so far.

        It names as many steps as there is room for, the most important ones: the one to blame as
        far as it is known, those with the first label of the highest value and those that do harm,
        those with the most links, then by the size of the label's value, later ones first. What
        room is left gives the most important ones a few words each.
        """
        ranked = _by_importance(found, self.labels)
        bare = {at: self._bare(at, found.steps[at]) for at in ranked}
        left, shown = self.room, dict[int, str]()
        for at in ranked:
            left -= self._cost(bare[at])
            if left < 0:
                break
            shown[at] = bare[at]
        left = self.room - sum(map(self._cost, shown.values()))
        for at in ranked[: len(shown)]:
            gist = self._gist(found.steps[at])
            left -= self._cost(gist)
            if left < 0:
                break
            shown[at] = f"{shown[at]}: {gist}" if gist else shown[at]
        steps = tuple(sorted(shown))
        return Outline("\n".join(shown[at] for at in steps), steps)

    def _cost(self, words: str) -> int:
        return estimate_tokens(words, self.bytes_per_token)

    def _bare(self, position: int, step: Step) -> str:
        """Return the line of a step without further words."""
        return f"{number_of(position)}: {self._place(step.span)}, {step.label}"

    def _place(self, span: Span) -> str:
        """Return where a step stands, in the words of the protocol."""
        if not self.units:
            return f"'{few_words(span.text(self.text))}'"
        first = bisect_right(self.units, span.start, key=lambda unit: unit.start)
        last = bisect_left(self.units, span.stop, key=lambda unit: unit.stop) + 1
        return f"unit {first}" if first == last else f"units {first} to {last}"

    def _gist(self, step: Step) -> str:
        """Return a few words on a step: its reason, else its text where that is not shown."""
        return few_words(step.reason or (step.span.text(self.text) if self.units else ""))


def few_words(text: str) -> str:
    """Return ``text`` on one line, its middle left out where it is long."""
    words = " ".join(text.split())
    if len(words) <= LONGEST_GIST:
        return words
    half = LONGEST_GIST // 2 - 2
    return f"{words[:half].rstrip()} … {words[-half:].lstrip()}"


def _by_importance(found: Parsed, labels: LabelSet) -> list[int]:
    """Return the positions of all steps, the most important first."""
    linked = Counter(end for link in found.links for end in (link.source, link.target))
    decisive = max(labels, key=lambda label: label.value).key
    values = {label.key: label.value for label in labels}
    blamed = found.blame.step if found.blame else None

    def importance(position: int) -> tuple[bool, bool, int, float, int]:
        label = found.steps[position].label
        weighty = label == decisive or values[label] < 0
        return (position == blamed, weighty, linked[position], abs(values[label]), position)

    return sorted(range(len(found.steps)), key=importance, reverse=True)
