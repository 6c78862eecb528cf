"""The tokens of a block while it is read: what the meaning of the next one depends on."""

import re
from fractions import Fraction

from reviewers.rules.numbers import MULTIPLES
from reviewers.rules.tokens import Token


class Draft:
    """The tokens so far, and the brackets and fractions that are still open."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.braces: list[str] = []
        r"""The open brackets: ``above`` and ``below`` for those of a ``\\frac``, else ``""``."""
        self.pending = ""
        r"""The part of a ``\\frac`` whose brace must come next."""
        self.row: bool | None = None
        """Whether the line is a row of a table; ``None`` before its first bar."""

    def emit(self, kind: str, match: re.Match[str], text: str = "") -> None:
        """Add a token; one that stands where the brace of a fraction must is not read."""
        if self.pending and kind != "(":
            kind, self.pending = "q", ""
        self.tokens.append(Token(kind, match.start(), match.end(), text))

    def number(self, match: re.Match[str], text: str, value: Fraction, decimals: int = 0) -> None:
        """Add a number; "twice 6" is a product."""
        if self.tokens and self.tokens[-1].text in MULTIPLES and self.last() == "n":
            self.emit("*", match)
        if self.pending:
            self.emit("q", match)
        self.tokens.append(Token("n", match.start(), match.end(), text, value, decimals))

    def last(self, back: int = 1) -> str:
        """Return the kind of a token, counted from the end; a boundary before the first."""
        return self.tokens[-back].kind if len(self.tokens) >= back else "b"

    def glued(self, match: re.Match[str]) -> bool:
        """Tell whether no space stands before."""
        return match.start() > 0 and not self.text[match.start() - 1].isspace()

    def touches(self, match: re.Match[str]) -> bool:
        """Tell whether the last token ends right before: "2x", "3a", but also "5km"."""
        return self.tokens[-1].stop == match.start()
