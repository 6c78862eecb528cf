"""Equations in running text: found, evaluated and judged."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from dca.domain.spans import Span
from reviewers.rules.expressions import PercentRule, evaluate, postfix
from reviewers.rules.lexicon import CONVERTIBLE
from reviewers.rules.numbers import SCALES, Verdict, compare
from reviewers.rules.tokens import Token, blocks, tokenise

_EXPRESSION = r"[(\-]{0,12}+n[%w)]{0,9}+(?:[-+*/^][(\-]{0,12}+n[%w)]{0,9}+)*+"
_RUN = re.compile(rf"{_EXPRESSION}(?:m?=m?{_EXPRESSION})*+m?|m")
"""One expression, or several joined by equality signs, in the kinds of ``tokens``; or a mark."""

_ITEM = re.compile(r"(?:^|b)\(?[nq]\)$")
"""The label of a list item, "a)" or "(2)", in kinds."""
_REMEMBERED = 65_536
"""Longer texts are read again rather than kept."""
_RATIOS = frozenset(
    Fraction(n) for n in (2, 3, 4, 7, 8, 10, 12, 16, 24, 25, 30, 36, 52, 60, 100, 365, 1000, 3600)
)
_DOUBT_BEFORE = re.compile(
    r"\b(?:if|suppose|assum\w{1,4}|whether|not|never|instead of|rather than|does|is|n't)"
    r"(?:\W{1,3}\w{1,12}){0,1}\W{0,3}$",
    re.IGNORECASE,
)
_DOUBT_AFTER = re.compile(
    r"[^\w.\n]{0,8}(?:\?|\(mod|(?:is|was|would be|seems) (?:not|wrong|incorrect|false|n't))|"
    r" ?(?:remainder|rem|mod|r)\b|[^\n.]{0,60}\?",
    re.IGNORECASE,
)


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


@dataclass(frozen=True, slots=True)
class _Side:
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
        return any(token.kind == "%" for token in self.rpn)


def read_page(text: str) -> Page:
    """Return the equations and the numbers of ``text``. Linear in its length, for any text."""
    return _remembered(text) if len(text) <= _REMEMBERED else _read(text)


@lru_cache(maxsize=4)
def _remembered(text: str) -> Page:
    """Read once what several reviewers ask for one after the other."""
    return _read(text)


def _read(text: str) -> Page:
    equations: list[Equation] = []
    numerals: list[Numeral] = []
    for start, stop in blocks(text):
        tokens = tokenise(text, start, stop)
        clean = start == 0 or text[start] == "\n"
        equations.extend(_equations(text, tokens, clean=clean))
        numerals.extend(_numerals(tokens))
    return Page(tuple(equations), tuple(numerals))


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
    start = _left_end(text, tokens, kinds, start)
    stop = _right_end(tokens, kinds, start, stop)
    if start < 0 or stop < 0:
        return None
    sides = _sides(tokens, kinds, start, stop)
    if sides and not sides[0].calculated and _is_label(tokens, kinds, sides[0]):
        sides = sides[1:]
    if len(sides) < 2 or not any(side.calculated for side in sides):
        return None
    return _judge(text, tokens, sides)


def _left_end(text: str, tokens: list[Token], kinds: str, start: int) -> int:
    """Return where the readable sides begin, or -1.

    A side whose left neighbour belongs to it but cannot be read ("x + 3", "√9 + 1", "f(3)") is
    dropped; a bullet is not.
    """
    before = kinds[start - 1] if start else "b"
    head = tokens[start]
    spaced = text[head.start - 1 : head.start].isspace()
    if before in "bW=w":
        unread = head.kind == "(" and before in "wW" and not spaced
        if head.kind == "-" and text[head.stop : head.stop + 1].isspace():
            unread = before != "="
            if start == 0 or tokens[start - 1].text == "\n":
                return start + 1
    elif before in "-*+":
        unread = start > 1 and tokens[start - 2].text != "\n"
    else:
        unread = not (spaced and _ITEM.search(kinds, 0, start))
    return kinds.find("=", start) + 1 or -1 if unread else start


def _right_end(tokens: list[Token], kinds: str, start: int, stop: int) -> int:
    """Return where the readable sides end, or -1: "= 3x" and "= 7 + tax" cannot be read."""
    after = kinds[stop] if stop < len(kinds) else "b"
    beyond = kinds[stop + 1] if stop + 1 < len(kinds) else "b"
    unread = after == "n"
    if after in "+*/^":
        unread = beyond != "b"
    elif after == "-":
        unread = beyond == "q" or (beyond in "wW(" and tokens[stop].text == "-")
        unread = unread and tokens[stop].stop < tokens[stop + 1].start
    elif after == "q":
        unread = tokens[stop].text[:1] not in tuple("<>≤≥≠!#|")
        unread = unread or tokens[stop].text == "!"
    return kinds.rfind("=", start, stop) if unread else stop


def _sides(tokens: list[Token], kinds: str, start: int, stop: int) -> list[_Side]:
    """Return the longest readable stretch of sides, first one first."""
    sides: list[_Side] = []
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


def _side(tokens: list[Token], start: int, stop: int) -> _Side | None:
    """Read one side without the brackets that enclose the whole equation."""
    start, stop = _inside(tokens, start, stop)
    body = [token for token in tokens[start:stop] if token.kind != "m"]
    rpn = postfix(body)
    if rpn is None:
        return None
    numbers = tuple(token for token in body if token.kind == "n")
    return _Side(start, stop, rpn, evaluate(rpn), numbers)


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


def _is_label(tokens: list[Token], kinds: str, side: _Side) -> bool:
    """Tell whether a lone number names a line ("Day 2 = 3 * 4") rather than states a value."""
    before = kinds[side.start - 1] if side.start else "b"
    sign = kinds[side.stop] if side.stop < len(kinds) else "b"
    words = sign != "=" or tokens[side.stop].text not in ("=", "≈")
    return words or before not in "b=("


def _judge(text: str, tokens: list[Token], sides: list[_Side]) -> Equation:
    """Check every neighbouring pair; the worst verdict is the chain's."""
    span = _phrase(text, tokens[sides[0].start].start, tokens[sides[-1].stop - 1].stop)
    verdict, value = Verdict.RIGHT, _result(sides[-1])
    for left, right in pairwise(sides):
        found = _check(left, right, loose=_about(tokens, left, right))
        if found is Verdict.WRONG and _doubtful(text, tokens, (sides[0], left, right)):
            found = Verdict.UNCLEAR
        if found is Verdict.WRONG:
            verdict, value = found, (left if left.calculated else right).value
            break
        if found is Verdict.UNCLEAR:
            verdict = found
    calculated = [side for side in sides if side.calculated]
    shown = tokens[sides[0].start : sides[-1].stop]
    return Equation(
        span,
        verdict,
        _operands(sides),
        tuple(n.value or Fraction(0) for side in sides[1:] for n in side.numbers),
        _result(sides[-1]),
        value,
        tuple(str(token.value or token.kind) for token in calculated[0].rpn),
        all(token.kind in "n+-*/()=m" and not token.text.isalpha() for token in shown),
        verdict is Verdict.WRONG and _mark_agrees(text, shown, sides[-1]),
    )


