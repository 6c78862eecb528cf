"""The sides of an equation: where they begin and end in a run of tokens, and their values."""

import re
from dataclasses import dataclass
from fractions import Fraction

from reviewers.rules.expressions import PercentRule, evaluate, postfix
from reviewers.rules.tokens import Token

_ITEM = re.compile(r"(?:^|b)\(?[nqw]\)$")
"""The label of a list item, "a)" or "(2)", in kinds."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of an equation. Positions are token positions in its block."""

    start: int
    stop: int
    rpn: list[Token]
    value: Fraction | None
    numbers: tuple[Token, ...]

    @property
    def calculated(self) -> bool:
        """True when it holds an operator: "-5" and "7" do not."""
        return len(self.numbers) > 1

    @property
    def percent(self) -> bool:
        """True when a number of it is a percentage."""
        return any(token.kind == "%" for token in self.rpn)


def left_end(text: str, tokens: list[Token], kinds: str, start: int) -> int:
    """Return where the readable sides begin, or -1.

    A side whose left neighbour belongs to it but cannot be read ("x + 3", "√9 + 1", "f(3)") is
    dropped; a bullet is not.
    """
    before = kinds[start - 1] if start else "b"
    head = tokens[start]
    # A tag that only dresses a number may stand on either side of the space.
    ends = (tokens[start - 1].stop if start else 0, head.start - 1)
    spaced = any(text[end : end + 1].isspace() for end in ends)
    if before in "bW=w":
        unread = head.kind == "(" and before in "wW" and not spaced
        if head.kind == "-" and text[head.stop : head.stop + 1].isspace():
            unread = before != "="
            if start == 0 or tokens[start - 1].text == "\n":
                return start + 1
    elif before in "-*+":
        unread = start > 1 and tokens[start - 2].text != "\n"
    else:
        unread = not (spaced and _ITEM.search(kinds[max(0, start - 4) : start]))
    return kinds.find("=", start) + 1 or -1 if unread else start


def right_end(tokens: list[Token], kinds: str, start: int, stop: int) -> int:
    """Return where the readable sides end, or -1: "= 3x" and "= 7 + tax" cannot be read."""
    after = kinds[stop] if stop < len(kinds) else "b"
    beyond = kinds[stop + 1] if stop + 1 < len(kinds) else "b"
    unread = after == "n" and kinds[stop - 1] in "n%)"
    # A tag or a bar behind an operator holds its operand.
    parted = any(token.text in ("<", "|") for token in tokens[stop + 1 : stop + 2])
    if after in "+*/^":
        unread = beyond != "b" or parted
    elif after == "-":
        unread = beyond == "q" or (beyond in "w(" and tokens[stop].text == "-")
        unread = parted or (unread and tokens[stop].stop < tokens[stop + 1].start)
    elif after == "q":
        unread = tokens[stop].text[:1] not in tuple("<>≤≥≠!#|")
        unread = unread or tokens[stop].text == "!"
    return kinds.rfind("=", start, stop) if unread else stop


def read_sides(tokens: list[Token], kinds: str, start: int, stop: int) -> list[Side]:
    """Return the longest readable stretch of sides, first one first."""
    sides: list[Side] = []
    while start < stop:
        end = kinds.find("=", start, stop)
        side = _side(tokens, start, stop if end < 0 else end)
        if side is not None:
            sides.append(side)
        elif len(sides) > 1:
            break
        else:
            sides = []
        start = stop if end < 0 else end + 1
    return sides


def _side(tokens: list[Token], start: int, stop: int) -> Side | None:
    """Read one side without the brackets that enclose the whole equation."""
    start, stop = _inside(tokens, start, stop)
    body = [token for token in tokens[start:stop] if token.kind != "m"]
    rpn = postfix(body)
    if rpn is None:
        return None
    numbers = tuple(token for token in body if token.kind == "n")
    return Side(start, stop, rpn, evaluate(rpn), numbers)


def _inside(tokens: list[Token], start: int, stop: int) -> tuple[int, int]:
    """Cut units, marks and unmatched brackets off both ends."""
    opened: list[int] = []
    for position in range(start, stop):
        if tokens[position].kind == "(":
            opened.append(position)
        elif tokens[position].kind == ")":
            if not opened:
                stop = position
                break
            opened.pop()
    if opened and opened == list(range(start, start + len(opened))):
        start += len(opened)
    while stop > start and tokens[stop - 1].kind in "wm":
        stop -= 1
    while start < stop and tokens[start].kind == "m":
        start += 1
    return start, stop


def is_label(tokens: list[Token], kinds: str, side: Side) -> bool:
    """Tell whether a lone number names a line ("Day 2 = 3 * 4") rather than states a value."""
    before = kinds[side.start - 1] if side.start else "b"
    sign = kinds[side.stop] if side.stop < len(kinds) else "b"
    words = sign != "=" or tokens[side.stop].text not in ("=", "≈")
    return words or before not in "b=("


def result_of(side: Side) -> Fraction:
    """Return a side's value; a lone "25%" is 25, as it is written."""
    if side.calculated or side.value is None:
        return side.value or Fraction(0)
    return evaluate(side.rpn, PercentRule.BARE) or Fraction(0)
