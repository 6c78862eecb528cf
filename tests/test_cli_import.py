"""``dca import``."""

import json

import pytest

from dca.cli.importing import excerpt, preview_lines, read_mapping, read_tags
from dca.domain.errors import UsageError
from dca.formats.row import Reject
from dca.pipeline.importing import SourcePreview
from tests.command_line import ROWS, clean_folder, invoke, on_terminal, spawn, write_rows


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    return clean_folder(tmp_path, monkeypatch)


def test_import_says_format_columns_and_counts_and_repeats_change_nothing(capsys, folder):
    write_rows(folder / "r.jsonl", ROWS)

    first = invoke(capsys, "import", "r.jsonl")
    second = invoke(capsys, "import", "r.jsonl", "--json", "-q")

    assert first.code == 0
    assert first.out == "new 3 · unchanged 0 · rejected 0\n"
    assert "r.jsonl: plain" in first.err
    assert "columns: prompt, completion, reward, task" in first.err
    assert second.err == ""
    document = second.document
    assert (document["new"], document["unchanged"], document["rejected"]) == (0, 3, 0)
    assert document["rejects_path"] is None


def test_what_cannot_be_imported_makes_it_partial(capsys, folder):
    write_rows(folder / "r.jsonl", [*ROWS, {"prompt": "x", "completion": ""}])

    answer = invoke(capsys, "import", "r.jsonl", "--rejects", "why.jsonl")

    assert answer.code == 3
    assert answer.out == "new 3 · unchanged 0 · rejected 1 (why: why.jsonl)\n"
    assert "1 of the first 4 rows are not usable:" in answer.err
    assert (folder / "why.jsonl").exists()


def test_a_dry_run_shows_a_sample_and_writes_nothing(capsys, folder):
    write_rows(folder / "r.jsonl", [*ROWS[1:], {"prompt": "x", "completion": ""}])

    answer = invoke(capsys, "import", "r.jsonl", "--dry-run")
    document = invoke(capsys, "import", "r.jsonl", "--dry-run", "--json").document

    assert answer.code == 0
    assert "completion: 2 + 2 = 5. So \\x1b[31m5\\x1b[0m." in answer.out
    assert "line 3: " in answer.out
    assert document["sources"][0]["format"] == "plain"
    assert document["sources"][0]["rejected"][0]["line"] == 3
    assert not (folder / "dca.db").exists()


def test_import_maps_verifies_and_tokenizes(capsys, folder):
    write_rows(folder / "r.jsonl", [{"q": "2 + 2?", "a": "The answer is 4.", "t": "4"}])

    answer = invoke(
        capsys,
        *("import", "r.jsonl", "--map", "prompt=q, completion=a,truth=t", "--verify", "numeric"),
        *("--tokenizer", "utf8-bytes", "--think-tags", "<a>,</a>", "--task", "sums"),
    )

    assert answer.code == 0, answer.err
    assert "new 1 · unchanged 0 · rejected 0\nverified " in answer.out
    assert "1 with approximate token ids" in answer.out
    (line,) = invoke(capsys, "ls", "--json").document["rollouts"]
    assert (line["reward"], line["tokens"], line["task"]) == (1.0, 16, "sums")


def test_on_a_terminal_an_import_shows_a_sample(folder):
    write_rows(folder / "r.jsonl", ROWS)

    code, shown = on_terminal("import", "r.jsonl", "--display", "plain")

    assert code == 0
    assert "prompt: 2 + 2?" in shown
    assert "reward: 1" in shown


def test_flags_of_import_are_checked():
    assert read_mapping("") == {}
    assert read_tags(" <t> ,</t>") == ("<t>", "</t>")
    for text in ("prompt", "prompt=", "=x", "a=b,c"):
        with pytest.raises(UsageError, match="is not FACT=COLUMN"):
            read_mapping(text)
    for text in ("<t>", "<t>,", "a,b,c"):
        with pytest.raises(UsageError, match="give both marks"):
            read_tags(text)


def test_excerpts_say_how_much_they_leave_out():
    assert excerpt("x" * 200) == "x" * 200
    assert excerpt("x" * 1300) == "x" * 200 + " ... (1,100 more characters)"


def test_a_source_without_a_row_says_so():
    empty = SourcePreview("e.jsonl", "", "no usable row", "", (), 0, (), None)
    noted = SourcePreview("v.jsonl", "verl", "why", "ids approximate", ("a",), 1, (), None)
    bad = SourcePreview(
        "b.jsonl", "plain", "why", "", ("a",), 9, (Reject("b.jsonl", 3, "bad\x1b", b""),) * 5, None
    )

    assert preview_lines(empty, sample=True) == ["e.jsonl: no usable row"]
    assert "  note: ids approximate" in preview_lines(noted, sample=True)
    assert preview_lines(bad, sample=False)[2:] == [
        "  5 of the first 9 rows are not usable:",
        *["    line 3: bad\\x1b"] * 3,
    ]


