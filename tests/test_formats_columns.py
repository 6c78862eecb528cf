"""Formats: forced ones name the columns that they lack, and each says which columns hold what."""

import pytest

from dca.domain.errors import FormatError
from dca.formats.build import Builder
from dca.formats.detect import detect, read_rows
from dca.formats.preview import preview_source
from dca.formats.source import expand_sources
from tests.test_formats_detect import ASSISTANT, USER, read, write_lines


@pytest.mark.parametrize(
    ("name", "record", "missing"),
    [
        ("trl", {"step": 1, "prompt": "p", "completion": "c"}, "column advantage"),
        ("verl", {"prompt": "p", "completion": "c"}, "columns input, output"),
        ("verifiers", {"prompt": "p"}, "column completion"),
        ("chat", {"prompt": "p"}, "column messages"),
        ("plain", {"question": "p", "x": 1}, "column completion"),
    ],
)
def test_a_forced_format_names_the_columns_that_it_lacks(tmp_path, name, record, missing):
    path = write_lines(tmp_path / "a.jsonl", record)

    with pytest.raises(FormatError, match=f"--format {name} needs the {missing}$") as caught:
        read(path, forced=name)

    assert "Its columns are" in caught.value.hint


def test_trl_rows_without_a_step_are_read(tmp_path):
    row = {"step": 1, "prompt": "p", "completion": "c", "reward": 1.0, "advantage": 0.5}
    bare = {"prompt": "p", "completion": "d", "reward": 0.0, "advantage": -0.5}
    _, (first, second) = read(write_lines(tmp_path / "a.jsonl", row, bare), forced="trl")

    assert (first.step, second.step) == (1, None)


def test_a_broken_line_before_an_unknown_format_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('no json\n{"a": 1}\n')

    with pytest.raises(FormatError, match="columns a; line 1 is unusable: broken JSON"):
        read(path)


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        (
            {"step": 1, "prompt": "p", "completion": "c", "r": 1.0, "advantage": 0.5, "gold": "4"},
            {"reward": "r", "truth": "gold", "group": "prompt and step"},
        ),
        (
            {"input": "p", "output": "c", "gts": "4", "score": 1, "step": 1},
            {"reward": "score", "truth": "gts", "group": "input and step"},
        ),
        (
            {"example_id": 1, "prompt": "p", "completion": "c", "reward": 1, "answer": "4"},
            {"reward": "reward", "truth": "answer", "group": "example_id"},
        ),
        (
            {"messages": [USER, ASSISTANT], "score": 1, "dataset": "d"},
            {"reward": "score", "task": "dataset"},
        ),
    ],
)
def test_every_format_says_which_columns_hold_what(tmp_path, record, facts):
    path = write_lines(tmp_path / "a.jsonl", record)
    (source,) = expand_sources([str(path)])
    found, _ = detect(source, read_rows(source, {}))

    assert preview_source(source, found, Builder()).facts == facts
