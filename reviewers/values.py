"""What single values of a reply say: pure, and never a guess."""

import re
from collections.abc import Collection
from typing import cast

# Control characters, and halves of characters that no encoding can write.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def whole(value: object) -> int | None:
    """Return the whole number that ``value`` says without doubt: 3, 3.0 or "3"; else ``None``."""
    if type(value) is int:  # Nearly always.
        return value if abs(value) < 10**9 else None
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return int(value)
    if isinstance(value, int | float) and abs(value) < 10**9 and value == int(value):
        return int(value)
    return None


def fraction(value: object) -> float | None:
    """Return ``value`` when it is a number in [0, 1], else ``None``."""
    if type(value) is float:  # Nearly always.
        return value if 0 <= value <= 1 else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def known(value: object, keys: Collection[str]) -> str | None:
    """Return the one key that ``value`` says, whatever its case, else ``None``."""
    if not isinstance(value, str):
        return None
    if value in keys:
        return value
    hits = [key for key in keys if key.casefold() == value.strip().casefold()]
    return hits[0] if len(hits) == 1 else None


def link_name(item: object) -> str:
    """Return what to call a bad link."""
    if not isinstance(item, dict):
        return f"link {short(item)}"
    fields = cast("dict[str, object]", item)
    return f"link {short(fields.get('from'))} to {short(fields.get('to'))}"


def short(value: object) -> str:
    """Return a bad value on one short line; what it nests is not followed."""
    if isinstance(value, str):
        return f"'{clean(value)[:40]}'"
    if value is None or isinstance(value, bool | int | float):
        return str(value)[:40]
    return "a nested value"


def clean(text: str) -> str:
    """Return ``text`` on one line, without control characters and lone surrogates."""
    if text.isprintable():  # Nearly always, and twenty times as fast as the search.
        return text.strip()
    return _UNWRITABLE.sub(" ", text).strip()
