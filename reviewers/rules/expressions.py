"""Expressions: from tokens to exact rational values, without recursion."""

from collections.abc import Sequence
from enum import Enum, auto
from fractions import Fraction

from reviewers.rules.tokens import Token

MAX_TOKENS = 160
"""A longer expression is not read."""

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "~": 3, "^": 4}
_MAX_EXPONENT = 64
_MAX_BITS = 4_096


class PercentRule(Enum):
    """The three ways in which people write percentages into sums."""

    SHARE = auto()
    """20% is 1/5."""
    RELATIVE = auto()
    """600 - 10% is 540."""
    BARE = auto()
    """100% - 20% is 80."""


def postfix(tokens: Sequence[Token]) -> list[Token] | None:
    """Return the tokens of one expression in postfix order (shunting yard).

    Unit words are dropped, a sign becomes the operator ``~`` and a percent stays behind its number
    as kind ``%``. Returns ``None`` when the brackets do not match or an operand is missing.
    """
    if len(tokens) > MAX_TOKENS:
        return None
    output: list[Token] = []
    waiting: list[Token] = []
    operand = False
    for token in tokens:
        kind = token.kind
        if kind == "w":
            continue
        # An operand or an opening bracket follows no operand, everything else follows one; only a
        # sign may stand in both places.
        if (kind in "n(") == operand and kind != "-":
            return None
        if kind in "n%":
            output.append(token)
        elif not _operator(token, operand, output, waiting):
            return None
        operand = kind in "n%)"
    complete = operand and all(token.kind != "(" for token in waiting)
    return output + waiting[::-1] if complete else None


def _operator(token: Token, operand: bool, output: list[Token], waiting: list[Token]) -> bool:
    """Take a bracket or an operator; return False when it cannot stand here."""
    if token.kind == ")":
        while waiting and waiting[-1].kind != "(":
            output.append(waiting.pop())
        return bool(waiting) and waiting.pop().kind == "("
    if token.kind == "(" or not operand:
        waiting.append(token if token.kind == "(" else token._replace(kind="~"))
        return True
    if token.kind not in _PRECEDENCE:
        return False
    rank = _PRECEDENCE[token.kind] + (token.kind == "^")
    while waiting and _PRECEDENCE.get(waiting[-1].kind, 0) >= rank:
        output.append(waiting.pop())
    waiting.append(token)
    return True


def evaluate(rpn: Sequence[Token], rule: PercentRule = PercentRule.SHARE) -> Fraction | None:
    """Return the exact value of a postfix expression.

    ``None`` for a division by zero, a fractional or large exponent, and numbers beyond 4,096 bits.
    """
    stack: list[tuple[Fraction, bool]] = []
    for token in rpn:
        if token.kind == "n":
            stack.append((token.value or Fraction(0), False))
        elif token.kind == "%":
            value, _ = stack.pop()
            stack.append((value if rule is PercentRule.BARE else value / 100, True))
        elif token.kind == "~":
            value, percent = stack.pop()
            stack.append((-value, percent))
        else:
            right, left = stack.pop(), stack.pop()
            value = _apply(token.kind, left[0], right, rule)
            if value is None or value.numerator.bit_length() > _MAX_BITS:
                return None
            stack.append((value, False))
    return stack[0][0]


def _apply(
    kind: str, left: Fraction, right: tuple[Fraction, bool], rule: PercentRule
) -> Fraction | None:
    value, percent = right
    if percent and kind in "+-" and rule is PercentRule.RELATIVE:
        value *= left
    if kind == "+":
        return left + value
    if kind == "-":
        return left - value
    if kind == "*":
        return left * value
    if kind == "/":
        return left / value if value else None
    return _power(left, value)


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1 or abs(exponent) > _MAX_EXPONENT:
        return None
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > _MAX_BITS or (base == 0 and exponent < 0):
        return None
    return Fraction(base**exponent.numerator)
