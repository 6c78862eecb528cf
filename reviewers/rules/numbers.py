"""Numbers as they are written: numerals, number words and what a rounding may look like."""

import re
from enum import StrEnum
from fractions import Fraction

MAX_DIGITS = 40
"""A longer run of digits is an identifier, not a quantity."""

_ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_PARTS = """half/2 halves/2 third/3 thirds/3 fourth/4 fourths/4 quarter/4 quarters/4 fifth/5
fifths/5 sixth/6 sixths/6 seventh/7 sevenths/7 eighth/8 eighths/8 ninth/9 ninths/9 tenth/10
tenths/10"""

UNITS = {word: value for value, word in enumerate(_ONES.split())}
TENS = {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9}
PARTS = {word: int(below) for word, _, below in (part.partition("/") for part in _PARTS.split())}
"""Denominators of fraction words. All but ``half`` are read as fractions only in company."""
MULTIPLES = {"twice": 2, "double": 2, "thrice": 3, "triple": 3, "quadruple": 4}

_GROUPED = re.compile(r"[0-9]{1,3}(?:(?:,|\{,\}|\\,)[0-9]{3})+(?:\.[0-9]++)?")
_PLAIN = re.compile(r"([0-9]*+)\.?([0-9]*+)(?:[eE]([+-]?[0-9]{1,3}))?")
_MAX_EXPONENT = 30
_NOISE = 10**11
"""A relative error below one part in this is that of binary floating point."""


class Verdict(StrEnum):
    """What a check of a stated value against its computed value found."""

    RIGHT = "right"
    WRONG = "wrong"
    UNCLEAR = "unclear"
    """Neither: rounding, units or context may explain the difference."""


def numeral(raw: str) -> tuple[Fraction, int] | None:
    r"""Return the value of a written numeral and its number of decimals, exactly.

    ``raw`` is digits with optional thousands marks (``,``, ``{,}``, ``\\,``), decimals and
    exponent. Returns ``None`` for what is no single number: versions, clock times, lists without
    spaces, decimal commas, and runs of more than 40 digits.
    """
    if len(raw) > 2 * MAX_DIGITS:
        return None
    if raw.isdigit():
        return (Fraction(int(raw)), 0) if len(raw) <= MAX_DIGITS else None
    if _GROUPED.fullmatch(raw):
        raw = raw.replace("{,}", "").replace("\\,", "").replace(",", "")
    match = _PLAIN.fullmatch(raw)
    if match is None:
        return None
    whole, decimals, exponent = match.groups()
    shift = int(exponent or 0) - len(decimals)
    if abs(shift) > _MAX_EXPONENT:
        return None
    digits = int(whole + decimals)
    value = Fraction(digits * 10**shift) if shift >= 0 else Fraction(digits, 10**-shift)
    return value, max(0, -shift)


def compare(value: Fraction, stated: Fraction, decimals: int, *, loose: bool = False) -> Verdict:
    """Check ``stated``, written with ``decimals`` decimals, against the exact ``value``.

    Right: equal, a correct rounding (ties either way), cut after two or more decimals, or equal
    but for the noise of binary floating point. Unclear: cut to a whole number or to one decimal
    (a count may be rounded up or down on purpose), or, when ``loose`` (the text says "about"),
    within five per cent. Wrong: everything else.
    """
    if value == stated:
        return Verdict.RIGHT
    gap = abs(value - stated)
    exact = value.denominator == stated.denominator == 1 and abs(value) < _NOISE
    found = Verdict.WRONG if exact else _rounded(value, stated, decimals, gap)
    excused = loose and 20 * gap <= abs(value)
    return Verdict.UNCLEAR if found is Verdict.WRONG and excused else found


def _rounded(value: Fraction, stated: Fraction, decimals: int, gap: Fraction) -> Verdict:
    step = Fraction(1, 10**decimals)
    if 2 * gap <= step or gap <= abs(value) / _NOISE:
        return Verdict.RIGHT
    if gap >= step:
        return Verdict.WRONG
    cut = abs(stated) < abs(value) and decimals >= 2
    return Verdict.RIGHT if cut else Verdict.UNCLEAR


def show(value: Fraction) -> str:
    """Return ``value`` for a reason: a whole number, an exact decimal, or four decimals."""
    if value.denominator == 1:
        return str(value.numerator) if value.numerator.bit_length() < 200 else "a huge number"
    if value.numerator.bit_length() > 200 or value.denominator.bit_length() > 200:
        return "a fraction with many digits"
    return f"{float(value):.4f}".rstrip("0").rstrip(".")
