"""Records that come again: in one file, in two files, in one import or in two."""

import json

import pytest

from dca.formats.build import MISPLACED
from dca.pipeline.importing import CONFLICT, REUSED, ImportOptions, import_rollouts
from store.engine import open_store, transaction
from store.jobs import list_jobs
from store.rollouts import iter_rollouts
from store.selection import Selection

RECORD = {"prompt": "What is 1+1?", "completion": "A: 2", "reward": 1}


@pytest.fixture
def memory():
    engine = open_store("sqlite://")
    yield engine
    engine.dispose()


@pytest.fixture
def write(tmp_path):
    def write_lines(name, *records):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return str(path)

    return write_lines


def add(engine, tmp_path, *paths):
    """Import files and return the counts and the reasons against records."""
    options = ImportOptions(rejects=tmp_path / "rejects" / "r.jsonl")
    options.rejects.parent.mkdir(exist_ok=True)
    done = import_rollouts(engine, paths, options)
    path = done.rejects_path
    lines = path.read_text().splitlines() if path else []
    reasons = [json.loads(line)["reason"] for line in lines]
    return (done.new, done.unchanged, done.rejected), reasons


def stored(engine):
    with transaction(engine) as session:
        return {item.id: item for page in iter_rollouts(session, Selection()) for item in page}


def both_ways(tmp_path, one, two):
    """Import two files in one import and in two; return the counts and what each store holds."""
    results = []
    for calls in ([(one, two)], [(one,), (two,)]):
        engine = open_store("sqlite://")
        counts = [add(engine, tmp_path, *paths)[0] for paths in calls]
        results.append(([sum(column) for column in zip(*counts, strict=True)], stored(engine)))
        engine.dispose()
    return results


def test_an_id_that_comes_with_another_text_is_a_reject_in_a_later_import(
    store_engine, write, tmp_path
):
    first = write("1.jsonl", {**RECORD, "id": "a"}, {**RECORD, "id": "b", "completion": "A: 5"})
    later = write(
        "2.jsonl",
        {**RECORD, "id": "a", "completion": "A: 3"},
        {**RECORD, "id": "b", "completion": "A: 5"},
        {**RECORD, "id": "c"},
        {**RECORD, "id": "a", "reward": 0},
    )

    assert add(store_engine, tmp_path, first) == ((2, 0, 0), [])
    again = add(store_engine, tmp_path, later)

    used = "the id 'a' was already used with other content"
    assert again == ((1, 1, 2), [used, REUSED.format("a")])
    assert add(store_engine, tmp_path, later) == ((0, 2, 2), [used, REUSED.format("a")])
    assert sorted(item.completion for item in stored(store_engine).values()) == [
        "A: 2",
        "A: 2",
        "A: 5",
    ]
    with transaction(store_engine) as session:
        job, *_ = list_jobs(session)
    assert job.counts == {"new": 0, "unchanged": 2, "rejected": 2}
    assert job.message == f"rejects are in {tmp_path / 'rejects' / 'r-2.jsonl'}"


def test_an_id_that_comes_with_another_reward_is_a_conflict(memory, write, tmp_path):
    add(memory, tmp_path, write("1.jsonl", {**RECORD, "id": "a"}))
    later = write("2.jsonl", {**RECORD, "id": "a", "reward": 0})
    assert add(memory, tmp_path, later) == ((0, 0, 1), [CONFLICT])


def test_dumps_that_both_number_from_0_are_no_conflict(write, tmp_path):
    sums = [{"id": n, "prompt": f"{n}+1?", "completion": f"A: {n + 1}"} for n in range(4)]
    rest = [{**record, "prompt": f"{n}*2?"} for n, record in enumerate(sums[:2])]
    rest += [{**sums[2], "model": "m"}, {**sums[3], "step": 7}]
    one, two = write("1.jsonl", *sums), write("2.jsonl", *rest)

    at_once, by_and_by = both_ways(tmp_path, one, two)

    assert at_once == by_and_by
    assert at_once[0] == [8, 0, 0]


