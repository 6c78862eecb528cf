"""Drafts become rollouts: faults are refused, ids and groups are stable."""

import json

import pytest

from dca.domain.errors import BadRecord
from dca.formats.build import Builder
from dca.formats.detect import detect, read_rows
from dca.formats.row import Row, Sample
from dca.formats.source import Source, expand_sources


def write_lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path):
    """Return the rollouts of a file, or the reasons against them."""
    (source,) = expand_sources([str(path)])
    found, rows = detect(source, read_rows(source, {}))
    builder = Builder()
    results = []
    for row in rows:
        try:
            results.append(builder.build(found.reader(dict(row.fields))))
        except BadRecord as error:
            results.append(str(error))
    return results


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"completion": " \n"}, "the completion is empty"),
        ({"completion": ""}, "the completion is empty"),
        ({"completion": None}, "completion is missing"),
        ({"completion": 5}, "completion must be a list of messages"),
        ({"prompt": None}, "prompt is missing"),
        ({"completion": "a\0b"}, "completion holds a NUL character"),
        ({"prompt": "\ud800"}, "prompt holds a lone surrogate at code point 0"),
        ({"truth": "\udfff"}, "truth holds a lone surrogate at code point 0"),
        ({"note": ["\0"]}, "note holds a NUL character"),
        ({"completion": "x" * 2_000_001}, "the completion has 2000001 code points, the limit is"),
        ({"prompt": "x" * 2_000_001}, "the prompt has 2000001 code points"),
        ({"reward": "high"}, "reward must be a number, is the text 'high'"),
        ({"reward": [1]}, "reward must be a number, is a list"),
        ({"rewards": [1]}, "rewards must be an object"),
        ({"step": -1}, "step must be in"),
        ({"step": 1.5}, "step must be a whole number"),
        ({"task": [1]}, "task must be text or a whole number, is a list"),
        ({"token_ids": []}, "token_ids is empty"),
        ({"token_ids": [1], "logprobs": [-1, -1]}, "2 log-probabilities for 1 tokens"),
        ({"token_ids": [1], "offsets": [[0, 1], [1, 1]]}, "4 offsets for 1 tokens"),
        ({"token_ids": [1], "tokenizer": 1.5}, "tokenizer must be text"),
        ({"temperature": "hot"}, "temperature must be a number"),
    ],
)
def test_a_record_with_a_fault_is_refused_with_the_reason(tmp_path, change, reason):
    record = {"prompt": "Q", "completion": "A", "reward": 1}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps({**record, **change}) + "\n")
    good, bad = read(path)
    assert good.completion == "A"
    assert bad.startswith(reason)


def test_an_id_names_one_record():
    rows = [
        {"id": "a", "prompt": "Q", "completion": "one", "reward": 1},
        {"id": "a", "prompt": "Q", "completion": "one", "reward": 1},
        {"id": "a", "prompt": "Q", "completion": "two", "reward": 1},
        {"id": "a", "prompt": "Q", "completion": "one", "reward": 0},
        {"id": "a", "prompt": "Q", "completion": "two", "reward": 1, "step": 2},
        {"id": "b", "prompt": "Q", "completion": ""},
        {"id": "b", "prompt": "Q", "completion": "late"},
    ]
    sample = Sample(Source("x", None, "jsonl"), tuple(Row(1, row, b"") for row in rows))
    found, _ = detect(sample.source, iter(sample.rows))
    builder = Builder(task="t", model="m")
    results = []
    for row in rows:
        try:
            results.append(builder.build(found.reader(dict(row))))
        except BadRecord as error:
            results.append(str(error))

    assert results[0].task == "t"
    assert results[0].model == "m"
    assert results[1] is None
    assert results[2] == results[3] == "the id 'a' was already used with other content"
    assert results[4].completion == "two"
    assert results[5] == "the completion is empty"
    assert results[6].completion == "late"


def test_equal_texts_without_ids_are_different_rollouts_of_one_group(tmp_path):
    record = {"prompt": "Q", "completion": "A"}
    path = write_lines(tmp_path / "a.jsonl", record, record, record)
    first = [rollout.id for rollout in read(path)]
    assert len(set(first)) == 3
    assert first == [rollout.id for rollout in read(path)]


def test_a_named_group_counts_within_its_step_and_keeps_models_together(tmp_path):
    base = {"completion": "A", "group": "q1", "prompt": "Q"}
    path = write_lines(
        tmp_path / "a.jsonl",
        {**base, "step": 1},
        {**base, "step": 1, "prompt": "Q, asked otherwise"},
        {**base, "step": 2},
        {**base, "step": 1, "model": "m"},
    )
    one, two, three, four = (rollout.group_id for rollout in read(path))
    assert one == two == four
    assert three != one
