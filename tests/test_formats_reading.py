"""Sources and rows: files, globs, compression, broken lines."""

import gzip
import io
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from dca.domain.errors import BadRecord, FormatError, UsageError
from dca.formats import fields
from dca.formats.csv_rows import csv_rows
from dca.formats.detect import check_mapping, read_rows, renamed
from dca.formats.jsonl import jsonl_rows
from dca.formats.rejects import is_rejects, reject_line
from dca.formats.row import Reject, Row, Sample
from dca.formats.source import Source, expand_sources, open_source

LINES = b"".join(b'{"n": %d}\n' % n for n in range(1000))


def rows_of(path):
    (source,) = expand_sources([str(path)])
    return list(read_rows(source, {}))


def reasons(text, **options):
    return [
        row.reason if isinstance(row, Reject) else row.fields
        for row in jsonl_rows("x", io.BytesIO(text), **options)
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.jsonl.zst", zstandard.compress(LINES)),
        (
            "two-frames.jsonl.zst",
            zstandard.compress(LINES[:5000]) + zstandard.compress(LINES[5000:]),
        ),
        ("no-suffix", LINES),
        ("compressed-no-suffix", gzip.compress(LINES)),
        ("wrong-suffix.jsonl", zstandard.compress(LINES)),
    ],
)
def test_a_file_reads_the_same_in_every_packing(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)

    assert [row.fields["n"] for row in rows_of(path)] == list(range(1000))


def test_standard_input_is_read_as_json_lines_packed_or_not():
    code = (
        "from dca.formats.source import expand_sources\n"
        "from dca.formats.detect import read_rows\n"
        "print(sum(1 for _ in read_rows(expand_sources(['-', '-'])[0], {})))"
    )
    for content in (LINES, gzip.compress(LINES), zstandard.compress(LINES), b""):
        done = subprocess.run(
            [sys.executable, "-c", code], input=content, capture_output=True, check=True
        )
        assert done.stdout.strip() == (b"1000" if content else b"0"), done.stderr


def test_globs_and_folders_give_each_file_once_and_leave_out_the_rejects(tmp_path):
    (tmp_path / "runs" / "deep").mkdir(parents=True)
    names = ["runs/1.jsonl", "runs/2.csv", "runs/deep/3.parquet", "runs/4.jsonl.gz"]
    names += ["runs/import-rejects-x.jsonl", "runs/import-rejects-3.jsonl"]
    others = ["runs/notes.txt", "runs/metadata.json", "runs/import-rejects.jsonl"]
    for name in names + others:
        (tmp_path / name).touch()
    reject = Reject("a.jsonl", 1, "why", b"{}")
    (tmp_path / "runs" / "import-rejects-2.jsonl").write_bytes(reject_line(reject))
    rejects = tmp_path / "runs" / "import-rejects.jsonl"

    patterns = [str(tmp_path / "runs" / "*.jsonl"), str(tmp_path / "runs"), "-", "-"]
    found = expand_sources(patterns, leave_out=lambda path: is_rejects(path, rejects))

    assert [source.name for source in found if source.path] == [
        str(tmp_path / name)
        for name in [
            "runs/1.jsonl",
            "runs/import-rejects-3.jsonl",
            "runs/import-rejects-x.jsonl",
            "runs/2.csv",
            "runs/4.jsonl.gz",
            "runs/deep/3.parquet",
        ]
    ]
    assert found[-1].name == "-"
    assert not is_rejects(tmp_path / "import-rejects-9.jsonl", rejects)  # no such file
    kinds = ["jsonl", "jsonl", "jsonl", "csv", "jsonl", "parquet", "jsonl"]
    assert [source.kind for source in found] == kinds


def test_a_pattern_that_names_nothing_is_a_format_error(tmp_path):
    with pytest.raises(FormatError, match="no such file") as error:
        expand_sources([str(tmp_path / "*.jsonl")])
    assert "globs" in error.value.hint


def test_bytes_that_say_nothing_are_a_format_error(tmp_path):
    path = tmp_path / "mystery"
    path.write_bytes(b"\x00\x01\x02")
    with pytest.raises(FormatError, match="neither its name nor its first bytes"):
        expand_sources([str(path)])


def test_a_parquet_file_is_known_by_its_first_bytes(tmp_path):
    path = tmp_path / "table"
    pq.write_table(pa.table({"n": [1, 2]}), path)
    assert [row.fields for row in rows_of(path)] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_a_cut_archive_is_a_format_error(tmp_path, pack):
    path = tmp_path / "cut.jsonl"
    content = pack(os.urandom(2_000_000).hex().encode())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match=r"cut\.jsonl: cannot be read"):
        rows_of(path)


