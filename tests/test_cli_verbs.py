"""Each verb: what it prints for people, for pipes and for programs."""

import json
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dca import cli
from dca.cli.consensus import figure_text
from dca.cli.credit import split_names
from dca.cli.demo import print_training
from dca.cli.importing import excerpt, preview_lines, read_mapping, read_tags
from dca.cli.initialise import Template, example, template
from dca.cli.run import Run, stdout_console
from dca.cli.sheet_markdown import escaped, fenced
from dca.cli.stores import sqlite_file
from dca.cli.streams import Masked
from dca.cli.train import listener, metrics_line, print_report
from dca.config import load
from dca.domain.consensus import Figure
from dca.domain.errors import UsageError
from dca.formats.row import Reject
from dca.pipeline.demo import DemoTraining, Sampled
from dca.pipeline.importing import SourcePreview
from tests.command_line import SHEET_ID, fill, fill_sheet, invoke, on_terminal, plain_rollouts
from training.run import Prepared, TrainReport

ROWS = [
    {"prompt": "2 + 2?", "completion": "2 + 2 = 4. So 4.", "reward": 1, "task": "sum"},
    {
        "prompt": "2 + 2?",
        "completion": "2 + 2 = 5.\nSo \x1b[31m5\x1b[0m.",
        "reward": 0,
        "task": "sum",
    },
    {"prompt": "3 + 3?", "completion": "3 + 3 = 6. " + "So 6. " * 60, "task": "sum"},
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[2]))
    for name in ("DCA_STORE", "DCA_CONFIG", "DCA_SEED", "NO_COLOR", "COLUMNS", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_rows(file: Path, rows: list[dict]) -> None:
    """Write JSON Lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def unstyled(shown: str) -> list[str]:
    """Return the lines of a terminal without bold and dim."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()


@pytest.mark.parametrize("panel", list(Template))
def test_init_writes_a_configuration_that_is_in_order(capsys, folder, panel):
    answer = invoke(capsys, "init", "--panel", panel.value)

    assert answer.code == 0
    assert answer.out.startswith("Wrote  dca.toml\nWrote  .env.example\n\nNext   ")
    assert invoke(capsys, "config", "check").out == "dca.toml: in order\n"
    loaded = load(start=folder, environment={})
    assert loaded.config.review.panel == ("offline" if panel is Template.OFFLINE else "main")
    for variable in loaded.key_variables.values():
        assert f"{variable}=\n" in (folder / ".env.example").read_text()


@pytest.mark.parametrize("panel", list(Template))
def test_the_keys_behind_a_hash_are_real_and_show_their_defaults(folder, panel):
    text = template(panel)
    shown = re.sub(r"^# (\[*[a-z_.]+\]*( = |$))", r"\1", text, flags=re.MULTILINE)
    shown = shown.replace('model = "..."', 'model = "m"')
    (folder / "dca.toml").write_text(shown)

    loaded = load(start=folder, environment={})
    plain = load(start=folder.parent, environment={})

    for table in ("consensus", "credit"):
        assert getattr(loaded.config, table) == getattr(plain.config, table)
        written = tomllib.loads(shown)[table]
        assert set(written) == set(type(getattr(loaded.config, table)).model_fields)
    assert loaded.config.review.concurrency == plain.config.review.concurrency
    assert "=" in example(panel)


def test_init_overwrites_only_with_force(capsys, folder):
    (folder / "dca.toml").write_text("# mine\n")

    refused = invoke(capsys, "init")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.splitlines()[0] == "dca: dca.toml exists already"
    assert (folder / "dca.toml").read_text() == "# mine\n"
    assert not (folder / ".env.example").exists()

    document = invoke(capsys, "init", "--force", "--json").document
    assert document["written"] == [str(folder / "dca.toml"), str(folder / ".env.example")]
    assert document["panel"] == "offline"
    assert "[project]" in (folder / "dca.toml").read_text()


def test_doctor_finds_nothing_missing_where_nothing_is_configured(capsys, folder):
    answer = invoke(capsys, "doctor")

    assert answer.code == 0
    for heading in ("Installed", "Configuration", "Keys", "Store"):
        assert f"{heading}\n" in answer.out
    assert "✓ extra train" in answer.out
    assert "not there yet; dca import makes it" in answer.out
    assert not (folder / "dca.db").exists()


def test_doctor_exits_7_when_a_key_is_missing_and_never_shows_one(capsys, folder, monkeypatch):
    invoke(capsys, "init", "--panel", "openai")

    document = invoke(capsys, "doctor", "--json").document
    missing = [item for item in document["findings"] if item["state"] == "missing"]
    assert document["exit"] == 7
    assert {(item["name"], item["detail"]) for item in missing} == {
        ("a", "OPENAI_API_KEY is not set"),
        ("b", "OPENAI_API_KEY is not set"),
    }

    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden-4242")
    answer = invoke(capsys, "doctor")
    assert answer.code == 0
    assert "OPENAI_API_KEY is set" in answer.out
    assert "4242" not in answer.out


def test_doctor_looks_into_the_store(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(3))
    assert re.search(
        r"✓ dca\.db +schema \w+, 3 rollouts, [\d,]+ bytes", invoke(capsys, "doctor").out
    )

    (folder / "broken.db").write_bytes(b"no database at all" * 100)
    broken = invoke(capsys, "doctor", "--store", "broken.db")
    assert broken.code == 7
    assert "✗ broken.db" in broken.out

    gone = invoke(capsys, "doctor", "--store", "postgresql://u:secret-pw@127.0.0.1:1/x")
    assert gone.code == 7
    assert "secret-pw" not in gone.out


class Endpoint(BaseHTTPRequestHandler):
    """Answers every chat completion with one review of the tiny rollout."""

    review = json.dumps(
        {
            "steps": [{"n": 1, "first": 1, "last": 1, "reason": "right", "label": "decisive"}],
            "links": [],
            "covered_first": 1,
            "covered_last": 1,
            "finding": "right",
            "soundness": "sound",
        }
    )

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": self.review}
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1100, "completion_tokens": 7, "total_tokens": 1107},
        }
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def test_doctor_live_asks_every_endpoint(capsys, folder):
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "dca.toml").write_text(
        "[reviewers.up]\nkind='openai-compatible'\nmodel='m'\nfamily='f'\nretries=0\n"
        f"base_url='http://127.0.0.1:{server.server_port}/v1'\n"
        "[reviewers.down]\nkind='openai-compatible'\nmodel='m'\nfamily='f'\nretries=0\n"
        "base_url='http://127.0.0.1:1/v1'\n"
        "[reviewers.keyless]\nkind='openai'\nmodel='m'\napi_key_env='NOT_SET'\n"
    )
    try:
        document = invoke(capsys, "doctor", "--live", "--json").document
    finally:
        server.shutdown()
        server.server_close()

    found = {item["name"]: item for item in document["findings"] if item["part"] == "endpoints"}
    assert document["exit"] == 7
    assert set(found) == {"up", "down"}
    assert found["up"]["state"] == "ok"
    assert found["up"]["detail"] == "answered: 1,100 tokens in, 7 out"
    assert found["down"]["state"] == "missing"


