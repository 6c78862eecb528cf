"""A JSON array of records is read like one record a line."""

import gzip
import io
import json

import pytest

from dca.domain.errors import FormatError
from dca.formats.detect import read_rows
from dca.formats.jsonl import jsonl_rows
from dca.formats.row import Reject
from dca.formats.source import expand_sources

RECORDS = [{"n": 1, "text": "a]é👍"}, {"n": 2, "text": '"['}, {"n": 3}]


def found(raw, **options):
    rows = jsonl_rows("x.json", io.BytesIO(raw), **options)
    return [
        (row.line, row.reason if isinstance(row, Reject) else dict(row.fields)) for row in rows
    ]


WANTED = [(place, record) for place, record in enumerate(RECORDS, start=1)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n \r\n", b"  "])
def test_the_items_of_an_array_are_the_rows(indent, before):
    raw = before + json.dumps(RECORDS, indent=indent, ensure_ascii=False).encode()
    assert found(raw) == WANTED
    assert found(raw + b"\n\n") == WANTED
    # A line longer than the limit of lines is still an array.
    assert found(raw, max_line=30) == WANTED


def test_one_object_a_line_between_brackets_is_an_array():
    lines = ",\n".join(json.dumps(record) for record in RECORDS)
    assert found(f"[\n{lines}\n]\n".encode()) == WANTED
    assert found(b"[]") == found(b"[\n]\n") == []


def test_an_item_keeps_the_bytes_that_it_had():
    (row, _) = jsonl_rows("x", io.BytesIO(b'[ {"a":  1} , {"b": 2}]'))
    assert row.raw == b'{"a":  1}'


def test_bad_items_are_rejects_and_the_rest_is_read():
    assert found(b'[{"n": 1}, 5, {"a": "\xff"}, {"n": 3}]') == [
        (1, {"n": 1}),
        (2, "not a JSON object"),
        (3, "not UTF-8: byte 1 of a text (invalid start byte)"),
        (4, {"n": 3}),
    ]


def test_what_python_writes_is_read_from_an_array_too():
    ((_, nan), (_, odd)) = found(b'[{"a": NaN}, {"a": "\\ud800"}]')
    assert nan["a"] != nan["a"]
    assert odd == {"a": "\ud800"}


@pytest.mark.parametrize(
    "raw", [b'[{"n": 1}, {"n"', b'[\n{"n": 1}\n{"n": 2}\n]', b"[" * 100_000, b'[{"n": 1},]']
)
def test_a_broken_array_is_a_fault_of_the_file(raw):
    with pytest.raises(FormatError, match=r"x\.json: a broken JSON array: ") as caught:
        found(raw)
    assert "jq -c" in caught.value.hint


def test_an_array_over_the_limit_is_a_fault_of_the_file():
    with pytest.raises(FormatError, match="longer than 20 bytes") as caught:
        found(b'[{"n": 1}, {"n": 2}, {"n": 3}]', max_array=20)
    assert "one object a line" in caught.value.hint


def test_a_list_in_the_first_line_of_many_is_a_reject():
    assert found(b'[1]\n\n{"n": 1}\n') == [(1, "not a JSON object"), (3, {"n": 1})]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a"])
def test_files_with_an_array_are_known(tmp_path, name):
    path = tmp_path / name
    raw = json.dumps(RECORDS, indent=1).encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    (source,) = expand_sources([str(path)])
    assert [row.fields for row in read_rows(source, {})] == RECORDS
