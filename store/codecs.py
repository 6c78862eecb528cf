"""How values become columns: JSON, arrays as little-endian blobs, text that any database holds."""

import json
import sys
from array import array
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder()

ITEM_BYTES = {"b": 1, "i": 4, "f": 4, "d": 8}
"""Typecodes that a blob may hold, with their size; the same on every supported machine."""


def to_json(value: object) -> str:
    r"""Return compact JSON with sorted keys.

    Lone surrogates, which UTF-8 cannot hold, come out as ``\ud800`` escapes.
    """
    try:
        return _ENCODER.encode(value).decode()
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value)
        return json.dumps(plain, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def from_json(text: str | bytes) -> Any:  # noqa: ANN401 - JSON is any value
    """Return the value that ``to_json`` wrote."""
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:
        # msgspec refuses escaped lone surrogates, the standard library reads them.
        return json.loads(text)


def to_blob(values: "array[Any] | None", typecode: str) -> bytes | None:
    """Return the items as little-endian bytes of ``typecode``, ``None`` for ``None``."""
    if values is None:
        return None
    items = values if values.typecode == typecode else array(typecode, values)
    if sys.byteorder == "big":  # pragma: no cover - no such machine runs the tests
        items = array(typecode, items)
        items.byteswap()
    return items.tobytes()


def from_blob(blob: bytes | None, typecode: str) -> "array[Any] | None":
    """Return the items that ``to_blob`` wrote, ``None`` for ``None``."""
    if blob is None:
        return None
    items: array[Any] = array(typecode)
    items.frombytes(blob)
    if sys.byteorder == "big":  # pragma: no cover - no such machine runs the tests
        items.byteswap()
    return items


def storable(text: str) -> str:
    r"""Return text that both databases hold: NUL and lone surrogates become visible escapes.

    PostgreSQL has no NUL in text, and no database has lone surrogates: they are written as
    ``\x00`` and ``\ud800``. All other text comes back as it is.
    """
    if "\x00" in text:
        text = text.replace("\x00", "\\x00")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def to_raw(text: str) -> bytes:
    """Return any text as bytes, also with NUL and lone surrogates."""
    return text.encode(errors="surrogatepass")


def from_raw(raw: bytes) -> str:
    """Return the text that ``to_raw`` wrote."""
    return raw.decode(errors="surrogatepass")
