"""Where the values of a chain of thought come from: sentence by sentence, first to last."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dca.domain.spans import Span
from reviewers.rules.equations import Equation, Numeral, Page, read_page
from reviewers.rules.sentences import sentences

_ORDINARY = frozenset(
    Fraction(n)
    for n in (*range(11), 12, 14, 15, 16, 20, 24, 25, 28, 30, 31, 36, 40, 48, 50, 52, 60, 75, 80)
) | {Fraction(n) for n in (90, 100, 120, 144, 180, 360, 365, 366, 1000, 1760, 3600, 5280, 10**6)}
"""Whole numbers that a writer may use without having been given them."""
_LABEL = re.compile(
    r"(?:\b(?:step|day|week|month|year|case|part|option|question|problem|example|grade|method|"
    r"chapter|phase|equation|eq|no|number)\.?[ ]|\#)$",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w\\])([b-zB-HJ-Z])(?![\w'’])(\s?=(?!=))?")
_SPACED = re.compile(r"(?<![\w.,])[0-9]{1,3}(?: [0-9]{3}){1,4}(?![\w.,]?[0-9])")
_CLOCK = re.compile(r"[0-9]:[0-9]{2}")
_MAX_LOCAL = 8
"""Numbers of a sentence that are tried as the operands of a calculation in words."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One sentence and what flows through it. Positions are positions of segments."""

    span: Span
    """Where."""
    equations: tuple[int, ...]
    """Positions, on the page, of its equations."""
    outputs: tuple[Fraction, ...]
    """The values that it introduces: results, and numbers nobody stated before."""
    sources: tuple[int, ...]
    """Earlier segments whose values it calculates with, ascending."""
    given: bool
    """True when it calculates with or states a number of the problem."""
    known: bool
    """True when it states a number that an earlier segment introduced."""
    strange: tuple[Fraction, ...]
    """Numbers that come from nowhere: not given, not introduced before, not ordinary."""
    guessed: bool
    """True when an output was not calculated in an equation but fits one operation."""


class _Ledger:
    """Which segment introduced a value or a name last; what the problem gives."""

    def __init__(self, given: Iterable[Fraction]) -> None:
        self.given = set(given)
        self.latest: dict[Fraction, int] = {}
        self.names: dict[str, int] = {}
        self.near: list[Fraction] = []

    def enter(self, place: int, outputs: Iterable[Fraction], names: Iterable[str]) -> None:
        """Note what a segment introduces; a value is known without its sign and when rounded."""
        for value in outputs:
            for form in _forms(value):
                self.latest[form] = place
        for value in outputs:
            self.latest[value] = place
        self.names.update(dict.fromkeys(names, place))

    def explains(self, value: Fraction) -> bool:
        """Tell whether a value is given, introduced before, ordinary, or one of these rescaled."""
        if self.has(value) or value in _ORDINARY:
            return True
        rescaled = (value * 100, value / 100, 1 - value, 100 - value, value - 1, value - 100)
        inverse = 1 / value if value else value
        shares = (100 * (value - 1), 100 * (1 - value), inverse)
        return any(self.has(v) or (v in _ORDINARY and v != 0) for v in (*rescaled, *shares))

    def has(self, value: Fraction) -> bool:
        return value in self.latest or value in self.given

    def fits(self, value: Fraction, local: Sequence[Fraction]) -> tuple[Fraction, ...] | None:
        """Return the operands of one operation on known values that gives ``value``.

        One operand is among the sentence's own or the previous sentence's numbers.
        """
        here, near = set(local), set(self.near)
        for a in (*local[:_MAX_LOCAL], *self.near[:_MAX_LOCAL]):
            others = [value - a, a - value, value + a]
            if value and a:
                others += [value / a, a / value, value * a]
            for b in others:
                usual = a in here and (b in (2, 100) or self.has(b))
                if b not in (0, 1) and a != b and (usual or b in here or b in near):
                    return (a, b)
        return None


