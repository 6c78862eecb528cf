"""Stretches: the sentences of a text, cut around the cues in them."""

from dataclasses import dataclass
from fractions import Fraction

from dca.domain.spans import Span
from reviewers.rules.cues import Cue, cues_in
from reviewers.rules.equations import Equation, Page
from reviewers.rules.sentences import sentences, trim

_STRENGTH = (Cue.RETRACT, Cue.TURN, Cue.CHECK, Cue.DOUBT)
"""Cues from the strongest to the weakest."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A sentence, or the part of one before, at or after a cue."""

    span: Span
    cue: Cue | None
    """The cue that it is, ``None`` for plain text."""
    equations: tuple[Equation, ...]
    """The equations that begin in it."""
    values: tuple[Fraction, ...]
    """The numbers in it."""


def stretches(text: str, page: Page) -> list[Stretch]:
    """Return the sentences of ``text``, cut around every cue."""
    found: list[Stretch] = []
    equation = numeral = 0
    for span, cue in _pieces(text):
        first, start = equation, numeral
        while equation < len(page.equations) and page.equations[equation].span.start < span.stop:
            equation += 1
        while numeral < len(page.numerals) and page.numerals[numeral].span.start < span.stop:
            numeral += 1
        values = tuple(n.value for n in page.numerals[start:numeral])
        found.append(Stretch(span, cue, page.equations[first:equation], values))
    return found


def _pieces(text: str) -> list[tuple[Span, Cue | None]]:
    pieces: list[tuple[Span, Cue | None]] = []
    for sentence in sentences(text):
        start = sentence.start
        for cue, where in cues_in(text, sentence.start, sentence.stop):
            pieces += [(span, None) for span in _plain(text, start, where.start)]
            pieces.append((where, cue))
            start = where.stop
        pieces += [(span, None) for span in _plain(text, start, sentence.stop)]
    return _joined(pieces)


def _joined(pieces: list[tuple[Span, Cue | None]]) -> list[tuple[Span, Cue | None]]:
    """Join cues that follow one another, "Wait, no. That's wrong", under the strongest."""
    joined: list[tuple[Span, Cue | None]] = []
    for span, cue in pieces:
        before = joined[-1] if joined else None
        if cue is not None and before is not None and before[1] is not None:
            strongest = min(cue, before[1], key=_STRENGTH.index)
            joined[-1] = (Span(before[0].start, span.stop), strongest)
        else:
            joined.append((span, cue))
    return joined


def _plain(text: str, start: int, stop: int) -> list[Span]:
    """Return the text between cues, without outer space; marks alone are nothing."""
    span = trim(text, start, stop)
    return [span] if any(sign.isalnum() for sign in span.text(text)) else []