def test_doctor_live_without_endpoints_says_so(capsys):
    answer = invoke(capsys, "doctor", "--live")

    assert answer.code == 0
    assert "no reviewer has an endpoint and a key" in answer.out


def test_config_show_prints_values_and_origins(capsys, folder):
    (folder / "dca.toml").write_text("[credit]\nveto = false\n[review]\nconcurrency = 3\n")

    shown = invoke(capsys, "config", "show").out.splitlines()
    origins = invoke(capsys, "config", "show", "--origin", "--store", "x.db").out.splitlines()
    document = invoke(capsys, "config", "show", "--json").document

    assert ["credit.veto", "false"] in [line.split() for line in shown]
    assert ["review.concurrency", "3", "dca.toml:4"] in [line.split() for line in origins]
    assert ["project.store", str(folder / "x.db"), "flag", "--store"] in [
        line.split() for line in origins
    ]
    assert ["project.tokenizer", "not", "set"] in [line.split() for line in shown]
    assert {"key": "review.concurrency", "value": 3, "origin": "dca.toml:4"} in document[
        "settings"
    ]
    assert all(line == line.rstrip() for line in origins)


def test_config_check_names_what_is_wrong(capsys, folder):
    assert invoke(capsys, "config", "check").out == "no dca.toml: defaults only: in order\n"
    (folder / "dca.toml").write_text("[consensus]\nquorum = 2\n")

    answer = invoke(capsys, "config", "check")

    assert answer.code == 2
    assert answer.err.startswith("dca: dca.toml:2: consensus.quorum = 2: should be less than")


