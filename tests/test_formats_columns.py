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


def trl_rows(*names):
    """Return rows of one TRL group with two reward functions that both count."""
    values = [(1.0, 0.5, 0.8333), (0.0, 0.5, -0.1667), (0.0, 0.0, -0.6667)]
    return [
        {
            "step": 1,
            "prompt": "p",
            "completion": text,
            names[0]: one,
            names[1]: two,
            "advantage": advantage,
        }
        for text, (one, two, advantage) in zip("abc", values, strict=True)
    ]


@pytest.mark.parametrize("names", [("accuracy_reward", "format_reward"), ("reward", "format")])
def test_a_mapped_reward_of_a_trl_file_is_the_outcome_and_all_are_kept(tmp_path, names):
    path = write_lines(tmp_path / "a.jsonl", *trl_rows(*names))

    _, summed = read(path)
    found, (one, two, three) = read(path, mapping={"reward": names[0]})
    _, last = read(path, mapping={"reward": names[1]})

    assert found.format.name == "trl"
    assert [item.reward for item in summed] == [1.5, 0.5, 0.0]
    assert [item.reward for item in (one, two, three)] == [1.0, 0.0, 0.0]
    assert [item.reward for item in last] == [0.5, 0.5, 0.0]
    assert one.rewards == summed[0].rewards == {names[0]: 1.0, names[1]: 0.5}
    assert "--map reward=accuracy_reward" in found.format.note
    source = found.source
    shown = preview_source(source, found, Builder(), mapping={"reward": names[0]})
    assert shown.facts == {"reward": names[0], "group": "prompt and step"}


def test_a_mapped_reward_outside_the_reward_functions_of_a_trl_file_is_found(tmp_path):
    rows = [{**row, "note": "x", "judge": 0.25} for row in trl_rows("a_reward", "b_reward")]
    rows[1]["judge"] = None
    path = write_lines(tmp_path / "a.jsonl", *rows)

    _, (one, two, _) = read(path, mapping={"reward": "judge", "group": "note"})

    assert (one.reward, two.reward) == (0.25, None)
    assert one.rewards == {"a_reward": 1.0, "b_reward": 0.5, "judge": 0.25}
    assert two.rewards == {"a_reward": 0.0, "b_reward": 0.5}
    assert one.meta["source_group"] == "x"


@pytest.mark.parametrize(
    ("record", "mapping", "kept"),
    [
        (
            {"input": "p", "output": "c", "gts": "4", "score": 1, "step": 1},
            {"reward": "acc", "truth": "gold", "group": "qid", "task": "kind"},
            {"score": 1.0},
        ),
        (
            {"example_id": 1, "prompt": "p", "completion": "c", "reward": 1, "answer": "4"},
            {"reward": "acc", "truth": "gold", "group": "qid", "task": "kind"},
            {},
        ),
    ],
)
def test_mapped_columns_stand_before_those_of_the_format(tmp_path, record, mapping, kept):
    more = {"acc": 0.5, "gold": "5", "qid": "q", "kind": "sums"}
    path = write_lines(tmp_path / "a.jsonl", {**record, **more})
    found, (one,) = read(path, mapping=mapping)

    assert (one.reward, one.truth, one.task) == (0.5, "5", "sums")
    assert (one.meta["source_group"], one.rewards) == ("q", kept)
    facts = preview_source(found.source, found, Builder(), mapping=mapping).facts
    assert facts == mapping