def test_numbers_of_samples_may_begin_anew_in_each_group(memory, write, tmp_path):
    records = [
        {"qid": group, "sample_id": n, "prompt": f"Problem {group}", "completion": f"A: {n}"}
        for group in range(3)
        for n in range(2)
    ]
    assert add(memory, tmp_path, write("1.jsonl", *records)) == ((6, 0, 0), [])


@pytest.mark.parametrize("name", [{}, {"id": "a"}])
def test_a_copy_in_another_file_is_unchanged_in_one_import_or_in_two(write, tmp_path, name):
    one = write("1.jsonl", {**RECORD, **name})
    two = write("2.jsonl", {**RECORD, **name}, {**RECORD, "completion": "A: 3"})

    at_once, by_and_by = both_ways(tmp_path, one, two)

    assert at_once == by_and_by
    assert at_once[0] == [2, 1, 0]


def test_a_text_twice_in_one_file_is_two_samples_and_in_the_other_the_same_two(write, tmp_path):
    one = write("1.jsonl", RECORD, RECORD)
    two = write("2.jsonl", RECORD, RECORD, RECORD)

    at_once, by_and_by = both_ways(tmp_path, one, two)

    assert at_once == by_and_by
    assert at_once[0] == [3, 2, 0]


def test_every_import_keeps_its_own_rejects(memory, write, tmp_path):
    options = ImportOptions(rejects=tmp_path / "import-rejects.jsonl")
    names = []
    for number in (1, 2, 3):
        path = write(f"{number}.jsonl", RECORD, {"prompt": f"broken {number}"})
        names.append(import_rollouts(memory, [path], options).rejects_path)
    whole = import_rollouts(memory, [str(tmp_path / "[0-9].jsonl")], options)
    again = import_rollouts(memory, [str(tmp_path)], options)

    assert [path.name for path in names] == [
        "import-rejects.jsonl",
        "import-rejects-2.jsonl",
        "import-rejects-3.jsonl",
    ]
    for number, path in enumerate(names, start=1):
        (line,) = path.read_text().splitlines()
        assert f"broken {number}" in json.loads(line)["raw"]
    assert whole.rejects_path.name == "import-rejects-4.jsonl"
    # A folder gives none of the rejects files back.
    assert again.rejected == 3


def test_offsets_that_do_not_fit_are_left_out_and_counted(memory, write, tmp_path):
    tokens = {"token_ids": [1, 2], "logprobs": [-1, -1]}
    path = write(
        "1.jsonl",
        {**RECORD, **tokens, "offsets": [[0, 2], [3, 4]]},
        {**RECORD, **tokens, "completion": "A: 3", "offsets": [[2, 4], [0, 2]]},
        {**RECORD, **tokens, "completion": "A: 4", "offsets": [[0, 2], [2, 9]]},
    )
    done = import_rollouts(memory, [path, write("2.jsonl")], ImportOptions())

    assert (done.new, done.rejected, done.misplaced) == (3, 0, 2)
    found = {item.completion: item for item in stored(memory).values()}
    assert list(found["A: 2"].tokens.offsets) == [0, 2, 3, 4]
    assert [found[text].tokens.offsets for text in ("A: 3", "A: 4")] == [None, None]
    assert found["A: 3"].meta == {MISPLACED: "token 1 goes backwards in the text"}
    assert import_rollouts(memory, [path], ImportOptions()).unchanged == 3


def test_columns_with_our_own_names_are_kept_under_another(memory, write, tmp_path):
    record = {**RECORD, "source_id": "theirs"}
    path = write("1.jsonl", record, {**record, "completion": "A: 3"}, {**record, "id": 5})
    assert add(memory, tmp_path, path) == ((3, 0, 0), [])
    found = [item.meta for item in stored(memory).values()]
    assert {"source.source_id": "theirs"} in found
    assert {"source.source_id": "theirs", "source_id": "5"} in found