def test_a_damaged_gzip_block_is_a_format_error(tmp_path):
    path = tmp_path / "bad.jsonl.gz"
    content = bytearray(gzip.compress(os.urandom(100_000).hex().encode()))
    content[2000:2100] = bytes(100)
    path.write_bytes(bytes(content))
    with pytest.raises(FormatError, match="cannot be read"):
        rows_of(path)


def test_a_folder_given_as_a_file_cannot_be_opened(tmp_path):
    with pytest.raises(FormatError), open_source(Source("x", tmp_path, "jsonl")):
        pass


def test_broken_lines_are_rejects_with_their_number_and_the_rest_is_read():
    text = b"".join(
        [
            b'\xef\xbb\xbf{"n": 1}\r\n',
            b"\n",
            b'{"n": \n',
            b"[1, 2]\n",
            b'{"a": "\xff"}\n',
            b'{"a": "x\x00y"}\n',
            b"[" * 100_000 + b"\n",
            b'{"n": 2}',
        ]
    )
    found = list(jsonl_rows("x", io.BytesIO(text)))

    assert [row.line for row in found] == [1, 3, 4, 5, 6, 7, 8]
    assert [row.fields for row in found if isinstance(row, Row)] == [{"n": 1}, {"n": 2}]
    starts = [row.reason[:11] for row in found if isinstance(row, Reject)]
    assert starts == ["broken JSON", "not a JSON ", "not UTF-8: ", "broken JSON", "broken JSON"]
    assert found[3].raw == b'{"a": "\xff"}'


def test_what_python_writes_as_json_is_read_nan_and_surrogates_too():
    (found,) = jsonl_rows("x", io.BytesIO(b'{"a": NaN, "b": "\\ud800"}'))
    assert found.fields["a"] != found.fields["a"]
    assert found.fields["b"] == "\ud800"


def test_an_endless_line_is_one_reject_and_the_next_line_is_read():
    text = b'{"a": "' + b"x" * 5000 + b'"}\n{"n": 1}\n' + b"y" * 5000
    found = reasons(text, max_line=1000)
    assert found == [
        "the line is longer than 1000 bytes",
        {"n": 1},
        "the line is longer than 1000 bytes",
    ]


def test_csv_records_may_span_lines_and_bad_ones_are_rejects(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"\xef\xbb\xbfprompt,completion,reward\n"
        b'"two\nlines",ok,1\n'
        b"short,row\n"
        b"caf\xe9,x,1\n"
        b"\n"
        b"caf\xc3\xa9,x,\n"
    )
    found = rows_of(path)

    assert [row.line for row in found] == [2, 4, 5, 7]
    assert found[0].fields == {"prompt": "two\nlines", "completion": "ok", "reward": "1"}
    assert found[1].reason == "2 fields where the header has 3"
    assert found[2].reason == "not UTF-8"
    assert found[2].raw == b'["caf\xe9", "x", "1"]'
    assert found[3].fields == {"prompt": "café", "completion": "x"}


def test_a_tab_separated_file_is_read_by_its_suffix(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(b"a\tb\n1,5\t2\n"))
    assert rows_of(path)[0].fields == {"a": "1,5", "b": "2"}


def test_an_overlong_csv_field_is_a_reject(monkeypatch):
    monkeypatch.setattr("dca.formats.csv_rows.MAX_LINE", 100)
    text = b"a,b\n" + b"x" * 200 + b",1\n2,3\n"
    found = list(csv_rows("x", io.BytesIO(text), tabbed=False))
    assert found[0].reason.startswith("broken CSV up to line 2: field larger than")
    assert found[-1].fields == {"a": "2", "b": "3"}


def test_an_empty_csv_file_has_no_rows():
    assert list(csv_rows("x", io.BytesIO(b""), tabbed=False)) == []


