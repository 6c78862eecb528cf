"""Words in arithmetic: number words, units, and words that calculate or equate."""

import re
from collections.abc import Callable
from fractions import Fraction

from reviewers.rules.draft import Draft
from reviewers.rules.lexicon import (
    AFTER_EQUALITY,
    AFTER_MULTIPLE,
    CONVERTIBLE,
    EQUALITY_WORDS,
    FUNCTIONS,
    STOP_WORDS,
    UNIT_LETTERS,
    WORD_OPERATORS,
)
from reviewers.rules.numbers import MULTIPLES, PARTS, SCALES, TENS, UNITS
from reviewers.rules.tokens import Token


def read_word(draft: Draft, match: re.Match[str]) -> None:
    """Add a word by what it does in arithmetic; "2x" and "3a" are algebra."""
    word = match.group().lower()
    special = _SPECIAL.get(word)
    if special is not None:
        special(draft, match, word)
    elif (len(word) == 1 and word.isascii() and word not in UNIT_LETTERS) or (
        draft.last() == "n" and word not in CONVERTIBLE and draft.touches(match)
    ):
        draft.emit("q", match, word)
    else:
        plain_word(draft, match, word)


def plain_word(draft: Draft, match: re.Match[str], word: str) -> None:
    """Emit a word; the slash of "$12/hour" becomes part of the unit."""
    if draft.last() == "/":
        slash = draft.tokens[-1]
        draft.tokens[-1] = Token("w", slash.start, slash.stop, slash.text)
    draft.emit("w", match, word)


def _stop_word(draft: Draft, match: re.Match[str], word: str) -> None:
    draft.emit("W", match, word)


def _function(draft: Draft, match: re.Match[str], word: str) -> None:
    draft.emit("q", match, word)


def _word_operator(draft: Draft, match: re.Match[str], word: str) -> None:
    """Emit "plus"; "5 times" without a number after it is no product."""
    draft.emit(WORD_OPERATORS[word], match, word)


def _by(draft: Draft, match: re.Match[str], word: str) -> None:
    if not draft.tokens or draft.tokens[-1].text not in ("multiplied", "divided"):
        draft.emit("w", match, word)


def _equality_word(draft: Draft, match: re.Match[str], word: str) -> None:
    if draft.last() != "=":
        draft.emit("=", match, word)


def _after_equality(draft: Draft, match: re.Match[str], word: str) -> None:
    if draft.last() != "=":
        draft.emit("w", match, word)


def _percent_word(draft: Draft, match: re.Match[str], word: str) -> None:
    draft.emit("%" if draft.last() == "n" else "w", match, word)


def _of(draft: Draft, match: re.Match[str], word: str) -> None:
    """Read "20% of", "half of" and "3/4 of" as a product."""
    last = draft.last()
    share = last == "%" or (
        last == "n" and (draft.tokens[-1].text in PARTS or draft.last(2) == "/")
    )
    draft.emit("*" if share else "w", match, word)


def _filler(draft: Draft, match: re.Match[str], word: str) -> None:
    """Skip "the" of "half of the 10" and of "twice the 6"."""
    if not draft.tokens or draft.tokens[-1].text not in ("of", *MULTIPLES):
        draft.emit("W" if word in STOP_WORDS else "w", match, word)


def _number_word(draft: Draft, match: re.Match[str], word: str) -> None:
    """Emit "three"; join "twenty-three"."""
    value = UNITS[word] if word in UNITS else TENS[word]
    tail = draft.tokens[-2:]
    if len(tail) == 2 and tail[0].text in TENS and tail[1].kind == "-" and 0 < value < 10:
        del draft.tokens[-2:]
        whole = (tail[0].value or Fraction(0)) + value
        draft.tokens.append(Token("n", tail[0].start, match.end(), word, whole))
    else:
        draft.number(match, word, Fraction(value))


def _part_word(draft: Draft, match: re.Match[str], word: str) -> None:
    """Emit "half", "a third" and "two-thirds"; a lone "third" is an ordinal."""
    back = 2 if draft.last() == "-" else 1
    head = draft.tokens[-back] if len(draft.tokens) >= back else None
    share = Fraction(1, PARTS[word])
    if head is not None and head.kind == "n" and head.text in UNITS:
        del draft.tokens[-back:]
        value = (head.value or Fraction(0)) * share
        draft.tokens.append(Token("n", head.start, match.end(), word, value))
    elif head is not None and [t.text for t in draft.tokens[-2:]] == ["and", "a"]:
        _add_part(draft, match, word, share)
    elif head is not None and head.text in ("a", "an"):
        draft.tokens[-back:] = [Token("n", head.start, match.end(), word, share)]
    elif word == "half":
        draft.number(match, word, share)
    else:
        draft.emit("w", match, word)


def _add_part(draft: Draft, match: re.Match[str], word: str, share: Fraction) -> None:
    """Join "three and a half"."""
    whole = draft.tokens[-3] if len(draft.tokens) > 2 else None
    if whole is None or whole.kind != "n":
        draft.number(match, word, share)
        return
    del draft.tokens[-3:]
    value = (whole.value or Fraction(0)) + share
    draft.tokens.append(Token("n", whole.start, match.end(), word, value, 2))


def _multiple_word(draft: Draft, match: re.Match[str], word: str) -> None:
    draft.number(match, word, Fraction(MULTIPLES[word]))


def _scale_word(draft: Draft, match: re.Match[str], word: str) -> None:
    """Scale "3 million"; "hundreds of" is a word."""
    last = draft.tokens[-1] if draft.tokens else None
    if last is None or last.kind != "n" or last.value is None:
        draft.emit("w", match, word)
        return
    scaled = last.value * SCALES[word]
    draft.tokens[-1] = Token("n", last.start, match.end(), word, scaled)


def _x(draft: Draft, match: re.Match[str], word: str) -> None:
    """Read "2 x 3" as a product; any other x is a variable."""
    after = draft.text[match.end() : match.end() + 3].lstrip(" \\")[:1]
    times = draft.last() in "n%)w" and after != "" and (after.isdigit() or after in "$(.")
    draft.emit("*" if times else "q", match, word)


def _square(draft: Draft, match: re.Match[str], word: str) -> None:
    draft.emit("^", match)
    draft.number(match, word, Fraction(2 if word == "²" else 3))


_SPECIAL: dict[str, Callable[[Draft, re.Match[str], str], None]] = {
    **dict.fromkeys(STOP_WORDS, _stop_word),
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(AFTER_EQUALITY, _after_equality),
    **dict.fromkeys(AFTER_MULTIPLE, _filler),
    **dict.fromkeys(EQUALITY_WORDS, _equality_word),
    **dict.fromkeys(WORD_OPERATORS, _word_operator),
    **dict.fromkeys(UNITS, _number_word),
    **dict.fromkeys(TENS, _number_word),
    **dict.fromkeys(PARTS, _part_word),
    **dict.fromkeys(MULTIPLES, _multiple_word),
    **dict.fromkeys(SCALES, _scale_word),
    "by": _by,
    "of": _of,
    "percent": _percent_word,
    "x": _x,
    "²": _square,
    "³": _square,
}