def _forms(value: Fraction) -> tuple[Fraction, ...]:
    """Return the forms in which a value may be written again."""
    if value.denominator == 1 or value.numerator.bit_length() > 200:
        return (-value,)
    cut = Fraction(int(value * 100), 100)
    rounded = (*(round(value, digits) for digits in range(5)), Fraction(int(value)), cut)
    return (-value, *rounded, *(-form for form in rounded))


def given_values(problem: str) -> set[Fraction]:
    """Return the numbers of the problem, those with spaces for thousands marks included."""
    values = {numeral.value for numeral in read_page(problem).numerals}
    return values | {
        Fraction(match.group().replace(" ", "")) for match in _SPACED.finditer(problem)
    }


def segments(text: str, page: Page, given: Iterable[Fraction]) -> list[Segment]:
    """Return the sentences of ``text`` with the flow of values between them.

    Args:
        text: The completion.
        page: Its equations and numbers.
        given: The numbers of the problem, see ``given_values``.
    """
    ledger = _Ledger(given)
    found: list[Segment] = []
    equation = numeral = 0
    for span in sentences(text):
        first = equation
        while equation < len(page.equations) and page.equations[equation].span.start < span.stop:
            equation += 1
        start = numeral
        while numeral < len(page.numerals) and page.numerals[numeral].span.start < span.stop:
            numeral += 1
        mine = range(first, equation)
        loose = _loose(text, span, page.numerals[start:numeral], page.equations[first:equation])
        found.append(_segment(text, span, page, mine, loose, ledger, len(found)))
    return found


def _loose(
    text: str, span: Span, numerals: Sequence[Numeral], equations: Sequence[Equation]
) -> list[Fraction]:
    """Return the numbers outside equations, without the numbers of lists, steps and days."""
    values: list[Fraction] = []
    for numeral in numerals:
        start, stop = numeral.span.start, numeral.span.stop
        inside = any(e.span.start <= start < e.span.stop for e in equations)
        item = start == span.start and text[stop : stop + 1] in (".", ")", ":")
        if not inside and not item and not _LABEL.search(text[max(0, start - 12) : start]):
            values.append(numeral.value)
    return values


def _segment(
    text: str,
    span: Span,
    page: Page,
    mine: range,
    loose: list[Fraction],
    ledger: _Ledger,
    place: int,
) -> Segment:
    """Read one sentence against what is known before it, and enter its values."""
    operands: list[Fraction] = []
    results: list[Fraction] = []
    strange: list[Fraction] = []
    for position in mine:
        equation = page.equations[position]
        inner = [value for value in equation.operands if value not in results]
        strange += [v for v in inner if v not in loose and not ledger.explains(v)]
        operands += inner
        results.append(equation.result)
        if equation.value is not None:
            results.append(equation.value)
    fresh = [v for v in loose if v not in results and not ledger.has(v) and v not in (0, 1)]
    names, defined = _names(text, span)
    readable = not names and _CLOCK.search(text, span.start, span.stop) is None
    guessed = False
    for value in dict.fromkeys(fresh):
        local = [v for v in (*loose, *results, *operands) if v != value]
        fit = ledger.fits(value, local)
        guessed = guessed or fit is not None
        operands += fit or ()
        if fit is None and readable and not ledger.explains(value):
            strange.append(value)
    used = {ledger.latest[v] for v in operands if v in ledger.latest}
    used |= {ledger.names[name] for name in names if name in ledger.names}
    outputs = tuple(dict.fromkeys((*results, *fresh)))
    stated = (*loose, *operands)
    segment = Segment(
        span,
        tuple(mine),
        outputs,
        tuple(sorted(used)),
        any(v in ledger.given for v in stated),
        any(v in ledger.latest for v in stated),
        tuple(dict.fromkeys(strange)),
        guessed,
    )
    ledger.enter(place, outputs, defined)
    ledger.near = [*results, *loose]
    return segment


def _names(text: str, span: Span) -> tuple[set[str], set[str]]:
    """Return the one-letter names that a sentence mentions, and those it gives a value."""
    if "=" not in text[span.start : span.stop] and len(span) > 200:
        return set(), set()
    matches = list(_NAME.finditer(text, span.start, span.stop))
    return {m[1] for m in matches}, {m[1] for m in matches if m[2]}