def test_a_parquet_row_with_broken_utf8_is_a_reject_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    bad = pa.Array.from_buffers(
        pa.string(),
        3,
        [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0\5\0\0\0"), pa.py_buffer(b"ok\xffok")],
    )
    pq.write_table(pa.table({"text": bad, "n": [1, 2, 3]}), path)
    found = rows_of(path)

    assert [row.line for row in found] == [1, 2, 3]
    assert isinstance(found[1], Reject)
    assert found[1].raw == b"\xff"
    assert found[2].fields == {"text": "ok", "n": 3}
    assert json.loads(found[2].raw) == {"text": "ok", "n": 3}


def test_a_broken_parquet_file_is_a_format_error(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(FormatError, match="not a readable Parquet file"):
        rows_of(path)


def test_renaming_keeps_a_column_that_stands_in_the_way():
    given = {"prompt": "old", "question": "Q", "score": 1, "other": 2}
    found = renamed(given, {"prompt": "question", "reward": "score", "truth": "missing"})
    assert list(found.items()) == [
        ("source.prompt", "old"),
        ("prompt", "Q"),
        ("reward", 1),
        ("other", 2),
    ]
    assert renamed({"a": 5}, {"truth": "a", "group": "a"}) == {"truth": 5, "group": 5}


def test_a_mapping_to_an_unknown_fact_names_the_nearest():
    check_mapping({"prompt": "q", "messages": "m"})
    with pytest.raises(UsageError, match="'promt'") as error:
        check_mapping({"promt": "question"})
    assert error.value.hint == "Did you mean prompt?"
    with pytest.raises(UsageError) as error:
        check_mapping({"zzzz": "question"})
    assert error.value.hint.startswith("Known: prompt")


def test_a_sample_without_rows_has_no_column():
    sample = Sample(Source("x", None, "jsonl"), ())
    assert not sample.all_have("prompt")
    assert sample.columns == ()


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (True, 1.0), ("0.5", 0.5), ("false", 0.0), (" True ", 1.0), (float("nan"), None)],
)
def test_numbers_are_read(value, number):
    assert fields.number("x", value) == number


def test_what_is_no_number_is_refused():
    for value in ("half", [1], float("inf"), 10**400, {}):
        with pytest.raises(BadRecord, match=r"^x "):
            fields.number("x", value)


def test_whole_numbers_names_and_truth_values():
    assert fields.whole("x", 3.0) == 3
    assert fields.label("x", 7) == "7"
    assert fields.label("x", "q7") == "q7"
    assert fields.truth([1, "a"]) == '[1, "a"]'
    assert fields.truth_value("x", "true") is True
    for wrong in (1.5, float("nan")):
        with pytest.raises(BadRecord, match="whole"):
            fields.whole("x", wrong)
    with pytest.raises(BadRecord, match="text or a whole number, is true or false"):
        fields.label("x", value=True)
    with pytest.raises(BadRecord, match="true or false, is 2"):
        fields.truth_value("x", 2)
    with pytest.raises(BadRecord, match="text, is a list"):
        fields.text("x", [])


def test_token_arrays_are_checked():
    assert list(fields.token_ids("x", "[1, 2]")) == [1, 2]
    assert list(fields.log_probabilities("x", [-1, 0.0001])) == [-1.0, 0.0]
    ranges = [[0, 1], {"start": 1, "end": 3}, {"start": 3, "stop": 3}]
    assert list(fields.offsets("x", ranges)) == [0, 1, 1, 3, 3, 3]
    assert list(fields.offsets("x", [0, 2])) == [0, 2]
    wrong = [
        (lambda: fields.token_ids("x", [1, "a"]), "whole numbers"),
        (lambda: fields.token_ids("x", [2**31]), "whole numbers"),
        (lambda: fields.token_ids("x", [-1]), "negative id -1"),
        (lambda: fields.token_ids("x", "[1,"), "no JSON list"),
        (lambda: fields.token_ids("x", 5), "must be a list"),
        (lambda: fields.log_probabilities("x", [None]), "numbers"),
        (lambda: fields.log_probabilities("x", [float("-inf")]), "not finite"),
        (lambda: fields.log_probabilities("x", [0.5]), "holds 0.5"),
        (lambda: fields.offsets("x", [1]), "must be pairs, are 1 numbers"),
        (lambda: fields.offsets("x", [[0, None]]), "whole numbers"),
    ]
    for call, message in wrong:
        with pytest.raises(BadRecord, match=message):
            call()


def test_values_become_what_json_can_hold():
    value = {"a": [float("nan"), 1.5, None, True], "b": (1, b"x"), 3: "t"}
    assert fields.json_value(value) == {"a": [None, 1.5, None, True], "b": [1, "b'x'"], "3": "t"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a\0b", "NUL"),
        ({"k": ["é\ud800"]}, "lone surrogate at code point 1"),
        ({"\0": 1}, "NUL"),
        ([1, {"a": "\udfff"}], "surrogate"),
    ],
)
def test_text_that_no_database_holds_is_refused_wherever_it_is(value, message):
    with pytest.raises(BadRecord, match=message):
        fields.check_text("meta", value)
    fields.check_text("meta", {"fine": ["ünï 👍🏽", 1, None]})
