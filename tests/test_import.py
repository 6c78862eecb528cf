"""Import: files into a real store, idempotent, with every bad record accounted for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from dca.domain.errors import FormatError, UsageError
from dca.formats.verify import Outcome
from dca.pipeline.importing import CONFLICT, ImportOptions, import_rollouts, preview
from store.engine import open_store, transaction
from store.jobs import list_jobs
from store.rollouts import count_rollouts, iter_rollouts
from store.selection import Selection
from training.tokens import Utf8Bytes, identity

IMPORT = """
import sys
from pathlib import Path
from dca.pipeline.importing import ImportOptions, import_rollouts
from store.engine import open_store

engine = open_store(sys.argv[1])
options = ImportOptions(rejects=Path(sys.argv[3]))
import_rollouts(engine, [sys.argv[2]], options, on_progress=lambda p: print(p.rows, flush=True))
"""
RECORD = {"prompt": "What is 1+1?", "completion": "A: 2", "truth": "2", "reward": 0.25}


def write_lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def options(folder, **changes):
    return ImportOptions(rejects=folder / "rejects.jsonl", **changes)


def stored(engine):
    with transaction(engine) as session:
        pages = iter_rollouts(session, Selection())
        return {rollout.id: rollout for page in pages for rollout in page}


def rejects_of(folder):
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


@pytest.fixture
def memory():
    engine = open_store("sqlite://")
    yield engine
    engine.dispose()


def test_a_second_import_changes_nothing(store_url, tmp_path):
    engine = open_store(store_url)
    path = write_lines(
        tmp_path / "a.jsonl",
        RECORD,
        RECORD,
        {**RECORD, "completion": "Ünï 👍🏽\nA: 3", "token_ids": [1, 2], "logprobs": [-1, -2]},
    )
    first = import_rollouts(engine, [path], options(tmp_path))
    before = stored(engine)
    second = import_rollouts(engine, [path, path], options(tmp_path))

    assert (first.new, first.unchanged, first.rejected) == (3, 0, 0)
    assert (second.new, second.unchanged, second.rejected) == (0, 3, 0)
    assert stored(engine) == before
    assert len(before) == 3
    assert {rollout.group_id for rollout in before.values()} == {
        next(iter(before.values())).group_id
    }
    assert first.rejects_path is None
    assert not (tmp_path / "rejects.jsonl").exists()
    assert first.formats == {path: "plain"}
    engine.dispose()


def test_every_bad_record_is_in_the_rejects_file_and_the_rest_is_stored(store_url, tmp_path):
    engine = open_store(store_url)
    lines = [
        json.dumps({**RECORD, "id": "good"}).encode(),
        b'{"prompt": "x", "completion":',
        json.dumps({"prompt": "x", "text": 5}).encode(),
        json.dumps({"prompt": "x"}).encode(),
        json.dumps({**RECORD, "completion": ""}).encode(),
        json.dumps({**RECORD, "completion": "a\0b"}).encode(),
        json.dumps({**RECORD, "completion": "a\ud83d"}).encode(),
        b'{"prompt": "x", "completion": "\xff\xfe"}',
        json.dumps({**RECORD, "completion": "x" * 5_000_000}).encode(),
        json.dumps({**RECORD, "id": "good", "completion": "other"}).encode(),
        b'{"prompt": "x", "completion": ' + b"[" * 50_000,
        json.dumps({**RECORD, "id": "good"}).encode(),
        json.dumps({**RECORD, "completion": "The last: \u2028 עברית 👩‍👩‍👧"}).encode(),
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))

    result = import_rollouts(engine, [str(path)], options(tmp_path))

    assert (result.new, result.unchanged, result.rejected) == (2, 1, 10)
    assert result.rejects_path == tmp_path / "rejects.jsonl"
    rejects = rejects_of(tmp_path)
    assert [reject["line"] for reject in rejects] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert {reject["source"] for reject in rejects} == {str(path)}
    starts = [reject["reason"].split(":")[0][:34] for reject in rejects]
    assert starts == [
        "broken JSON",
        "completion must be a list of messa",
        "completion is missing",
        "the completion is empty",
        "completion holds a NUL character",
        "completion holds a lone surrogate ",
        "not UTF-8",
        "the completion has 5000000 code po",
        "the id 'good' was already used wit",
        "broken JSON",
    ]
    for reject, line in zip(rejects, lines[1:11], strict=True):
        if reject["reason"].startswith("not UTF-8"):
            assert reject["raw_base64"] == "eyJwcm9tcHQiOiAieCIsICJjb21wbGV0aW9uIjogIv/+In0="
        else:
            assert reject["raw"].encode() == line
    assert {rollout.completion for rollout in stored(engine).values()} == {
        "A: 2",
        "The last: \u2028 עברית 👩‍👩‍👧",
    }
    with transaction(engine) as session:
        (job,) = list_jobs(session)
    assert (job.kind, job.status, job.done) == ("import", "partial", 13)
    assert job.counts == {"new": 2, "unchanged": 1, "rejected": 10}
    engine.dispose()


def test_the_same_rollout_with_another_reward_is_a_reject_and_the_stored_one_stays(
    memory, tmp_path
):
    path = write_lines(tmp_path / "a.jsonl", RECORD)
    import_rollouts(memory, [path], options(tmp_path))
    write_lines(tmp_path / "a.jsonl", {**RECORD, "reward": 1.0})
    result = import_rollouts(memory, [path], options(tmp_path))

    assert (result.new, result.unchanged, result.rejected) == (0, 0, 1)
    (reject,) = rejects_of(tmp_path)
    assert reject["reason"] == CONFLICT
    assert json.loads(reject["raw"])["reward"] == 1.0
    assert [rollout.reward for rollout in stored(memory).values()] == [0.25]


def test_verification_replaces_the_reward_and_keeps_the_source_s_own(memory, tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl",
        RECORD,
        {**RECORD, "completion": "A: 3"},
        {**RECORD, "completion": "no idea"},
        {**RECORD, "completion": "A: 2 again", "truth": None, "reward": None},
        {**RECORD, "completion": "Let me see", "truncated": True},
    )
    result = import_rollouts(memory, [path], options(tmp_path, verify="numeric"))

    assert result.rejected == 0
    assert result.verified == {
        Outcome.CORRECT: 1,
        Outcome.WRONG: 1,
        Outcome.NO_ANSWER: 1,
        Outcome.NO_TRUTH: 1,
        Outcome.UNFINISHED: 1,
    }
    found = {rollout.completion: rollout for rollout in stored(memory).values()}
    rewards = {completion: rollout.reward for completion, rollout in found.items()}
    assert rewards == {
        "A: 2": 1.0,
        "A: 3": 0.0,
        "no idea": 0.0,
        "A: 2 again": None,
        "Let me see": None,
    }
    assert found["A: 2"].rewards == {"source": 0.25}
    assert found["A: 2 again"].rewards == {}
    assert found["no idea"].meta == {"verify": "numeric:no_answer"}


def test_a_tokenizer_gives_approximate_ids_only_where_none_are(memory, tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl", RECORD, {**RECORD, "completion": "é", "token_ids": [7]}
    )
    tokenizer = Utf8Bytes()
    result = import_rollouts(memory, [path], options(tmp_path, tokenizer=tokenizer))

    assert result.approximate == 1
    found = {rollout.completion: rollout for rollout in stored(memory).values()}
    made = found["A: 2"].tokens
    assert list(made.ids) == list(b"A: 2")
    assert (made.exact, made.tokenizer) == (False, identity(tokenizer))
    assert list(made.prompt_ids) == tokenizer.encode_prompt(found["A: 2"].prompt).tolist()
    assert (list(found["é"].tokens.ids), found["é"].tokens.exact) == ([7], True)


def test_standard_input_is_imported_like_a_file(tmp_path):
    url = f"sqlite:///{tmp_path}/dca.db"
    command = [sys.executable, "-c", IMPORT, url, "-", str(tmp_path / "r.jsonl")]
    given = "".join(json.dumps({**RECORD, "completion": f"A: {n}"}) + "\n" for n in range(30))
    done = subprocess.run(command, input=given + "{\n", text=True, capture_output=True, check=True)

    assert done.stdout.split() == ["31"]
    assert json.loads((tmp_path / "r.jsonl").read_text())["source"] == "-"
    engine = open_store(url)
    assert len(stored(engine)) == 30
    engine.dispose()


def test_progress_and_sources_are_told_and_large_batches_are_cut(memory, tmp_path):
    one = write_lines(
        tmp_path / "1.jsonl", *({**RECORD, "completion": f"A: {n}"} for n in range(2500))
    )
    two = tmp_path / "2.jsonl"
    two.write_text("{\n")
    progress, seen = [], []
    result = import_rollouts(
        memory,
        [one, str(two)],
        options(tmp_path),
        on_progress=progress.append,
        on_source=seen.append,
    )

    assert [(item.rows, item.new, item.rejected) for item in progress] == [
        (1000, 1000, 0),
        (2000, 2000, 0),
        (2500, 2500, 0),
        (2501, 2500, 1),
    ]
    assert [(item.format, item.sampled) for item in seen] == [("plain", 20), ("", 1)]
    assert result.formats == {one: "plain", str(two): ""}


def test_a_preview_shows_format_columns_and_a_sample_and_writes_nothing(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl", {"score": 1}, {"question": "Q", "text": "A: 4", "score": 1}
    )
    (found,) = preview(
        [path], options(tmp_path, mapping={"prompt": "question", "reward": "score"}, task="t")
    )

    assert (found.format, found.reason) == ("plain", "columns 'prompt' and 'text'")
    assert found.columns == ("reward", "prompt", "text")
    assert (found.sampled, found.note) == (2, "")
    assert [reject.reason for reject in found.rejected] == ["prompt is missing"]
    assert (found.sample.problem, found.sample.reward, found.sample.task) == ("Q", 1.0, "t")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.jsonl"]


def test_a_fault_in_one_file_stops_the_import_before_anything_is_written(memory, tmp_path):
    good = write_lines(tmp_path / "1.jsonl", RECORD)
    bad = write_lines(tmp_path / "2.jsonl", {"foo": 1})
    with pytest.raises(FormatError, match="unknown format"):
        import_rollouts(memory, [good, bad], options(tmp_path))
    assert stored(memory) == {}


def test_a_fault_in_the_middle_of_a_file_leaves_a_failed_job_and_what_came_before(
    memory, tmp_path
):
    import gzip  # noqa: PLC0415 - only here

    path = tmp_path / "a.jsonl.gz"
    lines = "".join(
        json.dumps({**RECORD, "completion": f"{os.urandom(600).hex()}"}) + "\n"
        for _ in range(2000)
    )
    packed = gzip.compress(lines.encode())
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(FormatError, match="cannot be read"):
        import_rollouts(memory, [str(path)], options(tmp_path))

    assert len(stored(memory)) == 1000
    with transaction(memory) as session:
        (job,) = list_jobs(session)
    assert (job.status, job.counts["new"]) == ("failed", 1000)


def test_an_interrupted_import_says_so_in_its_job(memory, tmp_path):
    path = write_lines(tmp_path / "a.jsonl", RECORD)

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_rollouts(memory, [path], options(tmp_path), on_progress=interrupt)
    with transaction(memory) as session:
        (job,) = list_jobs(session)
    assert job.status == "interrupted"


def test_the_rejects_file_is_no_source(memory, tmp_path):
    path = write_lines(tmp_path / "rejects.jsonl", RECORD)
    with pytest.raises(UsageError, match="is a file of rejects, not of rollouts"):
        import_rollouts(memory, [path], options(tmp_path))
    with pytest.raises(FormatError, match="no such file"):
        import_rollouts(memory, [str(tmp_path / "*.jsonl")], options(tmp_path))


def test_rejects_that_cannot_be_written_stop_the_import(memory, tmp_path):
    path = write_lines(tmp_path / "a.jsonl", RECORD, {"prompt": "x"})
    with pytest.raises(FormatError, match="cannot write the rejects") as error:
        import_rollouts(memory, [path], ImportOptions(rejects=tmp_path / "no" / "r.jsonl"))
    assert "--rejects" in error.value.hint


def test_deeply_nested_columns_are_a_reject(memory, tmp_path):
    # Deeper than any Python's recursion limit: how deep is too deep differs between versions.
    nested = "[" * 100_000 + "]" * 100_000
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps(RECORD) + f'\n{{"prompt": "x", "completion": "y", "deep": {nested}}}\n'
    )
    result = import_rollouts(memory, [str(path)], options(tmp_path))
    assert (result.new, result.rejected) == (1, 1)
    assert "nested too deeply" in rejects_of(tmp_path)[0]["reason"]


def dump(engine):
    """Return every stored rollout as the database holds it, but for the time of its storing."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM rollouts ORDER BY id")).mappings()
        return [{key: value for key, value in row.items() if key != "created"} for row in rows]


def test_killed_at_any_moment_and_run_again_the_store_is_the_same(store_url, tmp_path):
    records = (
        {
            "prompt": f"Problem {n // 4}",
            "completion": f"{n % 3} steps. " * 40 + "A: 1",
            "reward": n % 2,
        }
        for n in range(4000)
    )
    path = write_lines(tmp_path / "a.jsonl", *records)
    with Path(path).open("a") as stream:
        stream.write("{broken\n")
    command = [sys.executable, "-c", IMPORT, store_url, path, str(tmp_path / "r.jsonl")]
    for delay in (0.0, 0.1):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL

    engine = open_store(store_url)
    with transaction(engine) as session:
        part = count_rollouts(session, Selection())
    assert 0 < part < 4000
    result = import_rollouts(engine, [path], options(tmp_path))
    assert (result.new, result.unchanged, result.rejected) == (4000 - part, part, 1)

    whole = open_store("sqlite://")
    import_rollouts(whole, [path], options(tmp_path))
    assert stored(engine) == stored(whole)
    assert len(dump(engine)) == 4000
    for item in (engine, whole):
        item.dispose()
