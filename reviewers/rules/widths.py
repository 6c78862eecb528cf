"""Full-width signs, as they are typed in Chinese, Japanese and Korean text, as plain ones."""

import re

_WIDE = re.compile("[\uff01-\uff5e\uffe1\uffe5]")
_PUNCTUATION = "\uff01\uff0c\uff1a\uff1b"
"""Full-width "!", ",", ":" and ";": they end a clause without a space after them."""
_PLAIN = {
    **{sign: sign - 0xFEE0 for sign in range(0xFF01, 0xFF5F) if chr(sign) not in _PUNCTUATION},
    0xFFE1: ord("£"),
    0xFFE5: ord("¥"),
}
_INSIDE = re.compile("(?<=[0-9])(?:\uff0c(?=[0-9]{3}(?![0-9]))|\uff1a(?=[0-9]{2}(?![0-9])))")
"""A comma that groups thousands, and the colon of a clock time."""


def plain_widths(text: str) -> str:
    """Return ``text`` with plain digits, letters and signs for full-width ones.

    Every code point stays where it is, so that positions hold in both texts. Punctuation that
    ends a clause stays as it is.
    """
    if text.isascii() or _WIDE.search(text) is None:
        return text
    return _INSIDE.sub(_inside, text.translate(_PLAIN))


def _inside(match: re.Match[str]) -> str:
    return "," if match.group() == "\uff0c" else ":"
