"""``dca demo`` on files of the user, and credit that cannot be given."""

import json
import re
import subprocess
import sys

import pytest

from tests.command_line import (
    ROWS,
    Answer,
    clean_folder,
    fill,
    invoke,
    plain_rollouts,
    spawn,
    write_rows,
)
from tests.tokenizer_examples import FAST
from training.row_files import read_rows
from training.tokens import align

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
    for name, rows in (("a", ROWS[:2]), ("b", ROWS[:1])):
        (folder / name).mkdir()
        write_rows(folder / name / "mine.jsonl", rows)

    first = invoke(capsys, "demo", "a/mine.jsonl", "--out", "o")
    second = invoke(capsys, "demo", "b/mine.jsonl", "--out", "o")
    (folder / "a" / "mine.jsonl").rename("moved.jsonl")
    again = invoke(capsys, "demo", "moved.jsonl", "--out", "o")

    assert "replaced" not in first.out
    assert "2 new" in first.out
    assert "1 new" in second.out
    assert second.out.count("(replaced an earlier demo's)") == 2
    stores = [store_of(answer) for answer in (first, second, again)]
    assert [re.sub("-[0-9a-f]{8}", "", store) for store in stores] == [
        "o/mine.db",
        "o/mine.db",
        "o/moved.db",
    ]
    assert stores[0] != stores[1]
    for store, count in zip(stores, (2, 1, 2), strict=True):
        listed = invoke(capsys, "ls", "--store", store, "--json").document["rollouts"]
        assert len(listed) == count
    shown = next(line for line in first.out.splitlines() if "dca show " in line).split()
    assert invoke(capsys, *shown[1:]).code == 0


def store_of(answer) -> str:
    """Return the store that a demo names."""
    return re.search(r"dca ls --store (\S+)", answer.out)[1]


def test_the_same_input_goes_on_in_its_store(capsys, folder):
    write_rows(folder / "mine.jsonl", ROWS[:2])

    first = invoke(capsys, "demo", "mine.jsonl", "--out", "o")
    again = invoke(capsys, "demo", "mine.jsonl", "--out", "o", "--json").document
    piped = spawn("demo", "-", "--out", "o", input=(folder / "mine.jsonl").read_text())

    assert (again["imported"]["new"], again["imported"]["unchanged"]) == (0, 2)
    assert {row["asked"] for row in again["reviewed"]["reviewers"]} == {0}
    assert again["store"] == store_of(first)
    assert store_of(Answer(piped.returncode, piped.stdout, piped.stderr)) == again[
        "store"
    ].replace("mine", "stdin")


def test_a_folder_is_one_input_whatever_it_is_called(capsys, folder):
    (folder / "((").mkdir()
    write_rows(folder / "((" / "x.jsonl", ROWS[:2])

    answer = invoke(capsys, "demo", "((", "--out", "o")

    assert re.fullmatch("o/rollouts-[0-9a-f]{8}.db", store_of(answer))


@pytest.mark.parametrize(
    ("flag", "instead"), [("--store", "folder of --out"), ("--config", "reads no configuration")]
)
def test_the_demo_refuses_flags_that_would_do_nothing(capsys, folder, flag, instead):
    answer = invoke(capsys, "demo", flag, "x")

    assert answer.code == 2
    message, hint = answer.err.splitlines()
    assert message == f"dca: the demo does not take {flag}"
    assert instead in hint
    assert list(folder.iterdir()) == []


def bpe_rows(*, offsets: bool) -> list[dict]:
    """Return rows with ids of a tokenizer that nobody names."""
    rows = []
    for row in ROWS[:2]:
        ids = FAST["byte-level"].encode(row["completion"])
        placed = align(row["completion"], FAST["byte-level"].pieces(ids))
        more = {"offsets": placed.offsets.tolist()} if offsets else {}
        rows.append({**row, "token_ids": ids.tolist(), "logprobs": [-1.0] * len(ids), **more})
    return rows


def test_the_demo_reads_texts_where_it_cannot_spell_the_ids(capsys, folder):
    write_rows(folder / "ids.jsonl", bpe_rows(offsets=False))

    answer = invoke(capsys, "demo", "ids.jsonl", "--out", "o")

    assert answer.code == 0, answer.err
    assert (
        "Tokens     2 rollouts bring token ids that the demo has no tokenizer for: all texts were "
        "tokenized again (utf8-bytes), ids_exact = false\n"
    ) in answer.out
    rows = list(read_rows(folder / "o" / "tokens.parquet"))
    assert [row.provenance.ids_exact for row in rows] == [False, False]
    assert [row.logprobs for row in rows] == [None, None]
    assert [bytes(row.completion_ids.tolist()).decode() for row in rows] == [
        row.completion for row in rows
    ]


def test_the_demo_keeps_sampled_ids_that_have_offsets(capsys, folder):
    given = bpe_rows(offsets=True)
    write_rows(folder / "ids.jsonl", given)
    write_rows(folder / "mixed.jsonl", [given[0], ROWS[1]])

    kept = invoke(capsys, "demo", "ids.jsonl", "--out", "o", "--json").document
    rows = list(read_rows(folder / "o" / "tokens.parquet"))
    mixed = invoke(capsys, "demo", "mixed.jsonl", "--out", "m", "--json").document

    assert (kept["retokenized"], mixed["retokenized"]) == (0, 1)
    assert {tuple(row.completion_ids.tolist()) for row in rows} == {
        tuple(row["token_ids"]) for row in given
    }
    assert all(row.provenance.ids_exact and row.logprobs is not None for row in rows)


@pytest.mark.slow  # loads torch
def test_the_demo_trains_on_texts_although_ids_of_another_tokenizer_are_stored(capsys, folder):
    write_rows(folder / "ids.jsonl", bpe_rows(offsets=True))

    answer = invoke(capsys, "demo", "ids.jsonl", "--out", "o", "--train", "--steps", "1", "-q")

    assert answer.code == 0, answer.err
    assert "all texts were tokenized again (tiny), ids_exact = false" in answer.out
    assert "Trained " in answer.out
    rows = list(read_rows(folder / "o" / "tokens.parquet"))
    assert {row.provenance.tokenizer for row in rows} == {"tiny"}


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
    nothing = invoke(capsys, "export", "--store", "ids.db", "--out", "o")
    as_bytes = invoke(capsys, "credit", "--store", "ids.db", "--tokenizer", "utf8-bytes")
    of_text = invoke(
        capsys, "credit", "--store", "ids.db", "--methods", "grpo", "--retokenize", "--json"
    )
    unsettled = invoke(
        capsys, "credit", "--methods", "deliberative", "--tokenizer", "utf8-bytes", "--json"
    )

    assert untokenized.code == 3
    assert as_bytes.code == 3
    for answer in (untokenized, as_bytes):
        hint = next(line for line in answer.out.splitlines() if "have no offsets" in line)
        assert hint.startswith("needs a tokenizer: ")
        assert "--tokenizer MODEL_DIR" in hint
        assert "--retokenize" in hint
    assert nothing.code == 6
    assert "with --tokenizer MODEL_DIR or --retokenize" in nothing.err
    assert of_text.document["methods"][0]["tokens"] == len(ROWS[0]["completion"])
    assert unsettled.code == 3
    assert unsettled.document["hints"] == {"needs consensus": "run `dca consensus`"}
