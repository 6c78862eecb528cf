"""From text to tokens: one pass, in which every token may depend on the ones before it."""

import re
from collections.abc import Callable
from fractions import Fraction

from reviewers.rules.draft import Draft
from reviewers.rules.lexicon import LATEX_OPERATORS, LATEX_SILENT, OPERATORS
from reviewers.rules.markup import read_bar, read_tag
from reviewers.rules.numbers import numeral
from reviewers.rules.tokens import TOKEN, Token
from reviewers.rules.words import plain_word, read_word


def tokenise(text: str, start: int, stop: int) -> list[Token]:
    """Return the tokens of ``text[start:stop]``; positions count from the start of ``text``."""
    draft = Draft(text)
    for match in TOKEN.finditer(text, start, stop):
        _HANDLERS[match.lastgroup or "other"](draft, match)
    return draft.tokens


def _times(draft: Draft, match: re.Match[str]) -> None:
    draft.emit("*", match, "x")


def _mixed(draft: Draft, match: re.Match[str]) -> None:
    whole, _, part = match.group().partition(" ")
    above, _, below = part.partition("/")
    if int(above) < int(below):
        value = int(whole) + Fraction(int(above), int(below))
        draft.number(match, match.group(), value)
    else:
        draft.emit("q", match)


def _num(draft: Draft, match: re.Match[str]) -> None:
    raw = match.group()
    read = None if raw[-1] in "stndrh" else numeral(raw)
    if read is None:
        draft.emit("w" if raw[-1] in "stndrh" else "q", match, raw)
    else:
        draft.number(match, raw, *read)


def _mark(draft: Draft, match: re.Match[str]) -> None:
    draft.emit("m", match, match.group())


def _relation(draft: Draft, match: re.Match[str]) -> None:
    draft.emit("q", match, match.group())


def _which(draft: Draft, match: re.Match[str]) -> None:
    """Read "3 + 4, which is 7" as an equality."""
    draft.emit("=", match, "is")


def _arrow(draft: Draft, match: re.Match[str]) -> None:
    draft.emit("b", match, match.group())


def _eq(draft: Draft, match: re.Match[str]) -> None:
    draft.emit("=", match, match.group())


def _power(draft: Draft, match: re.Match[str]) -> None:
    """Read ``2**3`` as a power; elsewhere two stars are bold marks."""
    after = draft.text[match.end() : match.end() + 1]
    if draft.last() in "n)" and draft.glued(match) and (after.isdigit() or after == "("):
        draft.emit("^", match)


def _op(draft: Draft, match: re.Match[str]) -> None:
    sign = match.group()
    draft.emit(OPERATORS.get(sign, sign), match, sign)


def _open(draft: Draft, match: re.Match[str]) -> None:
    r"""Open a bracket; ``2(3)`` and ``)(`` multiply, a brace after ``\\frac`` is its part."""
    role, draft.pending = draft.pending, ""
    if not role and draft.last() in "n)" and draft.glued(match):
        draft.emit("*", match)
    draft.braces.append(role)
    draft.emit("(", match, match.group())


def _close(draft: Draft, match: re.Match[str]) -> None:
    role = draft.braces.pop() if draft.braces else ""
    draft.emit(")", match, match.group())
    if role == "above":
        draft.emit("/", match)
        draft.pending = "below"
    elif role == "below":
        draft.emit(")", match)


def _percent(draft: Draft, match: re.Match[str]) -> None:
    draft.emit("%", match, "%")


def _unit(draft: Draft, match: re.Match[str]) -> None:
    plain_word(draft, match, match.group().partition("{")[2].rstrip("}").strip().lower())


def _newline(draft: Draft, match: re.Match[str]) -> None:
    draft.emit("b", match, "\n")
    if match.group() == "\n":
        draft.row = None


def _join(draft: Draft, match: re.Match[str]) -> None:
    """Skip the line end before a line that goes on with ``=``."""
    draft.row = None


def _skip(draft: Draft, match: re.Match[str]) -> None:
    """Skip what arithmetic does not see."""


def _latex(draft: Draft, match: re.Match[str]) -> None:
    name = match.group()
    if name in (r"\frac", r"\dfrac", r"\tfrac"):
        if draft.last() == "n":
            draft.emit("q", match)
        draft.emit("(", match)
        draft.pending = "above"
    elif name in LATEX_OPERATORS:
        draft.emit(LATEX_OPERATORS[name], match, name)
    elif name in (r"\approx", r"\simeq"):
        draft.emit("=", match, "≈")
    elif name not in LATEX_SILENT:
        draft.emit("q", match, name)


def _other(draft: Draft, match: re.Match[str]) -> None:
    mark = match.group()
    factorial = mark == "!" and draft.last() in "n)" and draft.glued(match)
    draft.emit("q" if factorial else "b", match, mark)


_HANDLERS: dict[str, Callable[[Draft, re.Match[str]], None]] = {
    "times": _times,
    "word": read_word,
    "mixed": _mixed,
    "num": _num,
    "join": _join,
    "mark": _mark,
    "tag": read_tag,
    "bar": read_bar,
    "not": _relation,
    "arrow": _arrow,
    "which": _which,
    "eq": _eq,
    "power": _power,
    "op": _op,
    "open": _open,
    "close": _close,
    "percent": _percent,
    "unit": _unit,
    "newline": _newline,
    "skip": _skip,
    "latex": _latex,
    "other": _other,
}
