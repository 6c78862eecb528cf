r"""The tokens of arithmetic in running text: one pass, linear time, any text.

Every token has a one-character kind, so that the shape of an equation is a regular expression
over the string of kinds:

    n  number                + - * / ^  operator          ( )  bracket, LaTeX braces included
    %  percent               =          equality          m    calculator mark ``<<3+4=7>>``
    w  word that may stand between a number and an operator, as a unit ("3 pairs of socks")
    W  word that may not     b          boundary          q    mathematics that is not read

Currency signs, LaTeX spacing, ``\\left``, bold marks and the like yield no token.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

BLOCK = 8_192
"""Longest stretch, in code points, that is held as tokens at once."""


class Token(NamedTuple):
    """One token. A tuple, because a chain has hundreds and they are made on the hot path."""

    kind: str
    """One character, see the module."""
    start: int
    """First code point in the text."""
    stop: int
    """One past the last code point."""
    text: str
    """Lower-case word, operator or numeral as written; ``""`` for inserted tokens."""
    value: Fraction | None = None
    """Value of a number."""
    decimals: int = 0
    """Decimals of a number as written."""


TOKEN = re.compile(
    r"""
    (?P<times>(?<=[0-9)%])[xX](?=[0-9($.]))
  | (?P<word>[^\W\d_](?:[^\W_]|['’](?=[^\W\d_]))*)
  | (?P<mixed>(?<![\w.,/])[0-9]{1,4}[ ][0-9]{1,2}/[0-9]{1,3}(?![\w/,]|\.[0-9]))
  | (?P<num>[0-9]++(?:[.,:][0-9]++|\{,\}[0-9]{3}|\\,[0-9]{3})*
        (?:[eE][+-]?[0-9]{1,3}(?![0-9A-Za-z]))?(?:(?:st|nd|rd|th)(?![A-Za-z]))?
      | (?<![\w.])\.[0-9]++)
  | (?P<join>\n[ \t]{0,60}&?[ \t]{0,9}(?=[=≈]))
  | (?P<mark><<[^<>\n]{1,120}>>)
  | (?P<tag></?[A-Za-z][\w:.-]{0,40}
        (?:\s{1,9}[A-Za-z_:@][\w:.@-]{0,40}\s?=\s?
            (?:"[^"<>\n]{0,300}"|'[^'<>\n]{0,300}'|[^\s"'<>]{1,100})){0,12}\s?/?>)
  | (?P<bar>\|)
  | (?P<which>,[ ](?:which|that|this)[ ](?:is|equals|gives|makes|leaves)(?![^\W_]))
  | (?P<not>[<>!≤≥≠:+*/-]=|==+|[<>≤≥≠≡√∛∑∏∫∞±∓_\#@~ⁿ])
  | (?P<arrow>[-=]>|[→⇒])
  | (?P<eq>[=≈≃])
  | (?P<power>\*\*)
  | (?P<op>[-+*/^×÷−·∙⋅–—])
  | (?P<open>[({\[])
  | (?P<close>[)}\]])
  | (?P<percent>\\?%)
  | (?P<unit>\\(?:text|mathrm|mbox|textbf|mathbf|textit)[ ]?\{[^{}\n]{0,80}\})
  | (?P<newline>\\\\|\n)
  | (?P<skip>\\[\[\](),;:! $]|[$€£¥₹&°`])
  | (?P<latex>\\[A-Za-z]++)
  | (?P<other>\S)
    """,
    re.VERBOSE,
)


def blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield ranges of at most ``BLOCK`` code points, cut at a line end or a space if possible."""
    start, size = 0, len(text)
    while size - start > BLOCK:
        stop = max(text.rfind("\n", start + 1, start + BLOCK), start)
        if stop == start:
            stop = max(text.rfind(" ", start + 1, start + BLOCK), start)
        stop = stop if stop > start else start + BLOCK
        yield start, stop
        start = stop
    yield start, size
