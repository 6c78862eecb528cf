"""Cut a text into small units, a clause or shorter: the alphabet of the ``units`` protocol.

A unit is one line's worth of text without surrounding white space. Every code point that is not
white space belongs to exactly one unit. Units end at line ends, at sentence and clause
punctuation of many scripts, before English connectives in longer clauses, and in any case after
``LIMIT`` code points, at a space where there is one. Decimals, thousands, abbreviations, short
formulas, inline code, addresses and short parentheses stay whole.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from dca.domain.spans import Span

LIMIT = 200
"""Most code points of a unit."""

CLAUSE = 16
"""Fewest code points on either side of a cut at a comma or a connective."""

_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")

# Stretches that no cut may enter. Every repetition is bounded, so the scan is linear. A dollar
# sign opens a formula only as in TeX: not before a space, and not closed after one.
_WHOLE = re.compile(
    r"""
      \$\$?(?=\S)[^$\n]{1,160}?(?<=\S)\$\$?(?!\d)   # $formula$
    | \\\(.{1,160}?\\\) | \\\[.{1,160}?\\\]         # \(formula\)  \[formula\]
    | `[^`\n]{1,160}`                               # `code`
    | \([^()\n]{1,80}\) | \[[^\[\]\n]{1,80}\]       # (aside)  [list]
    | \{[^{}\n]{1,80}\}
    | https?://\S{1,160}
    | </?\w{1,20}>
    """,
    re.VERBOSE,
)

_CLOSERS = r"[\"'”’»)\]}*_]{0,4}"
_CONNECTIVES = "so|but|because|therefore|thus|hence|since|then|which|while|whereas|and|or"

# A match ends where a unit ends. The name of the group says how strong the cut is.
_CUT = re.compile(
    rf"""
      (?P<wide>[。！？；…︙]+[”’」』）】》]{{0,4}})              # full-width ends need no space
    | (?P<end>[.!?:;؟؛۔।॥։።፧‽]+{_CLOSERS})(?=\s)           # the end of a sentence or main clause
    | (?P<comma>[，、：])                                      # full-width commas need no space
    | (?P<mild>[,،՝፣—–]{_CLOSERS})(?=\s)                     # a clause within a sentence
    | (?P<tag></?(?:think|thinking|answer|solution)>)         # marks of thought and answer
    | (?P<word>[ \t](?=(?:{_CONNECTIVES})[ \t]))              # English clauses without comma
    """,
    re.VERBOSE | re.IGNORECASE,
)

# A full stop after these ends no sentence; a number or one letter at the beginning of a line
# numbers an item of a list. Words that often end a sentence ("no.", "min.") are left out.
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|cf|vs|approx|resp|eqs?|figs?|sec|dr|mr|mrs|ms|prof|w\.r\.t|w\.l\.o\.g)\.\Z"
    r"|^\s*[(\[]?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})[.:]\Z",
    re.IGNORECASE,
)
_LOOKBACK = 12
"""Code points before a full stop that can hold an abbreviation."""


def cut_units(text: str) -> tuple[Span, ...]:
    """Return the units of ``text`` in order, as code point spans that hold no line end."""
    units: list[Span] = []
    for line in _LINE.finditer(text):
        start, stop = line.span()
        for cut in (*_cuts(text, start, stop), stop):
            piece = text[start:cut]
            body = piece.strip()
            if body:
                begin = start + len(piece) - len(piece.lstrip())
                clause = Span(begin, begin + len(body))
                units.extend((clause,) if len(body) <= LIMIT else _short(text, clause))
            start = cut
    return tuple(units)


def _cuts(text: str, start: int, stop: int) -> Iterator[int]:
    """Yield where clauses of the line ``[start, stop)`` end."""
    whole = [match.span() for match in _WHOLE.finditer(text, start, stop)]
    inside = 0
    last = start
    for match in _CUT.finditer(text, start, stop):
        at = match.end()
        while inside < len(whole) and whole[inside][1] < at:
            inside += 1
        if inside < len(whole) and whole[inside][0] < at < whole[inside][1]:
            continue
        if match.lastgroup == "tag":
            yield match.start()
        elif not _ends_clause(text, match, (start, last, stop)):
            continue
        yield at
        last = at


def _ends_clause(text: str, match: re.Match[str], where: tuple[int, int, int]) -> bool:
    """Tell whether a candidate is a cut; ``where`` is line start, last cut and line stop."""
    line, last, stop = where
    at = match.end()
    if match.lastgroup == "end" and text[at - 1] in ".:":
        begin = max(line, at - _LOOKBACK)
        return _ABBREVIATION.search(text[begin:at] if begin > line else text[line:at]) is None
    if match.lastgroup in ("mild", "word"):
        return at - last >= CLAUSE and stop - at >= CLAUSE
    if match.lastgroup == "comma":
        return at - last >= CLAUSE // 2 and stop - at >= CLAUSE // 2
    return True


def _short(text: str, span: Span) -> Iterator[Span]:
    """Cut a clause that is too long, at the last space before the limit where there is one."""
    start = span.start
    while span.stop - start > LIMIT:
        cut = _break(text, start, start + LIMIT)
        yield from _trimmed(text, start, cut)
        start = cut
    yield from _trimmed(text, start, span.stop)


def _break(text: str, start: int, limit: int) -> int:
    """Return a place in ``(start, limit]`` to cut: a space, else between whole characters."""
    for at in range(limit, start + LIMIT // 2, -1):
        if text[at].isspace():
            return at
    for at in range(limit, start + LIMIT // 2, -1):
        if not _joined(text[at - 1], text[at]):
            return at
    return limit


def _joined(left: str, right: str) -> bool:
    """Tell whether two code points belong to one written character."""
    joiner = "\u200d"
    extends = (
        unicodedata.category(right) in ("Mn", "Mc", "Me") or "\U0001f3fb" <= right <= "\U0001f3ff"
    )
    return extends or joiner in (left, right)


def _trimmed(text: str, start: int, stop: int) -> Iterator[Span]:
    """Yield ``[start, stop)`` without surrounding white space, unless nothing is left."""
    piece = text[start:stop]
    body = piece.strip()
    if body:
        begin = start + len(piece) - len(piece.lstrip())
        yield Span(begin, begin + len(body))


def number_units(text: str, units: Sequence[Span], first: int = 1) -> str:
    """Return the text as numbered lines, one unit each: ``[1] ...``.

    Indentation at the beginning of a line of the text is kept, up to ``LIMIT`` code points, and
    an empty line of the text stays one empty line, so code and paragraphs can be recognised. No
    line begins with a number of the text's own.

    Args:
        text: Where the units are.
        units: Of the text, in order.
        first: Number of the first unit.
    """
    lines: list[str] = []
    before = 0
    for number, unit in enumerate(units, first):
        gaps = _LINE_END.split(text[before : unit.start])
        if lines and len(gaps) > 2:
            lines.append("")
        indent = gaps[-1][:LIMIT] if len(gaps) > 1 or not lines else ""
        lines.append(f"[{number}] {indent}{unit.text(text)}")
        before = unit.stop
    return "\n".join(lines)
