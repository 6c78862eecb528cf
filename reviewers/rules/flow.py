"""Where the values of a chain of thought come from: clause by clause, first to last."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from dca.domain.spans import Span
from reviewers.rules.equations import Equation, Numeral, Page
from reviewers.rules.ledger import Ledger
from reviewers.rules.sentences import clauses, sentences
from reviewers.rules.widths import plain_widths

_LABEL = re.compile(
    r"(?:\b(?:step|day|week|month|year|case|part|option|question|problem|example|grade|method|"
    r"chapter|phase|equation|eq|no|number)\.?[ ]|\#)$",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![^\W\d]|\\)([b-zB-HJ-Z])(?![\w'’])(\s?=(?!=))?")
_UNREAD = re.compile(
    r"\d:\d\d|\d!|√|\^"
    r"|\b(?:sqrt|ln|log|sin|cos|tan|mod|maybe|perhaps|around|roughly|guess|about)\b"
    r"|\\(?!times|cdot|d?frac|div|text|boxed|left|right|quad|approx|[^A-Za-z])",
    re.IGNORECASE,
)
"""Signs of mathematics, clock times and guesses, whose numbers cannot be traced."""
_RANGE = re.compile(r"\d[-–]\d(?![^\n]{0,40}=)")
_MAX_FRESH = 12
"""Numbers in the words of one clause whose origin is looked for."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One clause and what flows through it. Positions are positions of segments."""

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


def segments(text: str, page: Page, given: Iterable[Fraction]) -> list[Segment]:
    """Return the clauses of ``text`` with the flow of values between them.

    Args:
        text: The completion.
        page: Its equations and numbers.
        given: The numbers of the problem, see ``given_values`` of the ledger.
    """
    plain = plain_widths(text)
    ledger = Ledger(given)
    found: list[Segment] = []
    equation = numeral = 0
    for span in (clause for sentence in sentences(text) for clause in clauses(text, sentence)):
        first = equation
        while equation < len(page.equations) and page.equations[equation].span.start < span.stop:
            equation += 1
        start = numeral
        while numeral < len(page.numerals) and page.numerals[numeral].span.start < span.stop:
            numeral += 1
        mine = range(first, equation)
        loose = _loose(plain, span, page.numerals[start:numeral], page.equations[first:equation])
        found.append(_segment(plain, span, page, mine, loose, ledger, len(found)))
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


@dataclass(slots=True)
class _Draft:
    """A segment while it is read."""

    operands: list[Fraction] = field(default_factory=list[Fraction])
    results: list[Fraction] = field(default_factory=list[Fraction])
    between: list[Fraction] = field(default_factory=list[Fraction])
    strange: list[Fraction] = field(default_factory=list[Fraction])
    guessed: bool = False


def _segment(
    text: str,
    span: Span,
    page: Page,
    mine: range,
    loose: list[Fraction],
    ledger: Ledger,
    place: int,
) -> Segment:
    """Read one clause against what is known before it, and enter its values."""
    draft = _Draft()
    names, defined = _names(text, span)
    readable = not names and _UNREAD.search(text, span.start, span.stop) is None
    for position in mine:
        _calculate(draft, page.equations[position], loose, ledger, readable)
    fresh = [v for v in loose if v not in draft.results and not ledger.has(v) and v not in (0, 1)]
    readable = readable and _RANGE.search(text, span.start, span.stop) is None
    _say(draft, list(dict.fromkeys(fresh)), loose, ledger, readable)
    used = {ledger.latest[v] for v in draft.operands if v in ledger.latest}
    used |= {ledger.names[name] for name in names if name in ledger.names}
    outputs = tuple(dict.fromkeys((*draft.results, *fresh)))
    stated = (*loose, *draft.operands)
    segment = Segment(
        span,
        tuple(mine),
        outputs,
        tuple(sorted(used)),
        any(v in ledger.given for v in stated),
        any(v in ledger.latest for v in stated),
        tuple(dict.fromkeys(draft.strange)),
        draft.guessed,
    )
    between = [value for value in draft.between if not ledger.has(value)]
    ledger.enter(place, (*between, *outputs), defined)
    ledger.near = [*draft.results, *loose]
    return segment


def _calculate(
    draft: _Draft, equation: Equation, loose: list[Fraction], ledger: Ledger, readable: bool
) -> None:
    """Enter an equation; what its later sides bring in follows from the first."""
    inner = [value for value in equation.operands if value not in draft.results]
    if readable:
        known = {*loose, *draft.between, *equation.between}
        draft.strange += [v for v in inner if v not in known and not ledger.explains(v)]
    draft.operands += inner
    draft.between += equation.between
    draft.results.append(equation.result)
    if equation.value is not None:
        draft.results.append(equation.value)


def _say(
    draft: _Draft, fresh: list[Fraction], loose: list[Fraction], ledger: Ledger, readable: bool
) -> None:
    """Find out how the numbers in words come about."""
    around = list(dict.fromkeys((*loose, *draft.results, *draft.operands)))
    for value in fresh[:_MAX_FRESH]:
        fit = ledger.fits(value, [v for v in around[: 2 * _MAX_FRESH] if v != value])
        draft.guessed = draft.guessed or bool(fit)
        draft.operands += fit
        exact = value.denominator <= 100  # finer numbers are rounded, and fit nothing exactly
        if not fit and readable and exact and not ledger.explains(value):
            draft.strange.append(value)


def _names(text: str, span: Span) -> tuple[set[str], set[str]]:
    """Return the one-letter names that a clause mentions, and those it gives a value."""
    if "=" not in text[span.start : span.stop] and len(span) > 200:
        return set(), set()
    matches = list(_NAME.finditer(text, span.start, span.stop))
    return {m[1] for m in matches}, {m[1] for m in matches if m[2]}
