"""Equalities that no rule can check: algebra, functions, clock times, words as quantities."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from dca.domain.spans import Span
from reviewers.rules.tokens import Token

_CHUNK = re.compile(r"[^bW]+")
_MATHS = re.compile(r"[-+*/^]|[nqx)][qx]|[qx][n(]")
"""An operator, or a name beside a number or another name: "2x", "f(3)", "√9"."""
_READABLE = re.compile(r"(?:w++\(*+|[(\-]*+)n[%w)]*+(?:[-+*/^][(\-]*+n[%w)]*+)*m?")
_CLAIM = re.compile(r"[-+*/^A-Za-z]")
"""What a calculator mark holds that says more than "<<6=6>>"."""
_BULLETS = "-*+"


def unread(tokens: Sequence[Token], spans: Sequence[Span]) -> Iterator[int]:
    """Yield, in text order, where equalities stand that hold mathematics and cannot be checked.

    A name that is only given a value, "x = 3 * 4", can. An equality in words is mathematics only
    when it holds a one-letter name and both sides hold quantities: "x + 17 is 25".

    Args:
        tokens: The tokens of one block.
        spans: The equations that were read in it, in text order, without overlap.
    """
    kinds = "".join([_kind(tokens, place) for place in range(len(tokens))])
    for chunk in _CHUNK.finditer(kinds):
        signs = [i for i in range(*chunk.span()) if kinds[i] in "=m"]
        ends = [chunk.start() - 1, *(i for i in signs if kinds[i] == "="), chunk.end()]
        sides = [kinds[a + 1 : b] for a, b in pairwise(ends)]
        behind = accumulate((kinds[i] == "=" for i in signs), initial=0)
        for sign, side in zip(signs, behind, strict=False):
            if _read(tokens, sign, spans):
                continue
            if kinds[sign] == "m":
                if _CLAIM.search(tokens[sign].text):
                    yield tokens[sign].start
            elif _unreadable(tokens[sign], sides[side], sides[side + 1]):
                yield tokens[sign].start


def _kind(tokens: Sequence[Token], place: int) -> str:
    """Return the kind of a token: ``x`` for a one-letter name, ``w`` for a hyphen or a ``#``."""
    token = tokens[place]
    if token.kind == "q":
        if token.text == "#":
            return "w"
        return "x" if len(token.text) == 1 and token.text.isalpha() else "q"
    following = tokens[place + 1] if place + 1 < len(tokens) else token
    hyphen = token.kind == "-" and following.kind == "w" and token.stop == following.start
    return "w" if hyphen else token.kind


def _read(tokens: Sequence[Token], sign: int, spans: Sequence[Span]) -> bool:
    """Tell whether an equation that was read holds the sign, or stands in the mark at its side."""
    last = tokens[sign + 1] if sign + 1 < len(tokens) else tokens[sign]
    mark = last if tokens[sign].kind == "=" and last.kind == "m" else tokens[sign]
    before = bisect_right(spans, tokens[sign].start, key=_start) - 1
    if before >= 0 and tokens[sign].start < spans[before].stop:
        return True
    inside = bisect_left(spans, mark.start, key=_start)
    return inside < len(spans) and spans[inside].start < mark.stop


def _start(span: Span) -> int:
    return span.start


def _unreadable(sign: Token, left: str, right: str) -> bool:
    """Tell whether one side of an equality is mathematics, and not plain arithmetic."""
    sides = [side.lstrip(_BULLETS) for side in (left, right)]
    if not any(kind in side for side in sides for kind in "nqx"):
        return False
    odd = [_MATHS.search(side) and not _READABLE.fullmatch(side) for side in sides]
    if sign.text.isalpha():
        named = any(found and "x" in side for found, side in zip(odd, sides, strict=True))
        return named and all("n" in side or "x" in side for side in sides)
    return any(odd)
