"""Numbers as people and models write them: commas, currencies, fractions, percent, exponents."""

import re
import unicodedata
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException

_context = Context(prec=34, Emax=999_999, Emin=-999_999)

# Repetitions are bounded: an unbounded one makes a hostile answer take minutes.
_digits = r"(?:(?:\d{1,3}(?:,\d{3}){1,40}(?!\d)|\d{1,400})(?:\.\d{0,400})?|\.\d{1,400})"
_power = (
    r"(?:[eE](?P<exponent>[+-]?\d{1,6})"
    r"|[ ]?(?:[×x*·]|\\times|\\cdot)[ ]?10(?:\^|\*\*)\{?(?P<power>[+-]?\d{1,6})\}?)?"
)
_number = re.compile(
    r"(?P<sign>[+-])?[ ]?[$€£¥]?[ ]?(?P<sign2>[+-])?"
    r"(?:\\[dt]?frac\{?(?P<top>[+-]?\d{1,400})\}?\{?(?P<bottom>[+-]?\d{1,400})\}?"
    rf"|(?P<plain>{_digits}){_power}"
    rf"(?:[ ]?/[ ]?(?P<under>{_digits})|[ ](?P<over>\d{{1,9}})/(?P<part>\d{{1,9}}))?)"
    r"[ ]?(?P<percent>%|percent\b)?"
)
_spacing = str.maketrans(
    {"−": "-", "–": "-", "\u2009": None, "\u202f": None, "\u00a0": " ", "％": "%", "，": ","}
)
_latex = re.compile(r"\{,\}|\\[,!;:]|\\(?=[$%])|\\(?:left|right|text|mathrm|mathbf)\b")
_joined = re.compile(r"[,:/-]\d")
"""What follows a number that is part of a list, a time, a date or a sum."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number that was read."""

    value: Decimal
    percent: bool
    """Whether a percent sign followed; ``value`` is the number before the sign."""


def read_number(text: str, *, last: bool = False) -> Number | None:
    """Return the number that a short answer states, ``None`` when it states none.

    In "x = 3 + 4 = 7 apples" that is what follows the last equals sign. Lists, times, dates and
    sums ("1,2", "12:30", "5-3") state no single number.

    Args:
        text: The answer, not a whole solution.
        last: Take the last number of the text instead of the first.
    """
    plain = _latex.sub("", _vulgar(text.translate(_spacing)))
    stated = plain[plain.rfind("=") + 1 :] if "=" in plain else plain
    found = list(_number.finditer(stated))
    if not found:
        return None
    chosen = found[-1 if last else 0]
    return None if _joined.match(stated, chosen.end()) else _value(chosen)


def equal_numbers(one: Number, other: Number, *, tolerance: float = 1e-6) -> bool:
    """Tell whether two numbers agree within a relative tolerance; 50% is both 50 and 0.5."""
    pairs = [(one.value, other.value)]
    if one.percent != other.percent:
        pairs.append((_fraction(one), _fraction(other)))
    return any(
        abs(left - right) <= Decimal(tolerance) * max(abs(left), abs(right))
        for left, right in pairs
    )


def _fraction(number: Number) -> Decimal:
    return _context.scaleb(number.value, -2) if number.percent else number.value


def _vulgar(text: str) -> str:
    """Write ``2½`` as ``2 1/2``."""
    if text.isascii():
        return text
    return "".join(
        " " + wide.replace("⁄", "/") if "⁄" in (wide := unicodedata.normalize("NFKC", c)) else c
        for c in text
    )


def _value(match: re.Match[str]) -> Number | None:
    sign = -1 if (match["sign"] == "-") != (match["sign2"] == "-") else 1
    try:
        if match["top"] is not None:
            value = _context.divide(Decimal(match["top"]), Decimal(match["bottom"]))
        else:
            value = _decimal(match)
    except DecimalException:
        return None
    return Number(sign * value, match["percent"] is not None)


def _decimal(match: re.Match[str]) -> Decimal:
    value = Decimal(match["plain"].replace(",", ""))
    exponent = match["exponent"] or match["power"]
    if exponent:
        value = _context.scaleb(value, int(exponent))
    if match["under"]:
        value = _context.divide(value, Decimal(match["under"].replace(",", "")))
    elif match["over"]:
        part = _context.divide(Decimal(match["over"]), Decimal(match["part"]))
        value = _context.add(value, part)
    return value
