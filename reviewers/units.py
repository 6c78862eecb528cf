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

_ENDS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_BARE = ("", " ", "\n")
"""What stands between most units: neither an indentation nor an empty line."""
_LINE_END = re.compile(rf"\r\n|[{_ENDS}]")

# Stretches that no cut may enter, never over the end of a line. Every repetition is bounded, so
# the scan is linear. A dollar sign opens a formula only as in TeX: not before a space, and not
# closed after one. Here and below one class of characters comes first, and a look behind asks
# which of them it was: the search then skips everything else without trying the alternatives.
_WHOLE = re.compile(
    rf"""
    [$\\`(\[{{h<]
    (?: (?<=\$)\$?(?=\S)[^${_ENDS}]{{1,160}}?(?<=\S)\$\$?(?!\d)   # $formula$
      | (?<=\\)\([^{_ENDS}]{{1,160}}?\\\)                         # \(formula\)
      | (?<=\\)\[[^{_ENDS}]{{1,160}}?\\\]                         # \[formula\]
      | (?<=`)[^`{_ENDS}]{{1,160}}`                               # `code`
      | (?<=\()[^(){_ENDS}]{{1,80}}\)                             # (aside)
      | (?<=\[)[^\[\]{_ENDS}]{{1,80}}\]                           # [list]
      | (?<=\{{)[^{{}}{_ENDS}]{{1,80}}\}}
      | (?<=h)ttps?://\S{{1,160}}
      | (?<=<)/?\w{{1,20}}>
    )
    """,
    re.VERBOSE,
)

_CLOSERS = r"[\"'”’»)\]}*_]{0,4}"
_CONNECTIVES = "so|but|because|therefore|thus|hence|since|then|which|while|whereas|and|or"
_INITIALS = r"[sbthwao\u017fSBTHWAO]"
"""First letters of the connectives, the long s too, which is an s in any case."""
_STOPS = ".!?:;؟؛۔।॥։።፧‽"
_PAUSES = ",،՝፣—–"
_WIDE_STOPS = "。！？；…︙"
_WIDE_PAUSES = "，、："

# A full stop after these ends no sentence. Words that often end one ("no.", "min.") are left out.
# Grouped by length, because what is looked for behind has one length.
_ABBREVIATIONS = (
    "cf|vs|eq|dr|mr|ms",
    r"e\.g|i\.e|eqs|fig|sec|mrs",
    "resp|figs|prof",
    r"w\.r\.t",
    "approx",
    r"w\.l\.o\.g",
)
_NO_ABBREVIATION = "".join(rf"(?<!\b(?i:{words})\.)" for words in _ABBREVIATIONS)


def _left(least: int) -> str:
    """Return the pattern that asks for ``least`` more code points of the line."""
    return rf"(?=[^{_ENDS}]{{{least}}})"


# A match ends where a unit may end. The name of the group says of what kind the cut is.
_CUT = re.compile(
    rf"""
    [ \t{_ENDS}{_STOPS}{_PAUSES}<{_WIDE_STOPS}{_WIDE_PAUSES}]
    (?: (?={_INITIALS})(?<=[ \t])(?=(?i:{_CONNECTIVES})[ \t]){_left(CLAUSE)}(?P<word>)
      | (?<![ \t])
        (?: (?<=[{_STOPS}]){_CLOSERS}(?=\s){_NO_ABBREVIATION}(?P<end>)  # of a sentence or clause
          | (?<=[{_PAUSES}]){_CLOSERS}(?=\s){_left(CLAUSE)}(?P<mild>)   # a clause in a sentence
          | (?<=[{_ENDS}])[{_ENDS}]*(?P<line>)
          | (?<=<)/?(?i:think|thinking|answer|solution)>(?P<tag>)       # of thought and answer
          | (?<=[{_WIDE_STOPS}])[{_WIDE_STOPS}]*[”’」』）】》]{{0,4}}(?P<wide>)  # need no space
          | (?<=[{_WIDE_PAUSES}]){_left(CLAUSE // 2)}(?P<comma>)        # need no space
        )
    )
    """,
    re.VERBOSE,
)
_LEAST = {"word": CLAUSE, "mild": CLAUSE, "comma": CLAUSE // 2, "end": 0, "tag": 0, "wide": 0}
"""Fewest code points between a cut of each kind and the one before."""

# A number or one letter at the beginning of a line numbers an item of a list.
_ITEM = re.compile(r"\s*[(\[]?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})[.:]", re.IGNORECASE)
_LOOKBACK = 12
"""Code points before a cut in which the number of an item is looked for."""


def cut_units(text: str) -> tuple[Span, ...]:
    """Return the units of ``text`` in order, as code point spans that hold no line end."""
    units: list[Span] = []
    start = 0
    for cut in _cuts(text):
        body = text[start:cut].strip()
        if body:
            begin = text.find(body, start, cut)
            clause = Span(begin, begin + len(body))
            if len(body) > LIMIT:
                units.extend(_short(text, clause))
            else:
                units.append(clause)
        start = cut
    return tuple(units)


def _cuts(text: str) -> list[int]:
    """Return where lines and clauses end, in order, the end of the text last."""
    whole = [match.span() for match in _WHOLE.finditer(text)]
    stretches = iter((*whole, (len(text), len(text) + 1)))
    opened, closed = next(stretches)
    cuts: list[int] = []
    line = last = 0
    for match in _CUT.finditer(text):
        at, kind = match.end(), match.lastgroup or ""
        if kind == "line":
            line = at
        else:
            while closed < at:
                opened, closed = next(stretches)
            if opened < at < closed or at - last < _LEAST[kind]:
                continue
            if kind == "end" and _numbers_item(text, line, at):
                continue
            if kind == "tag":
                cuts.append(match.start())
        cuts.append(at)
        last = at
    cuts.append(len(text))
    return cuts


def _numbers_item(text: str, line: int, at: int) -> bool:
    """Tell whether nothing but the number of an item stands before ``at`` in its line."""
    begin = at - _LOOKBACK
    if begin > line and not text[begin].isspace():
        return False
    return _ITEM.fullmatch(text, max(line, begin), at) is not None


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
        gap = text[before : unit.start]
        before = unit.stop
        if lines and gap in _BARE:
            lines.append(f"[{number}] {unit.text(text)}")
            continue
        gaps = _LINE_END.split(gap)
        if lines and len(gaps) > 2:
            lines.append("")
        indent = gaps[-1][:LIMIT] if len(gaps) > 1 or not lines else ""
        lines.append(f"[{number}] {indent}{unit.text(text)}")
    return "\n".join(lines)