def test_a_dry_run_says_which_columns_became_what_and_verifies_the_sample(capsys, folder):
    row = {"q": "2 + 2?", "a": "The answer is 4.", "score": 0.5, "gold": "4", "dataset": "sums"}
    write_rows(folder / "r.jsonl", [row, {**row, "gold": "5"}])
    line = ("import", "r.jsonl", "--map", "prompt=q,completion=a,truth=gold", "--dry-run")

    shown = invoke(capsys, *line, "--verify", "numeric").out
    (source,) = invoke(capsys, *line, "--verify", "numeric", "--json").document["sources"]
    unknown = invoke(capsys, *line, "--verify", "numric")

    for text in ("  reward from score", "  truth from gold", "  task from dataset"):
        assert f"{text}\n" in shown
    assert "  reward: 1\n" in shown
    assert "  verified correct: 1\n  verified wrong: 1\n" in shown
    assert source["facts"] == {"reward": "score", "truth": "gold", "task": "dataset"}
    assert source["verified"] == {"correct": 1, "wrong": 1}
    assert unknown.code == 2
    assert "no verification named 'numric'" in unknown.err


def test_a_json_array_is_imported_like_lines_and_a_broken_one_says_what_to_do(capsys, folder):
    (folder / "x.json").write_text(json.dumps(ROWS, indent=1))
    (folder / "cut.json").write_text(json.dumps(ROWS, indent=1)[:-20])

    looked = invoke(capsys, "import", "x.json", "--dry-run")
    cut = invoke(capsys, "import", "cut.json", "--dry-run")

    assert looked.code == 0
    assert "x.json: plain" in looked.out
    assert invoke(capsys, "import", "x.json").out == "new 3 · unchanged 0 · rejected 0\n"
    assert cut.code == 2
    assert "cut.json: a broken JSON array" in cut.err
    assert "Write one object a line instead" in cut.err


def test_each_import_says_where_its_rejects_are_and_what_became_of_offsets(capsys, folder):
    row = {"prompt": "x", "completion": "ab", "token_ids": [1, 2], "offsets": [[1, 2], [0, 1]]}
    write_rows(folder / "r.jsonl", [row, {"prompt": "x"}])

    first = invoke(capsys, "import", "r.jsonl")
    again = invoke(capsys, "import", "r.jsonl")

    assert first.out == (
        "new 1 · unchanged 0 · rejected 1 (why: import-rejects.jsonl)\n"
        "1 without their offsets, which do not fit the text: give --tokenizer to dca credit\n"
    )
    assert "(why: import-rejects-2.jsonl)" in again.out
    assert (first.code, again.code) == (3, 3)


def test_an_id_with_another_text_is_partial_in_a_later_import(capsys, folder):
    write_rows(folder / "1.jsonl", [{"id": 1, "prompt": "x", "completion": "y"}])
    write_rows(folder / "2.jsonl", [{"id": 1, "prompt": "x", "completion": "z"}])

    assert invoke(capsys, "import", "1.jsonl").code == 0
    later = invoke(capsys, "import", "2.jsonl")

    assert later.code == 3
    assert later.out.startswith("new 0 · unchanged 0 · rejected 1 ")
    (line,) = (folder / "import-rejects.jsonl").read_text().splitlines()
    assert (
        json.loads(line)["reason"]
        == "the id '1' is already stored with another text in this group"
    )


def test_a_dry_run_without_a_usable_row_is_partial(capsys, folder):
    (folder / "r.jsonl").write_text("no json\n")
    write_rows(folder / "empty.jsonl", [{"prompt": "x", "completion": ""}])

    broken = invoke(capsys, "import", "r.jsonl", "--dry-run")

    assert broken.code == 3
    assert "r.jsonl: no usable row\n  1 of the first 1 rows are not usable:\n" in broken.out
    assert "    line 1: broken JSON: " in broken.out
    assert invoke(capsys, "import", "empty.jsonl", "--dry-run").code == 3


@pytest.mark.parametrize(
    "flags", [("--format", "trl"), ("--verify", "nope"), ("--map", "reward=none")]
)
def test_an_import_that_fails_before_the_first_row_leaves_no_store(capsys, folder, flags):
    write_rows(folder / "r.jsonl", ROWS)

    answer = invoke(capsys, "import", "r.jsonl", *flags)

    assert answer.code == 2
    assert not (folder / "dca.db").exists()


def test_standard_input_that_no_format_fits_leaves_no_store(folder):
    done = spawn("import", "-", input='{"a": 1}\n')
    taken = spawn("import", "-", input='{"prompt": "x", "completion": "y"}\n')

    assert done.returncode == 2
    assert "unknown format with the columns a" in done.stderr
    assert taken.stdout == "new 1 · unchanged 0 · rejected 0\n"
