"""The ledger of known values: what the problem gives and which segment introduced what."""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from reviewers.rules.equations import read_page

ORDINARY = frozenset(
    Fraction(n)
    for n in (*range(11), 12, 14, 15, 16, 20, 24, 25, 28, 30, 31, 36, 40, 48, 50, 52, 60, 75, 80)
) | {Fraction(n) for n in (90, 100, 120, 144, 180, 360, 365, 366, 1000, 1760, 3600, 5280, 10**6)}
"""Whole numbers that a writer may use without having been given them."""
_SPACED = re.compile(r"(?<![\w.,])[0-9]{1,3}(?: [0-9]{3}){1,4}(?![\w.,]?[0-9])")
_MAX_LOCAL = 8
"""Numbers of a clause that are tried as operands of a calculation in words."""
_MAX_BITS = 200


class Ledger:
    """Which segment introduced a value or a name last; what the problem gives."""

    def __init__(self, given: Iterable[Fraction]) -> None:
        self.given = set(given)
        self.latest: dict[Fraction, int] = {}
        self.names: dict[str, int] = {}
        self.near: list[Fraction] = []
        """The numbers of the segment before."""

    def has(self, value: Fraction) -> bool:
        """Tell whether a value is given or was introduced before."""
        return value in self.latest or value in self.given

    def enter(self, place: int, outputs: Iterable[Fraction], names: Iterable[str]) -> None:
        """Note what a segment introduces; a value is also known without its sign and rounded."""
        for value in outputs:
            for form in _forms(value):
                self.latest[form] = place
        for value in outputs:
            self.latest[value] = place
        self.names.update(dict.fromkeys(names, place))

    def explains(self, value: Fraction) -> bool:
        """Tell whether a value is known, ordinary, or one of these as a share or per cent."""
        if self.has(value) or value in ORDINARY or value.numerator.bit_length() > _MAX_BITS:
            return True
        scaled = (value * 100, value / 100, 1 - value, 100 - value, value - 1, value - 100)
        shares = (100 * (value - 1), 100 * (1 - value), 1 / value if value else value)
        return any(self.has(v) or (v in ORDINARY and v != 0) for v in (*scaled, *shares))

    def fits(self, value: Fraction, local: Sequence[Fraction]) -> tuple[Fraction, ...]:
        """Return the operands of one operation on known values that gives ``value``, or ``()``.

        At least one operand is among the clause's own numbers, or both are in reach of the
        previous clause; 0 and 1 explain nothing.
        """
        here, near = set(local), set(self.near)
        for a in dict.fromkeys((*local[:_MAX_LOCAL], *self.near[:_MAX_LOCAL])):
            for b in _partners(value, a):
                usual = a in here and (b in (2, 100) or self.has(b))
                if b not in (0, 1) and a != b and (usual or b in here or b in near):
                    return (a, b)
        return ()


def given_values(problem: str) -> set[Fraction]:
    """Return the numbers of the problem, those with spaces for thousands marks included."""
    values = {numeral.value for numeral in read_page(problem).numerals}
    spaced = (match.group().replace(" ", "") for match in _SPACED.finditer(problem))
    return values | {Fraction(digits) for digits in spaced}


def _partners(value: Fraction, a: Fraction) -> tuple[Fraction, ...]:
    """Return every b with a + b, a - b, b - a, a * b, a / b or b / a equal to ``value``."""
    sums = (value - a, a - value, value + a)
    return (*sums, value / a, a / value, value * a) if value and a else sums


def _forms(value: Fraction) -> tuple[Fraction, ...]:
    """Return the other forms in which a value may be written again."""
    if value.denominator == 1 or value.numerator.bit_length() > _MAX_BITS:
        return (-value,)
    cut = Fraction(int(value * 100), 100)
    rounded = (*(round(value, digits) for digits in range(5)), Fraction(int(value)), cut)
    return (-value, *rounded, *(-form for form in rounded))