def _operands(sides: Sequence[_Side]) -> tuple[Fraction, ...]:
    """Return the numbers calculated with, without those that an earlier side of the chain gave."""
    values: list[Fraction] = []
    reached: list[Fraction] = []
    for side in sides:
        for token in side.numbers if side.calculated else ():
            value, decimals = token.value or Fraction(0), token.decimals
            if all(compare(r, value, decimals) is not Verdict.RIGHT for r in reached):
                values.append(value)
        reached += [side.value] if side.value is not None else []
    return tuple(values)


def _mark_agrees(text: str, tokens: Sequence[Token], last: _Side) -> bool:
    """Tell whether a calculator mark among the tokens is right and gives the stated result."""
    stated = {_result(last), last.value}
    return any(
        inner.verdict is Verdict.RIGHT and inner.result in stated for inner in _marks(text, tokens)
    )


def _phrase(text: str, start: int, stop: int) -> Span:
    """Take in the currency sign before the first number; a LaTeX dollar is none."""
    currency = start > 0 and text[start - 1] in "$€£¥₹"
    latex = text.startswith("$", stop)
    return Span(start - 1 if currency and not latex else start, stop)


def _result(side: _Side) -> Fraction:
    """Return a side's value; a lone "25%" is 25, as it is written."""
    if side.calculated or side.value is None:
        return side.value or Fraction(0)
    return evaluate(side.rpn, PercentRule.BARE) or Fraction(0)


def _about(tokens: list[Token], left: _Side, right: _Side) -> bool:
    between = {token.text for token in tokens[left.stop : right.start]}
    return not between.isdisjoint({"≈", "≃", "about", "approximately", "roughly"})


