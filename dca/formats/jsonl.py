"""Rows of JSON Lines: one object a line, broken lines kept as rejects."""

import json
from collections.abc import Iterator
from typing import BinaryIO, cast

import msgspec

from dca.formats.row import Reject, Row

MAX_LINE = 64 << 20
"""Longest line in bytes; a longer one is a reject that keeps its first ``MAX_LINE`` bytes."""
BOM = b"\xef\xbb\xbf"


def jsonl_rows(name: str, stream: BinaryIO, *, max_line: int = MAX_LINE) -> Iterator[Row | Reject]:
    """Yield the lines of a stream, decoded; blank lines are passed over."""
    line = 0
    while raw := stream.readline(max_line):
        line += 1
        if line == 1:
            raw = raw.removeprefix(BOM)
        if not raw.endswith(b"\n") and len(raw) >= max_line:
            _skip_rest(stream)
            yield Reject(name, line, f"the line is longer than {max_line} bytes", raw)
        elif raw.strip():
            yield _row(name, line, raw.strip())


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
