"""Rows of CSV and TSV files: every value is text, empty means missing."""

import _csv
import csv
import io
import json
from collections.abc import Iterator
from typing import BinaryIO

from dca.formats.jsonl import MAX_LINE
from dca.formats.row import Reject, Row


def csv_rows(name: str, stream: BinaryIO, *, tabbed: bool) -> Iterator[Row | Reject]:
    """Yield the records under the header line; ``line`` is the first line of a record.

    Bytes that are no UTF-8 come through as surrogates and make their own record a reject.
    """
    csv.field_size_limit(MAX_LINE)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _records(name, csv.reader(text, delimiter="\t" if tabbed else ","))
    finally:
        # The stream belongs to the caller; the wrapper would close it when it goes.
        text.detach()


def _records(name: str, reader: "_csv.Reader") -> Iterator[Row | Reject]:
    header = next(reader, [])
    start = reader.line_num + 1
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Reject(name, start, f"broken CSV up to line {reader.line_num}: {error}", b"")
        else:
            if values:
                yield _row(name, start, header, values)
        start = reader.line_num + 1


def _row(name: str, line: int, header: list[str], values: list[str]) -> Row | Reject:
    raw = json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogateescape")
    if len(values) != len(header):
        reason = f"{len(values)} fields where the header has {len(header)}"
        return Reject(name, line, reason, raw)
    if any("\udc80" <= char <= "\udcff" for value in values for char in _non_ascii(value)):
        return Reject(name, line, "not UTF-8", raw)
    filled = {key: value for key, value in zip(header, values, strict=True) if value != ""}
    return Row(line, filled, raw)


def _non_ascii(text: str) -> str:
    """Return the text, or nothing when it is plain ASCII: saves the scan of most fields."""
    return "" if text.isascii() else text