def _check(left: _Side, right: _Side, *, loose: bool) -> Verdict:
    """Judge ``left = right``, granting every usual reading of percentages and running sums."""
    if left.value is None or right.value is None:
        return Verdict.UNCLEAR
    if not left.calculated and right.calculated:
        left, right = right, left
    rules = list(PercentRule) if left.percent or right.percent else [PercentRule.SHARE]
    values = [value for rule in rules if (value := evaluate(left.rpn, rule)) is not None]
    found = {
        compare(value, target, decimals, loose=loose)
        for value in values
        for target, decimals in _targets(right)
    }
    if right.calculated:
        found.add(_runs_on(values[0], right.numbers[0]))
    if Verdict.RIGHT in found:
        return Verdict.RIGHT
    lone = not left.calculated and not right.calculated
    if Verdict.UNCLEAR in found or lone or _rounded_on_the_way(left, right):
        return Verdict.UNCLEAR
    return Verdict.WRONG


def _runs_on(value: Fraction, head: Token) -> Verdict:
    """Judge the running style "3 + 4 = 7 + 2 = 9", where the next side starts from 7."""
    return compare(value, head.value or Fraction(0), head.decimals)


def _targets(side: _Side) -> Iterator[tuple[Fraction, int]]:
    """Yield the values, with their decimals, that a stated side may mean."""
    decimals = 12 if side.calculated else side.numbers[0].decimals
    for rule in PercentRule if side.percent else (PercentRule.SHARE,):
        value = evaluate(side.rpn, rule)
        if value is not None:
            shift = 2 if side.percent and rule is not PercentRule.BARE else 0
            yield value, decimals + shift


def _rounded_on_the_way(left: _Side, right: _Side) -> bool:
    """Tell whether operands that were themselves rounded explain the gap: "0.33 * 900 = 300"."""
    if left.value is None or right.value is None:
        return False
    gap = abs(left.value - right.value)
    operands = left.numbers + (right.numbers if right.calculated else ())
    rounded = [n for n in operands if n.decimals >= 2 and n.value]
    absolute = sum((Fraction(1, 10**n.decimals) for n in rounded), Fraction(0))
    relative = sum((Fraction(1, 10**n.decimals) / abs(n.value or 1) for n in rounded), Fraction(0))
    return bool(rounded) and gap <= max(absolute, relative * max(abs(left.value), 1))


def _doubtful(text: str, tokens: list[Token], sides: Sequence[_Side]) -> bool:
    """Tell whether units or context may make a wrong-looking pair right."""
    first, left, right = sides
    start, stop = tokens[left.start].start, tokens[right.stop - 1].stop
    following = tokens[right.stop : right.stop + 1]
    shown = [*tokens[left.start : right.stop], *following]
    words = [t.text for t in shown if t.kind == "w" or t.text in SCALES]
    convertible = CONVERTIBLE.intersection(words)
    ratio = _ratio(left, right)
    rates = sum(t.kind == "/" for t in shown) > 1 and bool(words)
    if len(convertible) > 1 or rates or (words and ratio in _RATIOS):
        return True
    if _range(tokens, left, right) or (right.calculated and _loosely(tokens, left, right)):
        return True
    before = tokens[left.start - 1].text if left.start else ""
    if first is left and before in ("and", "by", "than", "from", "between", "of the"):
        return True
    opening = text[max(0, start - 40) : start]
    if first is left and _DOUBT_BEFORE.search(opening) is not None:
        return True
    return _DOUBT_AFTER.match(text, stop, stop + 90) is not None


def _loosely(tokens: list[Token], left: _Side, right: _Side) -> bool:
    """Tell whether two calculations are joined by a word, or the second begins the first again.

    The latter is working in steps: "3 + 4 + 5 = 3 + 4 = 7".
    """
    begun = [n.value for n in left.numbers[: len(right.numbers)]]
    return tokens[right.start - 1].text.isalpha() or begun == [n.value for n in right.numbers]


def _range(tokens: list[Token], left: _Side, right: _Side) -> bool:
    """Tell whether a "difference" is a range: "480-488 is 9 numbers"."""
    body = tokens[left.start : left.stop]
    if [token.kind for token in body] != ["n", "-", "n"] or not left.value or not right.value:
        return False
    dash = body[1]
    glued = body[0].stop == dash.start and dash.stop == body[2].start
    worded = tokens[left.stop].text != "="
    return glued and (worded or abs(left.value) + 1 == right.value)


def _ratio(left: _Side, right: _Side) -> Fraction | None:
    if not left.value or not right.value:
        return None
    ratio = abs(left.value / right.value)
    return max(ratio, 1 / ratio)
