"""Rows of JSON: one object a line, broken lines kept as rejects, or one array of objects."""

import json
from collections.abc import Iterator
from typing import BinaryIO, cast

import msgspec

from dca.domain.errors import FormatError
from dca.formats.row import Reject, Row

MAX_LINE = 64 << 20
"""Longest line in bytes; a longer one is a reject that keeps its first ``MAX_LINE`` bytes."""
MAX_ARRAY = 1 << 30
"""Longest JSON array in bytes: unlike lines, it is in memory as a whole."""
BOM = b"\xef\xbb\xbf"
_AS_LINES = "Write one object a line instead: jq -c '.[]' FILE.json > FILE.jsonl"


def jsonl_rows(
    name: str, stream: BinaryIO, *, max_line: int = MAX_LINE, max_array: int = MAX_ARRAY
) -> Iterator[Row | Reject]:
    """Yield the lines of a stream, decoded, or the items of its one JSON array.

    Blank lines are passed over.

    Raises:
        FormatError: The stream is an array that is broken or longer than ``max_array`` bytes.
    """
    line, raw = _next_line(stream, 0, max_line)
    if raw.startswith(b"["):
        after, following = (line, b"") if _is_cut(raw) else _next_line(stream, line, max_line)
        if not following:
            yield from _array_rows(name, raw, stream, max_array)
            return
        yield _row(name, line, raw.strip())
        line, raw = after, following
    while raw:
        if not raw.endswith(b"\n") and len(raw) >= max_line:
            _skip_rest(stream)
            yield Reject(name, line, f"the line is longer than {max_line} bytes", raw)
        else:
            yield _row(name, line, raw.strip())
        line, raw = _next_line(stream, line, max_line)


def _next_line(stream: BinaryIO, line: int, limit: int) -> tuple[int, bytes]:
    """Return number and start of the next line that is not blank, ``b""`` at the end."""
    while raw := stream.readline(limit):
        line += 1
        if line == 1:
            raw = raw.removeprefix(BOM)
        if raw.strip():
            return line, raw.lstrip()
    return line, b""


def _is_cut(raw: bytes) -> bool:
    """Tell whether a line is only the beginning of a JSON value."""
    try:
        _decode(raw)
    except (ValueError, RecursionError):
        return True
    return False


def _array_rows(name: str, raw: bytes, stream: BinaryIO, limit: int) -> Iterator[Row | Reject]:
    """Yield the items of the array that starts with ``raw``; ``line`` counts items."""
    raw += stream.read(max(0, limit + 1 - len(raw)))
    if len(raw) > limit:
        raise FormatError(f"{name}: the JSON array is longer than {limit} bytes", hint=_AS_LINES)
    for place, item in enumerate(_items(name, raw), start=1):
        yield _row(name, place, item)


def _items(name: str, raw: bytes) -> Iterator[bytes]:
    """Yield the items of an array as they are written."""
    try:
        for item in msgspec.json.decode(raw, type=list[msgspec.Raw]):
            yield bytes(item)
    except (msgspec.DecodeError, RecursionError):
        for item in _decoded_array(name, raw):
            yield json.dumps(item).encode()


def _decoded_array(name: str, raw: bytes) -> list[object]:
    """Return the items of an array that only the standard decoder reads: NaN is among them."""
    try:
        return cast(list[object], json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: a broken JSON array: {error}", hint=_AS_LINES) from error


def _skip_rest(stream: BinaryIO) -> None:
    while (part := stream.readline(1 << 20)) and not part.endswith(b"\n"):
        pass


def _row(name: str, line: int, raw: bytes) -> Row | Reject:
    try:
        value = _decode(raw)
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} of a text" if error.start < len(raw) else "a byte"
        return Reject(name, line, f"not UTF-8: {place} ({error.reason})", raw)
    except ValueError as error:
        return Reject(name, line, f"broken JSON: {error}", raw)
    except RecursionError:
        return Reject(name, line, "broken JSON: nested too deeply", raw)
    if not isinstance(value, dict):
        return Reject(name, line, "not a JSON object", raw)
    return Row(line, cast(dict[str, object], value), raw)


def _decode(raw: bytes) -> object:
    """Decode one line; the slower standard decoder also reads NaN and lone surrogates.

    Python's own ``json.dumps`` writes both, so they are read here and judged field by field.
    """
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return json.loads(raw)
