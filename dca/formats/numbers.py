"""Numbers as people and models write them: commas, currencies, fractions, percent, exponents.

The file is long because what a number is and what takes its meaning away are read together.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException
from itertools import pairwise

_context = Context(prec=34, Emax=999_999, Emin=-999_999)

# Repetitions are bounded: an unbounded one makes a hostile answer take minutes.
_thousands = r"\d{1,3}(?:,\d{3}){1,40}(?!\d)|[1-9]\d{0,2}(?:[ ]\d{3}){1,40}(?![\d/])"
_digits = rf"(?:(?:{_thousands}|\d{{1,400}})(?:\.\d{{0,400}})?|\.\d{{1,400}})"
_power = (
    r"(?:[eE](?P<exponent>[+-]?\d{1,6})"
    r"|[ ]?(?:[×x*·]|\\times|\\cdot)[ ]?10(?:\^|\*\*)\{?(?P<power>[+-]?\d{1,6})\}?)?"
)
_number = re.compile(
    r"(?P<sign>[+-])?[ ]?[$€£¥]?[ ]?(?P<sign2>[+-])?"
    r"(?:\\[dt]?frac\{?(?P<top>[+-]?\d{1,400})\}?\{?(?P<bottom>[+-]?\d{1,400})\}?"
    rf"|(?P<plain>{_digits}){_power}"
    rf"(?:[ ]?/[ ]?(?P<under>{_digits})|[ ](?:and[ ])?(?P<over>\d{{1,9}})/(?P<part>\d{{1,9}}))?)"
    r"(?:[ ]?(?P<percent>%|percent\b))?"
)
_spacing = str.maketrans(
    {"−": "-", "–": "-", "\u2009": " ", "\u202f": " ", "\u00a0": " ", "％": "%", "，": ","}
)
_grouping = str.maketrans({",": None, " ": None})
_latex = re.compile(r"\{,\}|\\[,!;:]|\\(?=[$%])|\\(?:left|right|text|mathrm|mathbf)\b")
_next = r"(?=[+-]?[ ]?[$€£¥]?[ ]?[+-]?(?:\\[dt]?frac|\.?\d))"
"""Where another number begins."""
_tie = re.compile(
    r"(?:[ ]?(?:[,;:/^*×÷+~-]|x|\\times|\\cdot|\\div)[ ]?"
    r"|[ ](?:times|plus|minus|to|through|(?:divided|multiplied)[ ]by)[ ]|(?<=%)[ ]of[ ]"
    r"|(?:[ ][^\W\d]{1,20}){0,2},?[ ][(]?(?:(?P<either>or)|and)[ ]"
    rf"(?:(?:maybe|perhaps|possibly)[ ])?){_next}"
)
"""What joins a number to the next one, so that neither is what the text states: a list, a choice,
a range, a time, a date, a sum."""
_refused = re.compile(
    r"(?:≠|\\neq?\b|\b(?:not|cannot|never|nor|neither|except|than|instead[ ]of)\b|n['’]t\b)"
    r"(?:[ ](?:be|is|equals?|equal[ ]to|exactly|just|only|simply)){0,2}[ ]?\Z",
    re.IGNORECASE,
)
"""What stands before a number that the text rules out or compares with."""
_label = re.compile(
    r"\b(?:step|equation|eq\.|line|part|problem|question|case)s?[ ]?[(]?\Z", re.IGNORECASE
)
"""What stands before a number that only names a place in the text."""
_aside = re.compile(r"(?<!\\)(?:\((?!or\b)[^()]{0,200}\)|\[[^][]{0,200}\])")
"""A remark; ``\\(`` and ``\\[`` open a formula."""
_again = re.compile(r"\b([A-Za-z]\w{0,9})[ ]?=[^=]{1,60}(?:[,;]|\bor\b|\band\b)[ ]?\1[ ]?=")
"""Two values of one variable: "x = 3 or x = 4"."""
LONGEST = 10_000
"""Code points of an answer that are read."""
_BEFORE = 40
"""Code points before a number that are looked at."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number that was read."""

    value: Decimal
    percent: bool
    """Whether a percent sign followed; ``value`` is the number before the sign."""


def read_number(text: str, *, last: bool = False) -> Number | None:
    """Return the number that a short answer states, ``None`` when it states none.

    In "x = 3 + 4 = 7 apples" that is what follows the last equals sign, in "20% of 90, which is
    18" what is no part of a sum. Lists, choices, ranges, times, dates and sums ("1,2", "5 or 6",
    "between 3 and 5", "12:30", "5-3") state no single number, and "not 3" or "more than 3" none.
    Two forms of one number ("1/2 or 0.5") do.

    Args:
        text: The answer, not a whole solution: of a longer text only the first ``LONGEST`` code
            points are read.
        last: Take the last number of the text instead of the first, of a longer text its last
            ``LONGEST`` code points.
    """
    text = text[-LONGEST:] if last else text[:LONGEST]
    plain = _latex.sub("", _vulgar(text.translate(_spacing))).replace("!=", "≠")
    if _again.search(plain):
        return None
    stated = plain[plain.rfind("=") + 1 :] if "=" in plain else plain
    bare = _aside.sub("", stated)
    found = _stated_numbers(bare) or _stated_numbers(stated)
    return found[-1 if last else 0] if found else None


def _stated_numbers(text: str) -> list[Number]:
    """Return the numbers that stand for themselves, in order."""
    matches = [
        match
        for match in _number.finditer(text)
        if not _label.search(text, max(0, match.start() - _BEFORE), match.start())
    ]
    tied = _tied(text, matches)
    values = [
        _value(match)
        for match, is_tied in zip(matches, tied, strict=True)
        if not is_tied
        and not _refused.search(text, max(0, match.start() - _BEFORE), match.start())
    ]
    return [value for value in values if value is not None]


def _tied(text: str, matches: Sequence[re.Match[str]]) -> list[bool]:
    """Tell of each number whether it is joined to the one before or after it."""
    tied = [False] * len(matches)
    for place, (one, other) in enumerate(pairwise(matches)):
        tie = _tie.match(text, one.end())
        if tie is None or tie.end() < other.start() or tie.start() > other.start():
            continue
        if not (tie["either"] and _agree(one, other)):
            tied[place] = tied[place + 1] = True
    return tied


def _agree(one: re.Match[str], other: re.Match[str]) -> bool:
    """Tell whether two forms of a number mean the same."""
    left, right = _value(one), _value(other)
    return left is not None and right is not None and equal_numbers(left, right)


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
    value = Decimal(match["plain"].translate(_grouping))
    exponent = match["exponent"] or match["power"]
    if exponent:
        value = _context.scaleb(value, int(exponent))
    if match["under"]:
        value = _context.divide(value, Decimal(match["under"].translate(_grouping)))
    elif match["over"]:
        part = _context.divide(Decimal(match["over"]), Decimal(match["part"]))
        value = _context.add(value, part)
    return value