def test_the_store_is_counted_and_copied(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(7))

    assert re.search(r"^rollouts +7$", invoke(capsys, "db", "stats").out, re.MULTILINE)
    assert invoke(capsys, "db", "stats", "--json").document["rows"]["rollouts"] == 7
    assert invoke(capsys, "db", "backup", "copy.db").out.startswith("Wrote  copy.db  ")
    assert len(invoke(capsys, "ls", "--store", "copy.db", "--json").document["rollouts"]) == 7
    assert invoke(capsys, "db", "backup", "copy.db").code == 2


def test_files_of_stores_are_told_from_servers():
    assert sqlite_file("/a/x.db") == Path("/a/x.db")
    assert sqlite_file("sqlite:////a/x.db") == Path("/a/x.db")
    for url in ("sqlite://", "sqlite:///:memory:", "postgresql://h/n"):
        assert sqlite_file(url) is None


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
        "Blame step 2 (share 0.75, 2 said)",
        "Soundness not agreed (share 0.50, 1 said)",
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


def test_the_whole_job_verb_by_verb(capsys, folder):
    write_rows(folder / "r.jsonl", ROWS[:2])
    invoke(capsys, "import", "r.jsonl", "--map", "prompt=prompt", "--model", "m")

    reviewed = invoke(capsys, "review", "--concurrency", "2")
    again = invoke(capsys, "review", "--json").document
    settled = invoke(capsys, "consensus", "--min-families", "1", "--min-reviewers", "1")
    repeated = invoke(
        capsys, "consensus", "--min-families", "1", "--min-reviewers", "1", "--json"
    ).document
    changed = invoke(capsys, "consensus", "--quorum", "1.0")
    credited = invoke(
        capsys, "credit", "--tokenizer", "utf8-bytes", "--no-veto", "--cap", "2", "--seed", "1"
    )
    exported = invoke(capsys, "export", "--out", "rows", "--tokenizer", "utf8-bytes")
    spans = invoke(capsys, "export", "--to", "spans", "--out", "spans", "--json").document

    assert reviewed.code == 0, reviewed.err
    assert "2 rollouts, panel offline: done in" in reviewed.out
    assert [row["cached"] for row in again["reviewers"]] == [2, 2, 2, 2]
    assert settled.out.startswith("Consensus 1 stored: 2 rollouts, contribution-v1\n")
    assert "alpha " in settled.out
    assert repeated["reused"] is True
    assert "version 1" in changed.out
    assert credited.code == 0, credited.err
    assert re.search(r"^deliberative +2 +\d+ ", credited.out, re.MULTILINE)
    assert "Wrote  rows/tokens.parquet  2 rows of 2 rollouts" in exported.out
    assert "note: 2 of 2 rows have no behaviour log-probabilities" in exported.err
    assert spans["rows"] > 2
    assert (folder / "rows" / "dataset-card.md").exists()


def test_credit_lists_what_a_method_lacks(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(4))

    answer = invoke(
        capsys, "credit", "--methods", "grpo,deliberative", "--tokenizer", "utf8-bytes"
    )

    assert answer.code == 0
    assert re.search(r"^deliberative .* n/a: needs consensus$", answer.out, re.MULTILINE)
    wrong = invoke(capsys, "credit", "--methods", "grpo,magic")
    assert wrong.code == 2
    assert wrong.err.startswith("dca: flag --methods: credit.methods")
    assert split_names(None) is None


def test_a_panel_that_abstains_makes_the_review_partial(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(2))
    (folder / "answers.jsonl").write_text(
        json.dumps(
            {"rollout_id": f"{0:020d}", "spans": [{"start": 0, "stop": 9, "label": "setup"}]}
        )
    )
    (folder / "dca.toml").write_text(
        "[reviewers.old]\nkind='replay'\npath='answers.jsonl'\n[panels.main]\nreviewers=['old']\n"
    )

    answer = invoke(capsys, "review", "--panel", "main")
    settled = invoke(capsys, "consensus", "--panel", "main", "--min-reviewers", "1")

    assert answer.code == 3
    assert re.search(r"^old +1 +0 +0 +0 +0 +unavailable 1$", answer.out, re.MULTILINE)
    assert "Abstentions: old 1" in settled.out
    assert invoke(capsys, "review", "--panel", "mian").code == 2


