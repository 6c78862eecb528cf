"""Whether two sides are equal, and whether a difference may have a good reason."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import takewhile

from reviewers.rules.expressions import PercentRule, evaluate
from reviewers.rules.lexicon import CONVERTIBLE
from reviewers.rules.numbers import SCALES, Verdict, compare
from reviewers.rules.sides import Side
from reviewers.rules.tokens import Token

_OTHER_RULES = (PercentRule.RELATIVE, PercentRule.BARE)
_RATIOS = frozenset(
    Fraction(n)
    for n in (
        *(2, 3, 4, 7, 8, 10, 12, 16, 24, 25, 30, 36, 52, 60, 100, 365),
        *(1_000, 3_600, 10**6, 10**9),
    )
)
"""How many of one unit make another."""
_UNNAMED = frozenset(ratio for ratio in _RATIOS if ratio >= 12)
"""Those of conversions that may go without the names of their units."""
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
_UNSIGNED = re.compile(
    r"\b(?:differ\w{0,7}|less|fewer|lower|short|shortage|deficit|loss|lost|loses|lose|owes?|owed|"
    r"debt|under|below|behind|apart|between|decrease\w?|drop\w{0,4})\b",
    re.IGNORECASE,
)
"""Words that say which way a difference goes, so that its sign may be left out."""
_FULL_STOP = re.compile(r"\n|[.!?](?=\s)")


def check(left: Side, right: Side, *, loose: bool, chained: bool = False) -> Verdict:
    """Judge ``left = right``, granting every usual reading of percentages and running sums.

    Args:
        left: The left side.
        right: The right side.
        loose: Whether the text says that the equality is approximate.
        chained: Whether two lone numbers must be equal, because the first one is the result of a
            calculation and both are of the same unit: "3 + 4 = 7 = 8".
    """
    if left.value is None or right.value is None:
        return Verdict.UNCLEAR
    if not left.calculated and right.calculated:
        left, right = right, left
    value = left.value or Fraction(0)
    values = [value]
    if left.percent or right.percent:
        values += [v for v in (evaluate(left.rpn, rule) for rule in _OTHER_RULES) if v is not None]
    found = {
        compare(value, target, decimals, loose=loose)
        for value in values
        for target, decimals in _targets(right)
    }
    lone = not left.calculated and not right.calculated
    if right.calculated:
        found.add(_runs_on(value, right.numbers[0]))
    elif lone:
        found.add(compare(right.value or Fraction(0), value, left.numbers[0].decimals))
    if Verdict.RIGHT in found:
        return Verdict.RIGHT
    unclear = Verdict.UNCLEAR in found or (lone and not chained)
    if unclear or _rounded_on_the_way(left, right):
        return Verdict.UNCLEAR
    return Verdict.WRONG


def _targets(side: Side) -> Iterator[tuple[Fraction, int]]:
    """Yield the values, with their decimals, that a stated side may mean."""
    decimals = 12 if side.calculated else side.numbers[0].decimals
    if side.value is not None:
        yield side.value, decimals + 2 * side.percent
    if side.percent:
        # Relative to nothing, a lone "25%" is the share that it already is.
        for rule in _OTHER_RULES if side.calculated else (PercentRule.BARE,):
            value = evaluate(side.rpn, rule)
            if value is not None:
                yield value, decimals


def _runs_on(value: Fraction, head: Token) -> Verdict:
    """Judge the running style "3 + 4 = 7 + 2 = 9", where the next side starts from 7."""
    return compare(value, head.value or Fraction(0), head.decimals)


def _rounded_on_the_way(left: Side, right: Side) -> bool:
    """Tell whether operands that were themselves rounded explain the gap: "0.33 * 900 = 300"."""
    if left.value is None or right.value is None:
        return False
    operands = left.numbers + (right.numbers if right.calculated else ())
    rounded = [n for n in operands if n.decimals >= 2 and n.value]
    if not rounded:
        return False
    absolute = sum((Fraction(1, 10**n.decimals) for n in rounded), Fraction(0))
    relative = sum((Fraction(1, 10**n.decimals) / abs(n.value or 1) for n in rounded), Fraction(0))
    gap = abs(left.value - right.value)
    return gap <= max(absolute, relative * max(abs(left.value), 1))


def about(tokens: list[Token], left: Side, right: Side) -> bool:
    """Tell whether the equality between two sides says that it is approximate."""
    between = {token.text for token in tokens[left.stop : right.start]}
    return not between.isdisjoint({"≈", "≃", "about", "approximately", "roughly"})


def same_units(tokens: list[Token], left: Side, right: Side) -> bool:
    """Tell whether nothing says that two lone numbers are given in different units.

    Their words are the same, a sign and no word equates them, and neither is the other in a
    smaller unit, as in "2 * 45 = 90 = 1.5".
    """
    signs = [i for i in range(left.stop, right.start) if tokens[i].kind == "="]
    if not signs or tokens[signs[-1]].text.isalpha() or _ratio(left, right) in _UNNAMED:
        return False
    return _words(tokens[left.start : signs[-1]]) == _words(tokens[right.start :])


def _words(tokens: Sequence[Token]) -> list[str]:
    """Return the words among the tokens up to the first operator, equality or boundary."""
    near = takewhile(lambda token: token.kind in "nwm%()", tokens)
    return [token.text for token in near if token.kind == "w"]


def doubtful(text: str, tokens: list[Token], sides: Sequence[Side]) -> bool:
    """Tell whether units or context may make a wrong-looking pair right."""
    first, left, right = sides
    start, stop = tokens[left.start].start, tokens[right.stop - 1].stop
    following = tokens[right.stop : right.stop + 1]
    shown = [*tokens[left.start : right.stop], *following]
    words = [t.text for t in shown if t.kind == "w" or t.text in SCALES]
    rates = sum(t.kind == "/" for t in shown) > 1 and bool(words)
    if rates or _converts(words, _ratio(left, right)):
        return True
    if _range(tokens, left, right) or (right.calculated and _loosely(tokens, left, right)):
        return True
    if left.value == -(right.value or 0) and _unsigned(text, start, stop):
        return True
    before = tokens[left.start - 1].text if left.start else ""
    if first is left and before in ("and", "by", "than", "from", "between", "of the"):
        return True
    opening = text[max(0, start - 40) : start]
    if first is left and _DOUBT_BEFORE.search(opening) is not None:
        return True
    return _DOUBT_AFTER.match(text, stop, stop + 90) is not None


def _converts(words: Sequence[str], ratio: Fraction | None) -> bool:
    """Tell whether the words around a pair whose sides differ by ``ratio`` may be two units.

    One word alone, as in "4 * 3 eggs = 24 eggs", converts nothing unless it is a known unit.
    """
    known = sum(word in CONVERTIBLE for word in set(words))
    scaled = not SCALES.keys().isdisjoint(words)
    return known > 1 or (ratio in _RATIOS and (known > 0 or scaled or len(set(words)) > 1))


def worded(text: str, tokens: list[Token], *sides: Side) -> bool:
    """Tell whether an operand is a number word that other words part from its operator.

    "With two holes * 2 holes" need not mean 2 * 2: the number may belong to the words alone.
    """
    for side in sides:
        body = tokens[side.start : side.stop]
        operators = [place for place, token in enumerate(body) if token.kind in "+-*/^"]
        last = operators[-1] if operators else 0
        for place, token in enumerate(body):
            if token.kind == "n" and text[token.start].isalpha():
                before = place > 0 and body[place - 1].kind == "w"
                after = place < last and body[place + 1].kind == "w"
                if before or after:
                    return True
    return False


def _unsigned(text: str, start: int, stop: int) -> bool:
    """Tell whether the sentence around ``text[start:stop]`` says which way a difference goes."""
    before = _FULL_STOP.split(text[max(0, start - 80) : start])[-1]
    after = _FULL_STOP.split(text[stop : stop + 60], maxsplit=1)[0]
    return any(_UNSIGNED.search(part) for part in (before, after))


def _loosely(tokens: list[Token], left: Side, right: Side) -> bool:
    """Tell whether two calculations are joined by a word, or the second begins the first again.

    The latter is working in steps: "3 + 4 + 5 = 3 + 4 = 7".
    """
    begun = [n.value for n in left.numbers[: len(right.numbers)]]
    return tokens[right.start - 1].text.isalpha() or begun == [n.value for n in right.numbers]


def _range(tokens: list[Token], left: Side, right: Side) -> bool:
    """Tell whether a "difference" is a range: "480-488 is 9 numbers", "pages 10-25 = 15"."""
    body = tokens[left.start : left.stop]
    if [token.kind for token in body] != ["n", "-", "n"] or not left.value or not right.value:
        return False
    dash = body[1]
    glued = body[0].stop == dash.start and dash.stop == body[2].start
    named = tokens[left.stop].text != "="
    count = right.value - abs(left.value)
    plain = left.stop + 1 == right.start  # a calculator mark says that it is a difference
    return glued and (named or count == 1 or (plain and left.value < 0 and count == 0))


def _ratio(left: Side, right: Side) -> Fraction | None:
    if not left.value or not right.value:
        return None
    ratio = abs(left.value / right.value)
    return max(ratio, 1 / ratio)
