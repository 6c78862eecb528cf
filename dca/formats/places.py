"""Offsets of tokens: kept where they place every token in the text, left out where they do not.

Tokens without offsets are placed later by the bytes that a tokenizer gives them, which is exact;
a wrong map would give credit to the wrong tokens and is never guessed at. T = tokens, C = code
points of the text.
"""

import unicodedata
from array import array

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def fitted(offsets: "array[int]", text: str) -> "tuple[array[int] | None, str]":
    """Return offsets that fit a text, or ``None`` and what is wrong with them.

    Neither starts nor stops may decrease, and every code point needs a token, but for blanks and
    control characters, which tokenizers may skip. Tokenizers give ``(0, 0)`` to control tokens:
    an empty range that breaks the order is put where the token before it ends.

    Args:
        offsets: Flat pairs ``(start, stop)`` of code points, each >= 0 [2 T].
        text: The completion.
    """
    given = np.array(offsets, np.int64).reshape(-1, 2)
    if _disorder(given):
        given = _settled(given)
    fault = _disorder(given) or _overrun(given, text) or _gap(given, text)
    return (None, fault) if fault else (array("i", given.ravel().tolist()), "")


def _settled(pairs: Ints) -> Ints:
    """Return the offsets with every empty range where the last range before it ended [T, 2]."""
    empty_T = pairs[:, 0] == pairs[:, 1]
    reached_T = np.maximum.accumulate(np.where(empty_T, 0, pairs[:, 1]))
    return np.where(empty_T[:, None], reached_T[:, None], pairs)


def _disorder(pairs: Ints) -> str:
    start_T, stop_T = pairs[:, 0], pairs[:, 1]
    upside_down = start_T > stop_T
    if upside_down.any():
        return f"token {int(upside_down.argmax())} ends before it starts"
    backwards = (np.diff(start_T) < 0) | (np.diff(stop_T) < 0)
    if backwards.any():
        return f"token {int(backwards.argmax()) + 1} goes backwards in the text"
    return ""


def _overrun(pairs: Ints, text: str) -> str:
    outside = pairs[:, 1] > len(text)
    if not outside.any():
        return ""
    return f"token {int(outside.argmax())} ends outside the text of {len(text)} code points"


def _gap(pairs: Ints, text: str) -> str:
    """Name the first code point that some token should have and none has."""
    change_C = np.zeros(len(text) + 1, np.int64)
    np.add.at(change_C, pairs[:, 0], 1)
    np.add.at(change_C, pairs[:, 1], -1)
    for place in np.flatnonzero(np.cumsum(change_C)[:-1] == 0).tolist():
        if not _skippable(text[place]):
            return f"no token has code point {place}, {text[place]!r}"
    return ""


def _skippable(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cc", "Cf")