def test_demo_runs_on_a_file_of_the_user(capsys, folder):
    write_rows(folder / "mine.jsonl", [*ROWS[:2], {"prompt": "x", "completion": ""}])

    answer = invoke(capsys, "demo", "mine.jsonl", "--out", "here")

    assert answer.code == 3, answer.err
    assert answer.err.startswith(
        "The panel is four rules that read the text, not language models."
    )
    assert "Imported   2 new, 0 unchanged, 1 rejected rollouts" in answer.out
    assert "Next  dca ls --store here/dca.db" in answer.out
    assert "not language models" in answer.out
    document = invoke(capsys, "demo", "mine.jsonl", "--out", "here", "--json").document
    assert document["imported"]["unchanged"] == 2
    assert document["training"] is None


def test_numbers_are_shown_with_their_interval_or_the_reason():
    assert figure_text(Figure(0.5, 0.4, 0.6, 9)) == "0.50 [0.40, 0.60]"
    assert figure_text(Figure(0.5)) == "0.50"
    assert figure_text(Figure(None, reason="one rollout")) == "not known: one rollout"


def report(folder: Path, **changed) -> TrainReport:
    """Return what a training run reports."""
    facts = {"dropped": {"no credit": 3}, "truncated": 1, "tokens_cut": 40, **changed}
    prepared = Prepared(10, 7, loss_tokens=900, temperature=1.0, temperature_assumed=True, **facts)
    return TrainReport(folder / "model", prepared, 12, 6, 1000, 100, 3.25, {"loss": 0.123456})


def test_a_training_run_says_what_it_trained_on(capsys, folder):
    print_report(stdout_console(), report(folder))

    assert capsys.readouterr().out.splitlines() == [
        "Trained 12 steps on 7 of 10 rows, 900 tokens in the loss, 3.2 s",
        "Weights 100 of 1,000 trained",
        "Left out: no credit 3",
        "Cut to --max-length: 1 rows, 40 tokens lost",
        "The rows name no temperature: 1 was taken",
        "Went on from step 6",
        "Last: loss 0.1235",
        "Wrote  model",
    ]


def test_the_training_of_the_demo_shows_losses_and_samples(capsys, folder):
    training = DemoTraining(report(folder), 3.0, 1.5, (Sampled("2 + 2?", "\x1b[31m4"),))

    print_training(stdout_console(), training)

    shown = capsys.readouterr().out
    assert "loss 3.000 -> 1.500" in shown
    assert "    -> \\x1b[31m4\n" in shown


def test_metrics_move_the_progress_to_their_step(capsys):
    class Steps:
        done = 0
        notes: list[str] = []  # noqa: RUF012 - one instance

        def advance(self, n: int = 1, **_: int) -> None:
            self.done += n

        def note(self, text: str) -> None:
            self.notes.append(text)

        def start(self, total: int | None, name: str) -> None: ...

        def finish(self) -> None: ...

    steps = Steps()
    follow = listener(steps)
    follow({"step": 2.0, "loss": 1.0})
    follow({"step": 5.0, "loss": 0.25})

    assert steps.done == 5
    assert steps.notes == ["step 2 · loss 1", "step 5 · loss 0.25"]
    assert metrics_line({}) == ""


def test_train_refuses_what_cannot_be_trained_on(capsys, folder):
    missing = invoke(
        capsys, "train", "rows.parquet", "--model", "m", "--out", "o", "--epochs", "0"
    )

    assert missing.code == 2
    assert missing.err.startswith("dca: epochs is 0")
    assert invoke(capsys, "train", "--model", "m", "--out", "o").code == 2


def test_a_document_can_hold_any_text(capsys):
    run = Run((Masked(sys.stdout), Masked(sys.stderr)), verb="x")

    run.document({"text": "\ud800 é 😀"}, 0)

    assert json.loads(capsys.readouterr().out)["text"] == "\ud800 é 😀"
