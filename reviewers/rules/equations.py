"""Equations in running text: found, evaluated and judged."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from dca.domain.spans import Span
from reviewers.rules.algebra import unread
from reviewers.rules.judge import about, check, doubtful, same_units, worded
from reviewers.rules.numbers import Verdict, compare
from reviewers.rules.scanner import tokenise
from reviewers.rules.sides import Side, is_label, left_end, read_sides, result_of, right_end
from reviewers.rules.tokens import Token, blocks
from reviewers.rules.widths import plain_widths

_EXPRESSION = r"[(\-]{0,12}+n[%w)]{0,9}+(?:[-+*/^][(\-]{0,12}+n[%w)]{0,9}+)*"
_RUN = re.compile(rf"{_EXPRESSION}(?:m?=m?{_EXPRESSION})*m?|m")
"""One expression, or several joined by equality signs, in the kinds of ``tokens``; or a mark."""


_REMEMBERED = 200_000
"""Longer texts are read again rather than kept."""


@dataclass(frozen=True, slots=True)
class Equation:
    """A chain of sides that the text says are equal, at least one of them a calculation."""

    span: Span
    """From the first side to the last number."""
    verdict: Verdict
    """The worst of its pairs."""
    operands: tuple[Fraction, ...]
    """The numbers that are calculated with, in text order."""
    between: tuple[Fraction, ...]
    """The values and the numbers of its later sides."""
    result: Fraction
    """The last side's value, as stated."""
    value: Fraction | None
    """What the first wrong pair's left side really is; the result when none is wrong."""
    key: tuple[str, ...]
    """The first calculation without spaces and units: equal for the same calculation."""
    sure: bool
    """Plain numbers only: no units, words, percentages or powers that could mean otherwise."""
    marked: bool
    """A calculator mark inside agrees with the stated result, whatever the words around it say."""


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number somewhere in the text."""

    span: Span
    """Where."""
    value: Fraction
    """Its value; that of "20%" is 20."""
    percent: bool
    """True when a percent sign follows."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a text says in numbers."""

    equations: tuple[Equation, ...]
    """In text order, without overlap."""
    numerals: tuple[Numeral, ...]
    """Every number in text order, those of the equations included."""
    unread: tuple[int, ...]
    """Where equalities stand that hold mathematics and could not be read, in text order."""

    def unread_before(self, stop: int) -> bool:
        """Tell whether such an equality stands before the code point ``stop``."""
        return bool(self.unread) and self.unread[0] < stop


def read_page(text: str) -> Page:
    """Return the equations and the numbers of ``text``. Linear in its length, for any text."""
    return _remembered(text) if len(text) <= _REMEMBERED else _read(text)


@lru_cache(maxsize=4)
def _remembered(text: str) -> Page:
    """Read once what several reviewers ask for one after the other."""
    return _read(text)


def _read(text: str) -> Page:
    text = plain_widths(text)
    equations: list[Equation] = []
    numerals: list[Numeral] = []
    missed: list[int] = []
    for start, stop in blocks(text):
        tokens = tokenise(text, start, stop)
        clean = start == 0 or text[start] == "\n"
        found = list(_equations(text, tokens, clean=clean))
        equations += found
        missed += unread(tokens, [equation.span for equation in found])
        numerals += _numerals(tokens)
    return Page(tuple(equations), tuple(numerals), tuple(missed))


def _numerals(tokens: Sequence[Token]) -> Iterator[Numeral]:
    last = len(tokens) - 1
    for position, token in enumerate(tokens):
        if token.value is not None:
            percent = position < last and tokens[position + 1].kind == "%"
            yield Numeral(Span(token.start, token.stop), token.value, percent)


def _equations(text: str, tokens: list[Token], *, clean: bool) -> Iterator[Equation]:
    """Yield the equations of one block; ``clean`` says that no line was cut before it."""
    kinds = "".join([token.kind for token in tokens])
    if "=" not in kinds and "m" not in kinds:
        return
    for run in _RUN.finditer(kinds):
        start, stop = run.span()
        found = None
        if "=" in run.group() and (clean or start > 0):
            found = _equation(text, tokens, kinds, start, stop)
        if found is not None:
            yield found
        else:
            yield from _marks(text, tokens[start:stop])


