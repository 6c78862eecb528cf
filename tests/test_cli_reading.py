"""``dca ls`` and ``dca show``: for people, for pipes and for programs."""

import json
import re
import subprocess
import sys

import pytest

from dca.cli.consensus import figure_text
from dca.cli.sheet_markdown import escaped, fenced
from dca.cli.sheet_rows import legend, sheet_rows, verdicts
from dca.domain.consensus import AgreedSpan, Consensus, Figure, Status
from dca.domain.rollout import Rollout
from dca.domain.spans import Span
from dca.pipeline.sheet import Sheet
from tests.command_line import (
    ROWS,
    SHEET_ID,
    clean_folder,
    fill,
    fill_sheet,
    invoke,
    on_terminal,
    plain_rollouts,
    unstyled,
    write_rows,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    return clean_folder(tmp_path, monkeypatch)


def test_ls_in_a_pipe_has_whole_ids_and_no_heads(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(4))

    lines = invoke(capsys, "ls").out.splitlines()

    assert [line.split()[0] for line in lines] == [f"{n:020d}" for n in (0, 2, 1, 3)]
    assert lines[0].split() == [f"{0:020d}", "sums", "0", "1", "27", "0", "-", "-", "policy"]


def test_ls_pages_by_key_to_the_end(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(7))
    seen: list[str] = []
    following: list[str] = []
    while True:
        document = invoke(capsys, "ls", "--limit", "3", "--json", *following).document
        seen += [row["id"] for row in document["rollouts"]]
        if document["next"] is None:
            break
        following = ["--after", document["next"]]

    assert len(seen) == len(set(seen)) == 7
    more = invoke(capsys, "ls", "--limit", "3")
    assert more.err == f"there are more: dca ls --after {seen[2]}\n"
    beyond = invoke(capsys, "ls", "--after", seen[-1], "--json")
    assert (beyond.code, beyond.document["rollouts"]) == (0, [])


def test_ls_selects_by_terms_ids_and_sample(capsys, folder, monkeypatch):
    fill(folder / "dca.db", plain_rollouts(9))
    ids = folder / "ids.txt"
    ids.write_text(f"# a comment\n\n{1:020d}  sums\n{1:020d}\nunknown\n")

    def listed(*arguments):
        return [
            row["id"] for row in invoke(capsys, "ls", "--json", *arguments).document["rollouts"]
        ]

    assert listed("--where", "reward:1 step:..3") == [f"{0:020d}", f"{3:020d}"]
    answer = invoke(capsys, "ls", "--ids", str(ids))
    assert answer.out.split()[0] == f"{1:020d}"
    assert answer.err == "1 of 3 ids are not in the store\n".replace("3", "2")
    assert len(listed("--sample", "4", "--seed", "1")) == 4
    assert listed("--sample", "4", "--seed", "1") == listed("--sample", "4", "--seed", "1")


def test_ids_that_cannot_be_read_are_refused(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(1))
    (folder / "empty").write_text("# nothing\n")
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "unknown").write_text("abc\n")

    assert invoke(capsys, "ls", "--ids", "none").code == 2
    assert invoke(capsys, "ls", "--ids", "empty").err.startswith("dca: --ids empty: holds no id")
    assert "is not UTF-8 text" in invoke(capsys, "ls", "--ids", "binary").err
    assert invoke(capsys, "ls", "--ids", "unknown").code == 6


def test_a_listing_feeds_the_next_command(folder):
    fill(folder / "dca.db", plain_rollouts(6))
    dca = f"{sys.executable} -m dca"
    command = f"{dca} ls --where reward:1 -q | {dca} ls --ids - --json"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert [row["id"] for row in json.loads(done.stdout)["rollouts"]] == [f"{0:020d}", f"{3:020d}"]


def test_on_a_terminal_ls_has_heads_and_is_cut_to_its_width(folder):
    fill(folder / "dca.db", plain_rollouts(3))

    code, shown = on_terminal("ls", columns=60, environment={"NO_COLOR": "1"})

    lines = unstyled(shown)
    assert code == 0
    assert lines[0].split()[:4] == ["id", "task", "step", "reward"]
    assert lines[1].startswith("000000000000  sums")
    assert all(len(line) <= 60 for line in lines)


def test_show_prints_a_score_sheet(capsys, folder):
    fill_sheet(folder / "dca.db")

    shown = invoke(capsys, "show", "abc").out

    for line in (
        f"Rollout {SHEET_ID} · task gsm8k · step 120 · model policy-7b · group g1",
        "Blame step 2 with 0.75 of the votes (arithmetic: step 2, novelty: step 2)",
        "Soundness disputed (dataflow: sound)",
        "Votes in the order arithmetic, dataflow, novelty, revision",
        "  1 (S) ████████ 1.00  -SS-    Natalia sold 48 clips in April.",
        "  2 X   █████░░░ 0.67  XCX-    In May she sold half: 48 / 2 = 25.",
        "                               - blamed: the wrong answer rests on this",
        "                               - arithmetic X: 48 / 2 is 24, not 25",
        "                               - uses 2 (0.80)",
        "  4 ?   ████░░░░ 0.50  -DR-    The answer is 73.",
        "revision abstained (invalid): gave no \\x1b[2J JSON",
    ):
        assert f"{line}\n" in shown
    assert "too little support" not in shown
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_show_on_a_narrow_terminal_puts_the_text_below_the_letters(folder):
    fill_sheet(folder / "dca.db")

    _, shown = on_terminal("show", "abc", columns=60, environment={"NO_COLOR": "1"})

    lines = unstyled(shown)
    at = lines.index("  2 X   █████░░░ 0.67  XCX-  agreed")
    assert lines[at + 1] == "    In May she sold half: 48 / 2 = 25."
    assert all(len(line) <= 60 for line in lines)


