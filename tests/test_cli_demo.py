"""``dca demo`` on files of the user, and credit that cannot be given."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dca.pipeline.demo import store_name
from tests.command_line import ROWS, clean_folder, fill, invoke, plain_rollouts, write_rows

UNREWARDED = [{"prompt": "2 + 2?", "completion": "2 + 2 = 4. So 4."}]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    return clean_folder(tmp_path, monkeypatch)


def test_without_rewards_the_demo_says_so_and_how_to_get_them(capsys, folder):
    write_rows(folder / "r.jsonl", [*UNREWARDED, {"prompt": "x", "completion": ""}])

    answer = invoke(capsys, "demo", "r.jsonl", "--out", "o")

    assert answer.code == 6
    lines = answer.err.splitlines()
    assert lines[-2] == "dca: no rollout has a reward; rejected 1, see o/import-rejects.jsonl"
    assert "--map reward=COLUMN`, or with --verify" in lines[-1]


def test_each_input_has_its_own_store_and_exports_are_replaced(capsys, folder):
    write_rows(folder / "a.jsonl", ROWS[:2])
    write_rows(folder / "b.jsonl", ROWS[:1])

    first = invoke(capsys, "demo", "a.jsonl", "--out", "o")
    second = invoke(capsys, "demo", "b.jsonl", "--out", "o")

    assert "Next  dca ls --store o/a.db" in first.out
    assert "replaced" not in first.out
    assert "2 new" in first.out
    assert "1 new" in second.out
    assert second.out.count("(replaced an earlier demo's)") == 2
    for name, count in (("a.db", 2), ("b.db", 1)):
        listed = invoke(capsys, "ls", "--store", f"o/{name}", "--json").document["rollouts"]
        assert len(listed) == count
    shown = next(line for line in first.out.splitlines() if "dca show " in line).split()
    assert invoke(capsys, *shown[1:]).code == 0


def test_stores_of_inputs_are_told_apart_from_the_bundled_one():
    assert store_name(None) == "dca"
    assert store_name(Path("x/mine.jsonl.gz")) == "mine"
    assert store_name(Path("dca.jsonl")) == "dca-file"
    assert store_name(Path(".hidden")) == "rollouts"


def test_a_demo_that_imports_nothing_stops_there(capsys, folder):
    (folder / "r.jsonl").write_text("no json\n")
    (folder / "empty.jsonl").write_text("")

    answer = invoke(capsys, "demo", "r.jsonl", "--out", "o")
    document = invoke(capsys, "demo", "r.jsonl", "--out", "o", "--json").document

    assert answer.code == 3
    assert "Rejected   see o/import-rejects.jsonl\n" in answer.out
    assert "Consensus" not in answer.out
    assert answer.out.endswith("Nothing could be imported, so nothing else was done.\n")
    assert (document["exit"], document["credited"]) == (3, None)
    assert json.loads((folder / "o" / "import-rejects.jsonl").read_text())["line"] == 1
    assert "the file holds no rollout" in invoke(capsys, "demo", "empty.jsonl").err


def test_the_demo_never_asks_for_a_flag_that_it_has_not(capsys, folder):
    (folder / "r.jsonl").write_text('no json\n{"a": 1}\n')

    answer = invoke(capsys, "demo", "r.jsonl", "--out", "o")
    missing = invoke(capsys, "demo", "none.jsonl", "--out", "o")

    assert answer.code == 2
    assert "line 1 is unusable: broken JSON" in answer.err
    assert "`dca import FILE --map prompt=COLUMN" in answer.err
    assert "none.jsonl: no such file" in missing.err
    assert not (folder / "o").exists()


def test_training_without_its_extra_fails_before_any_other_work(folder):
    script = (
        "import sys; sys.modules['torch'] = None; from dca import cli;"
        "sys.exit(cli.run(['demo', '--train', '--out', 'o']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "dca: --train needs the package torch" in done.stderr
    assert "pip install '.[train]' in the project's folder" in done.stderr
    assert not (folder / "o").exists()


def test_credit_without_any_reward_selects_nothing(capsys, folder):
    write_rows(folder / "r.jsonl", UNREWARDED)
    invoke(capsys, "import", "r.jsonl")

    answer = invoke(capsys, "credit")

    assert answer.code == 6
    assert "dca: no rollout has a reward" in answer.err
    assert "--map reward=COLUMN" in answer.err


def test_credit_that_no_method_can_give_is_partial_and_says_what_to_do(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(4))
    write_rows(folder / "r.jsonl", [{**ROWS[0], "token_ids": [7, 8]}])
    invoke(capsys, "import", "r.jsonl", "--store", "ids.db")

    untokenized = invoke(capsys, "credit", "--store", "ids.db")
    unsettled = invoke(
        capsys, "credit", "--methods", "deliberative", "--tokenizer", "utf8-bytes", "--json"
    )

    assert untokenized.code == 3
    assert "needs a tokenizer: give --tokenizer MODEL_DIR\n" in untokenized.out
    assert unsettled.code == 3
    assert unsettled.document["hints"] == {"needs consensus": "run `dca consensus`"}
