"""Text from models and files made safe to show: nothing in it can steer a terminal."""

import re
from collections.abc import Mapping
from typing import TextIO

UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, with the escape that begins every ANSI sequence
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # hidden, bidirectional
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # byte order mark, annotations, invisible tags
    "\ud800-\udfff"  # lone surrogates, which no terminal can be sent
    "]"
)
"""What a terminal would obey or hide. Joiners stay: emoji and several scripts need them."""
SPACES = re.compile(r"\s+")


def visible(text: str) -> str:
    r"""Return ``text`` with unsafe characters written out as ``\x1b`` or ``\u202e``.

    Newlines and tabs stay; a carriage return before a newline goes.
    """
    return UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return ``visible(text)`` on one line, runs of white space as one space."""
    return visible(SPACES.sub(" ", text)).strip()


def is_dumb(environment: Mapping[str, str]) -> bool:
    """Tell whether the terminal understands no cursor movement."""
    return environment.get("TERM", "").lower() in {"dumb", "unknown"}


def speaks_unicode(stream: TextIO) -> bool:
    """Tell whether ``stream`` can carry every character."""
    return (stream.encoding or "").lower().replace("-", "") in {"utf8", "utf16", "utf32"}


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
