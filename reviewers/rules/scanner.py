"""From text to tokens: one pass, in which every token may depend on the ones before it."""

import re
from collections.abc import Callable
from fractions import Fraction

from reviewers.rules.lexicon import (
    AFTER_EQUALITY,
    AFTER_MULTIPLE,
    CONVERTIBLE,
    EQUALITY_WORDS,
    FUNCTIONS,
    LATEX_OPERATORS,
    LATEX_SILENT,
    OPERATORS,
    STOP_WORDS,
    UNIT_LETTERS,
    WORD_OPERATORS,
)
from reviewers.rules.numbers import MULTIPLES, PARTS, SCALES, TENS, UNITS, numeral
from reviewers.rules.tokens import TOKEN, Token


def tokenise(text: str, start: int, stop: int) -> list[Token]:
    """Return the tokens of ``text[start:stop]``; positions count from the start of ``text``."""
    return _Scanner(text).scan(start, stop)


class _Scanner:
    """One pass over one block. Holds what the next token's meaning depends on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.braces: list[str] = []
        self.pending = ""

    def scan(self, start: int, stop: int) -> list[Token]:
        for match in TOKEN.finditer(self.text, start, stop):
            _HANDLERS[match.lastgroup or "other"](self, match)
        return self.tokens

    def emit(self, kind: str, match: re.Match[str], text: str = "") -> None:
        if self.pending and kind != "(":
            kind, self.pending = "q", ""
        self.tokens.append(Token(kind, match.start(), match.end(), text))

    def last(self, back: int = 1) -> str:
        return self.tokens[-back].kind if len(self.tokens) >= back else "b"

    def glued(self, match: re.Match[str]) -> bool:
        return match.start() > 0 and not self.text[match.start() - 1].isspace()

    def touches(self, match: re.Match[str]) -> bool:
        """Tell whether a number stands right before: "2x", "3a", but also "5km"."""
        return self.tokens[-1].stop == match.start()

    def word(self, match: re.Match[str]) -> None:
        word = match.group().lower()
        special = _SPECIAL.get(word)
        if special is not None:
            special(self, match, word)
        elif (len(word) == 1 and word.isascii() and word not in UNIT_LETTERS) or (
            self.last() == "n" and word not in CONVERTIBLE and self.touches(match)
        ):
            self.emit("q", match, word)
        else:
            self.plain_word(match, word)

    def plain_word(self, match: re.Match[str], word: str) -> None:
        """Emit a word; the slash of "$12/hour" becomes part of the unit."""
        if self.last() == "/":
            slash = self.tokens[-1]
            self.tokens[-1] = Token("w", slash.start, slash.stop, slash.text)
        self.emit("w", match, word)

    def stop_word(self, match: re.Match[str], word: str) -> None:
        self.emit("W", match, word)

    def function(self, match: re.Match[str], word: str) -> None:
        self.emit("q", match, word)

    def word_operator(self, match: re.Match[str], word: str) -> None:
        """Emit "plus"; "5 times" without a number after it is no product."""
        self.emit(WORD_OPERATORS[word], match, word)

    def by(self, match: re.Match[str], word: str) -> None:
        if not self.tokens or self.tokens[-1].text not in ("multiplied", "divided"):
            self.emit("w", match, word)

    def equality_word(self, match: re.Match[str], word: str) -> None:
        if self.last() != "=":
            self.emit("=", match, word)

    def after_equality(self, match: re.Match[str], word: str) -> None:
        if self.last() != "=":
            self.emit("w", match, word)

    def percent_word(self, match: re.Match[str], word: str) -> None:
        self.emit("%" if self.last() == "n" else "w", match, word)

    def of(self, match: re.Match[str], word: str) -> None:
        """Read "20% of", "half of" and "3/4 of" as a product."""
        last = self.last()
        share = last == "%" or (
            last == "n" and (self.tokens[-1].text in PARTS or self.last(2) == "/")
        )
        self.emit("*" if share else "w", match, word)

    def filler(self, match: re.Match[str], word: str) -> None:
        """Skip "the" of "half of the 10" and of "twice the 6"."""
        if not self.tokens or self.tokens[-1].text not in ("of", *MULTIPLES):
            self.emit("W" if word in STOP_WORDS else "w", match, word)

    def number(self, match: re.Match[str], text: str, value: Fraction, decimals: int = 0) -> None:
        if self.tokens and self.tokens[-1].text in MULTIPLES and self.last() == "n":
            self.emit("*", match)
        if self.pending:
            self.emit("q", match)
        self.tokens.append(Token("n", match.start(), match.end(), text, value, decimals))

    def number_word(self, match: re.Match[str], word: str) -> None:
        """Emit "three"; join "twenty-three"."""
        value = UNITS[word] if word in UNITS else TENS[word]
        tail = self.tokens[-2:]
        if len(tail) == 2 and tail[0].text in TENS and tail[1].kind == "-" and 0 < value < 10:
            del self.tokens[-2:]
            whole = (tail[0].value or Fraction(0)) + value
            self.tokens.append(Token("n", tail[0].start, match.end(), word, whole))
        else:
            self.number(match, word, Fraction(value))

    def part_word(self, match: re.Match[str], word: str) -> None:
        """Emit "half", "a third" and "two-thirds"; a lone "third" is an ordinal."""
        back = 2 if self.last() == "-" else 1
        head = self.tokens[-back] if len(self.tokens) >= back else None
        share = Fraction(1, PARTS[word])
        if head is not None and head.kind == "n" and head.text in UNITS:
            del self.tokens[-back:]
            value = (head.value or Fraction(0)) * share
            self.tokens.append(Token("n", head.start, match.end(), word, value))
        elif head is not None and [t.text for t in self.tokens[-2:]] == ["and", "a"]:
            self.add_part(match, word, share)
        elif head is not None and head.text in ("a", "an"):
            self.tokens[-back:] = [Token("n", head.start, match.end(), word, share)]
        elif word == "half":
            self.number(match, word, share)
        else:
            self.emit("w", match, word)

    def add_part(self, match: re.Match[str], word: str, share: Fraction) -> None:
        """Join "three and a half"."""
        whole = self.tokens[-3] if len(self.tokens) > 2 else None
        if whole is None or whole.kind != "n":
            self.number(match, word, share)
            return
        del self.tokens[-3:]
        value = (whole.value or Fraction(0)) + share
        self.tokens.append(Token("n", whole.start, match.end(), word, value, 2))

    def multiple_word(self, match: re.Match[str], word: str) -> None:
        self.number(match, word, Fraction(MULTIPLES[word]))

    def scale_word(self, match: re.Match[str], word: str) -> None:
        """Scale "3 million"; "hundreds of" is a word."""
        last = self.tokens[-1] if self.tokens else None
        if last is None or last.kind != "n" or last.value is None:
            self.emit("w", match, word)
            return
        scaled = last.value * SCALES[word]
        self.tokens[-1] = Token("n", last.start, match.end(), word, scaled)

    def x(self, match: re.Match[str], word: str) -> None:
        """Read "2 x 3" as a product; any other x is a variable."""
        after = self.text[match.end() : match.end() + 3].lstrip(" \\")[:1]
        times = self.last() in "n%)w" and after != "" and (after.isdigit() or after in "$(.")
        self.emit("*" if times else "q", match, word)

    def square(self, match: re.Match[str], word: str) -> None:
        self.emit("^", match)
        self.number(match, word, Fraction(2 if word == "²" else 3))

    def times(self, match: re.Match[str]) -> None:
        self.emit("*", match, "x")

    def mixed(self, match: re.Match[str]) -> None:
        whole, _, part = match.group().partition(" ")
        above, _, below = part.partition("/")
        if int(above) < int(below):
            value = int(whole) + Fraction(int(above), int(below))
            self.number(match, match.group(), value)
        else:
            self.emit("q", match)

    def num(self, match: re.Match[str]) -> None:
        raw = match.group()
        read = None if raw[-1] in "stndrh" else numeral(raw)
        if read is None:
            self.emit("w" if raw[-1] in "stndrh" else "q", match, raw)
        else:
            self.number(match, raw, *read)

    def mark(self, match: re.Match[str]) -> None:
        self.emit("m", match, match.group())

    def relation(self, match: re.Match[str]) -> None:
        self.emit("q", match, match.group())

    def which(self, match: re.Match[str]) -> None:
        """Read "3 + 4, which is 7" as an equality."""
        self.emit("=", match, "is")

    def arrow(self, match: re.Match[str]) -> None:
        self.emit("b", match, match.group())

    def eq(self, match: re.Match[str]) -> None:
        self.emit("=", match, match.group())

    def power(self, match: re.Match[str]) -> None:
        """Read ``2**3`` as a power; elsewhere two stars are bold marks."""
        after = self.text[match.end() : match.end() + 1]
        if self.last() in "n)" and self.glued(match) and (after.isdigit() or after == "("):
            self.emit("^", match)

    def op(self, match: re.Match[str]) -> None:
        sign = match.group()
        self.emit(OPERATORS.get(sign, sign), match, sign)

    def open(self, match: re.Match[str]) -> None:
        r"""Open a bracket; ``2(3)`` and ``)(`` multiply, a brace after ``\\frac`` is its part."""
        role, self.pending = self.pending, ""
        if not role and self.last() in "n)" and self.glued(match):
            self.emit("*", match)
        self.braces.append(role)
        self.emit("(", match, match.group())

    def close(self, match: re.Match[str]) -> None:
        role = self.braces.pop() if self.braces else ""
        self.emit(")", match, match.group())
        if role == "above":
            self.emit("/", match)
            self.pending = "below"
        elif role == "below":
            self.emit(")", match)

    def percent(self, match: re.Match[str]) -> None:
        self.emit("%", match, "%")

    def unit(self, match: re.Match[str]) -> None:
        self.plain_word(match, match.group().partition("{")[2].rstrip("}").strip().lower())

    def newline(self, match: re.Match[str]) -> None:
        self.emit("b", match, "\n")

    def join(self, match: re.Match[str]) -> None:
        """Skip the line end before a line that goes on with ``=``."""

    def skip(self, match: re.Match[str]) -> None:
        """Skip what arithmetic does not see."""

    def latex(self, match: re.Match[str]) -> None:
        name = match.group()
        if name in (r"\frac", r"\dfrac", r"\tfrac"):
            if self.last() == "n":
                self.emit("q", match)
            self.emit("(", match)
            self.pending = "above"
        elif name in LATEX_OPERATORS:
            self.emit(LATEX_OPERATORS[name], match, name)
        elif name in (r"\approx", r"\simeq"):
            self.emit("=", match, "≈")
        elif name not in LATEX_SILENT:
            self.emit("q", match, name)

    def other(self, match: re.Match[str]) -> None:
        mark = match.group()
        factorial = mark == "!" and self.last() in "n)" and self.glued(match)
        self.emit("q" if factorial else "b", match, mark)


_HANDLERS: dict[str, Callable[[_Scanner, re.Match[str]], None]] = {
    "times": _Scanner.times,
    "word": _Scanner.word,
    "mixed": _Scanner.mixed,
    "num": _Scanner.num,
    "join": _Scanner.join,
    "mark": _Scanner.mark,
    "not": _Scanner.relation,
    "arrow": _Scanner.arrow,
    "which": _Scanner.which,
    "eq": _Scanner.eq,
    "power": _Scanner.power,
    "op": _Scanner.op,
    "open": _Scanner.open,
    "close": _Scanner.close,
    "percent": _Scanner.percent,
    "unit": _Scanner.unit,
    "newline": _Scanner.newline,
    "skip": _Scanner.skip,
    "latex": _Scanner.latex,
    "other": _Scanner.other,
}
_SPECIAL: dict[str, Callable[[_Scanner, re.Match[str], str], None]] = {
    **dict.fromkeys(STOP_WORDS, _Scanner.stop_word),
    **dict.fromkeys(FUNCTIONS, _Scanner.function),
    **dict.fromkeys(AFTER_EQUALITY, _Scanner.after_equality),
    **dict.fromkeys(AFTER_MULTIPLE, _Scanner.filler),
    **dict.fromkeys(EQUALITY_WORDS, _Scanner.equality_word),
    **dict.fromkeys(WORD_OPERATORS, _Scanner.word_operator),
    **dict.fromkeys(UNITS, _Scanner.number_word),
    **dict.fromkeys(TENS, _Scanner.number_word),
    **dict.fromkeys(PARTS, _Scanner.part_word),
    **dict.fromkeys(MULTIPLES, _Scanner.multiple_word),
    **dict.fromkeys(SCALES, _Scanner.scale_word),
    "by": _Scanner.by,
    "of": _Scanner.of,
    "percent": _Scanner.percent_word,
    "x": _Scanner.x,
    "²": _Scanner.square,
    "³": _Scanner.square,
}