def test_show_can_begin_with_the_contested_and_pick_one_step(capsys, folder):
    fill_sheet(folder / "dca.db")

    contested = invoke(capsys, "show", "abc", "--contested").out
    numbers = re.findall(r"^ {2}(\d) [(?XC]", contested, re.MULTILINE)
    one = invoke(capsys, "show", "abc", "--step", "2").out

    assert numbers == ["4", "1", "2", "3"]
    assert re.findall(r"^ {2}(\d) [(?XC]", one, re.MULTILINE) == ["2"]
    assert "novelty X: \\x1b]0;owned\\x07wrong" in one
    assert invoke(capsys, "show", "abc", "--step", "9").code == 6
    assert invoke(capsys, "show", "abc", "--consensus", "7").code == 6


def test_show_as_markdown_holds_no_markup_of_the_model(capsys, folder):
    fill_sheet(folder / "dca.db")

    text = invoke(capsys, "show", "abc", "--md", "--consensus", "1").out

    assert text.startswith(f"# Rollout {SHEET_ID}\n\n- task gsm8k · step 120")
    assert "2. **X** agreed 0.67 votes XCX-: In May she sold half: 48 / 2 = 25." in text
    assert "\\[bold\\]red\\[/bold\\]" in text
    assert escaped("a *b* <i>`c`|d_e") == "a \\*b\\* \\<i\\>\\`c\\`\\|d\\_e"
    assert fenced("a\n````\nb") == "`````text\na\n````\nb\n`````"


def test_show_as_a_document_holds_everything(capsys, folder):
    fill_sheet(folder / "dca.db")

    document = invoke(capsys, "show", "abc", "--json").document

    assert document["rollout"]["id"] == SHEET_ID
    spans = document["consensus"]["spans"]
    assert [span["status"] for span in spans] == ["thin", "agreed", "agreed", "disputed"]
    assert spans[1]["text"] == "In May she sold half: 48 / 2 = 25.\n"
    assert document["consensus"]["links"][1]["dropped"] == "too little support"
    assert [item["answer"] for item in document["opinions"]] == ["review"] * 3 + ["abstention"]
    assert document["panel"] == ["arithmetic", "dataflow", "novelty", "revision"]


def test_show_without_a_consensus_gives_the_text(capsys, folder):
    write_rows(folder / "r.jsonl", ROWS[1:2])
    invoke(capsys, "import", "r.jsonl", "--tokenizer", "utf8-bytes")
    ((line),) = invoke(capsys, "ls", "--json").document["rollouts"]

    bare = invoke(capsys, "show", line["id"]).out
    markdown = invoke(capsys, "show", line["id"], "--md").out
    document = invoke(capsys, "show", line["id"], "--json").document
    assert "No consensus yet" in bare
    assert "  So \\x1b[31m5\\x1b[0m.\n" in bare
    assert "tokens (ids approximate)" in bare
    assert "## Completion" in markdown
    assert (document["consensus"], document["version"], document["opinions"]) == (None, None, [])

    invoke(capsys, "review")
    assert "arithmetic marked\n" in invoke(capsys, "show", line["id"]).out


def test_numbers_are_shown_with_their_interval_or_the_reason():
    assert figure_text(Figure(0.5, 0.4, 0.6, 9)) == "0.50 [0.40, 0.60]"
    assert figure_text(Figure(0.5)) == "0.50"
    assert figure_text(Figure(None, reason="one rollout")) == "not known: one rollout"


def test_a_sheet_without_verdicts_and_without_its_labels_still_reads():
    text = "One step. \n\n"
    rollout = Rollout("r" * 20, "g", "", (), text)
    votes = {"arithmetic": "helps"}
    spans = (
        AgreedSpan(Span(0, 10), Status.AGREED, "helps", 1.0, {"helps": 1.0}, votes, 1.0, 1.0),
        AgreedSpan(Span(10, 12), Status.UNCOVERED, None, 0.0, {}, {}, 1.0, 1.0),
    )
    sheet = Sheet(rollout, None, Consensus(rollout.id, spans), ())

    first, second = sheet_rows(sheet, None, every_reason=False)

    assert verdicts(sheet) == []
    assert (first.letter, first.value, first.text, first.notes) == ("H", 0.0, "One step.", ())
    assert (second.letter, second.text) == (".", "(white space)")
    assert legend([first, second], None) == ". no vote"


def test_a_key_without_its_colon_is_told(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(2))

    for term, meant in (("reward<1", "reward:<1"), ("step>=3", "step:>=3"), ("ids=none", "ids:")):
        answer = invoke(capsys, "ls", "--where", term)
        assert answer.code == 6
        assert f"did you mean {meant}" in answer.err
    assert "did you mean" not in invoke(capsys, "ls", "--where", "nowhere").err


def test_ls_in_a_pipe_is_parted_by_tabs(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(1))

    cells = [f"{0:020d}", "sums", "0", "1", "27", "0", "-", "-", "policy"]
    assert invoke(capsys, "ls").out == "\t".join(cells) + "\n"