def _marks(text: str, tokens: Sequence[Token]) -> Iterator[Equation]:
    """Yield the equation inside a calculator mark whose surroundings cannot be read."""
    for mark in tokens:
        if mark.kind == "m":
            inner = tokenise(text, mark.start + 2, mark.stop - 2)
            kinds = "".join([token.kind for token in inner])
            if _RUN.fullmatch(kinds) and "=" in kinds:
                found = _equation(text, inner, kinds, 0, len(inner))
                if found is not None:
                    yield found


def _equation(
    text: str, tokens: list[Token], kinds: str, start: int, stop: int
) -> Equation | None:
    """Read the run of tokens ``[start, stop)``; ``None`` when it is no checkable equation."""
    start = left_end(text, tokens, kinds, start)
    stop = right_end(tokens, kinds, start, stop)
    if start < 0 or stop < 0:
        return None
    sides = read_sides(tokens, kinds, start, stop)
    if sides and not sides[0].calculated and is_label(tokens, kinds, sides[0]):
        sides = sides[1:]
    if len(sides) < 2 or not any(side.calculated for side in sides):
        return None
    return _judge(text, tokens, sides)


def _judge(text: str, tokens: list[Token], sides: list[Side]) -> Equation:
    """Check every neighbouring pair; the worst verdict is the chain's."""
    span = _phrase(text, tokens[sides[0].start].start, tokens[sides[-1].stop - 1].stop)
    verdict, value = Verdict.RIGHT, result_of(sides[-1])
    calculated = [side for side in sides if side.calculated]
    shown = tokens[sides[0].start : sides[-1].stop]
    key = _key(calculated[0])
    for left, right in pairwise(sides):
        chained = left.start > calculated[0].start and same_units(tokens, left, right)
        found = check(left, right, loose=about(tokens, left, right), chained=chained)
        if found is Verdict.WRONG and (
            doubtful(text, tokens, (sides[0], left, right))
            or (worded(text, tokens, left, right) and not _mark_reads(text, shown, key))
        ):
            found = Verdict.UNCLEAR
        if found is Verdict.WRONG:
            verdict, value = (
                found,
                (right if right.calculated and not left.calculated else left).value,
            )
            break
        if found is Verdict.UNCLEAR:
            verdict = found
    return Equation(
        span,
        verdict,
        _operands(sides),
        tuple(n.value or Fraction(0) for side in sides[1:] for n in side.numbers),
        result_of(sides[-1]),
        value,
        key,
        all(token.kind in "n+-*/()=m" and not token.text.isalpha() for token in shown),
        verdict is Verdict.WRONG and _mark_agrees(text, shown, sides[-1]),
    )


def _key(side: Side) -> tuple[str, ...]:
    return tuple(token.kind if token.value is None else str(token.value) for token in side.rpn)


def _mark_reads(text: str, tokens: Sequence[Token], key: tuple[str, ...]) -> bool:
    """Tell whether a calculator mark among the tokens holds the same calculation."""
    return any(inner.key == key for inner in _marks(text, tokens))


def _operands(sides: Sequence[Side]) -> tuple[Fraction, ...]:
    """Return the numbers calculated with, without those that an earlier side of the chain gave."""
    values: list[Fraction] = []
    reached: list[Fraction] = []
    for side in sides:
        for token in side.numbers if side.calculated else ():
            value, decimals = token.value or Fraction(0), token.decimals
            if all(compare(r, value, decimals) is not Verdict.RIGHT for r in reached[-4:]):
                values.append(value)
        reached += [side.value] if side.value is not None else []
    return tuple(values)


def _mark_agrees(text: str, tokens: Sequence[Token], last: Side) -> bool:
    """Tell whether a calculator mark among the tokens is right and gives the stated result."""
    stated = {result_of(last), last.value}
    return any(
        inner.verdict is Verdict.RIGHT and inner.result in stated for inner in _marks(text, tokens)
    )


def _phrase(text: str, start: int, stop: int) -> Span:
    """Take in the currency sign before the first number; a LaTeX dollar is none."""
    currency = start > 0 and text[start - 1] in "$€£¥₹"
    latex = text.startswith("$", stop)
    return Span(start - 1 if currency and not latex else start, stop)
