"""The command line as a whole: help, global flags, exit codes, errors."""

import sqlite3
import subprocess
import sys

import pytest

from dca import cli
from dca.cli.flags import Display, Flags, read_flags
from dca.cli.grammar import Verbs
from dca.cli.verbs import CONFIG, DATABASE, PANEL, VERBS, asked_for_json, named_verb, root
from dca.domain.errors import UsageError
from tests.command_line import (
    clean_folder,
    fill,
    invoke,
    plain_rollouts,
    spawn,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    return clean_folder(tmp_path, monkeypatch)


def test_the_help_loads_no_database_no_client_and_no_torch():
    script = (
        "import sys; from dca import cli; code = cli.run(sys.argv[1:]);"
        "heavy = {'torch', 'openai', 'anthropic', 'sqlalchemy', 'pyarrow', 'transformers'};"
        "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "--help"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stderr == "0 []\n"
    for name in (*VERBS, "config", "db", "panel", "--store", "--json"):
        assert f"  {name} " in done.stdout


def test_no_verb_loads_torch_or_a_client_for_its_help():
    script = (
        "import sys; from dca import cli; from dca.cli.verbs import VERBS;"
        "codes = [cli.run([verb, '--help']) for verb in VERBS];"
        "heavy = {'torch', 'openai', 'anthropic', 'transformers'};"
        "print(set(codes), sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stderr == "{0} []\n"


@pytest.mark.parametrize(
    "verb",
    [
        *VERBS,
        *(f"config {v}" for v in CONFIG),
        *(f"db {v}" for v in DATABASE),
        *(f"panel {v}" for v in PANEL),
    ],
)
def test_every_verb_has_a_help_that_begins_like_its_line_in_the_list(capsys, verb):
    answer = invoke(capsys, *verb.split(), "--help")

    tables = {"config": CONFIG, "db": DATABASE, "panel": PANEL}
    entry = tables.get(verb.split()[0], VERBS)[verb.split()[-1]]
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: dca {verb} ")
    assert " ".join(answer.out.split("\n\n")[1].split()) == entry.help
    assert "Global options:" in answer.out


def test_without_a_verb_the_help_goes_to_standard_error(capsys):
    answer = invoke(capsys)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: dca ")
    assert invoke(capsys, "config").err.startswith("Usage: dca config ")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'ls'?", "see `dca --help`"),
        (["ls", "--limt", "3"], "No such option: --limt", "see `dca ls --help`"),
        (["show"], "Missing argument 'ID'", "see `dca show --help`"),
        (["config", "shw"], "No such command 'shw'", "see `dca config --help`"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_a_hint(capsys, arguments, message, hint):
    answer = invoke(capsys, *arguments)

    first, second = answer.err.splitlines()
    assert (answer.code, answer.out) == (2, "")
    assert first.startswith(f"dca: {message}")
    assert second.strip() == hint


def test_global_flags_stand_before_and_after_the_verb(capsys, folder):
    fill(folder / "a.db", plain_rollouts(3))
    fill(folder / "b.db", plain_rollouts(5))

    before = invoke(capsys, "--json", "--store", "a.db", "ls").document
    after = invoke(capsys, "ls", "--store", "a.db", "--json").document
    last = invoke(capsys, "--json", "--store", "a.db", "ls", "--store", "b.db").document

    assert before == after
    assert (len(before["rollouts"]), len(last["rollouts"])) == (3, 5)


def test_variables_stand_for_global_flags_and_flags_beat_them(capsys, folder, monkeypatch):
    fill(folder / "a.db", plain_rollouts(3))
    (folder / "other.toml").write_text("[project]\nstore = 'nope.db'\n")
    monkeypatch.setenv("DCA_STORE", "a.db")
    monkeypatch.setenv("DCA_CONFIG", "other.toml")

    assert len(invoke(capsys, "ls", "--json").document["rollouts"]) == 3
    files = invoke(capsys, "config", "path", "--json").document["files"]
    assert files["project"] == str(folder / "other.toml")
    assert invoke(capsys, "ls", "--store", "b.db").code == 6


def test_flags_are_read_from_variables():
    environment = {"DCA_SEED": "7", "DCA_DISPLAY": "json", "DCA_YES": "1"}

    assert read_flags({}, environment) == Flags(seed=7, display=Display.JSON, yes=True)
    assert read_flags({"seed": 1}, environment).seed == 1
    assert read_flags({}, {"DCA_YES": "no"}).yes is False
    with pytest.raises(UsageError, match="DCA_SEED=x: is not a whole number"):
        read_flags({}, {"DCA_SEED": "x"})
    with pytest.raises(UsageError, match=r"DCA_DISPLAY=jsn: no such display; did you mean json\?"):
        read_flags({}, {"DCA_DISPLAY": "jsn"})


@pytest.mark.parametrize(
    ("arguments", "code", "verb", "kind"),
    [
        (["ls", "--where", "step:x"], 2, "ls", "SelectionError"),
        (["ls", "--where", "task:none"], 6, "ls", "NothingSelected"),
        (["show", "zzz"], 6, "show", "NothingSelected"),
        (["db", "stats", "--store", "postgresql://u:pw@127.0.0.1:1/x"], 7, "db.stats", None),
        (["ls", "--nope"], 2, "ls", "UsageError"),
        (["--json", "nope"], 2, "", "UsageError"),
    ],
)
def test_errors_with_json_are_one_document_with_the_exit_code(
    capsys, folder, arguments, code, verb, kind
):
    fill(folder / "dca.db", plain_rollouts(1))

    answer = invoke(capsys, *arguments, "--json")

    document = answer.document
    assert answer.code == code
    assert document["schema"] == (f"dca.{verb}/1" if verb else "dca/1")
    assert (document["ok"], document["exit"]) == (False, code)
    assert document["error"]["kind"] == (kind or "StoreUnreachable")
    assert answer.err.startswith("dca: ")
    assert ":pw@" not in answer.out + answer.err


def test_a_configuration_error_exits_2_with_one_line_per_fault(capsys, folder):
    (folder / "dca.toml").write_text("[review]\nconcurency = 3\n[credit]\ncap = 0\n")

    answer = invoke(capsys, "ls")

    assert answer.code == 2
    assert answer.err.splitlines()[:2] == [
        "dca: dca.toml:2: unknown key review.concurency; did you mean concurrency?",
        "dca: dca.toml:4: credit.cap = 0: should be greater than or equal to 1",
    ]


def test_a_bug_is_one_line_and_with_debug_a_traceback(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(1))
    connection = sqlite3.connect(folder / "dca.db")
    connection.execute("UPDATE rollouts SET prompt_turns = '[7]'")
    connection.commit()
    connection.close()

    answer = invoke(capsys, "show", "0")
    debugged = invoke(capsys, "show", "0", "--debug")

    assert (answer.code, debugged.code) == (1, 1)
    assert "dca: unexpected TypeError" in answer.err
    assert "this is a bug" in answer.err
    assert "Traceback" not in answer.err
    assert "Traceback" in debugged.err


def test_dotenv_is_announced_unless_quiet(capsys, folder):
    (folder / "dca.toml").write_text("")
    (folder / ".env").write_text("")

    assert invoke(capsys, "config", "path").err == "read .env: nothing new\n"
    assert invoke(capsys, "config", "path", "-q").err == ""
    verbose = invoke(capsys, "config", "path", "-v")
    assert verbose.err.splitlines()[-1] == "configuration: dca.toml"


def test_the_verb_and_json_are_found_before_anything_is_read():
    assert named_verb(["--json", "db", "stats", "x"]) == "db stats"
    assert named_verb(["--store", "x.db", "ls"]) == "ls"
    assert named_verb(["config", "x"]) == "config"
    assert named_verb(["--nope"]) == ""
    assert asked_for_json(["ls", "--json"])
    assert not asked_for_json(["show", "--", "--json"])


def test_the_root_knows_every_verb():
    command = root()

    assert isinstance(command, Verbs)
    assert set(command.commands) == {*VERBS, "config", "db", "panel"}


def test_python_dash_m_dca_is_the_command():
    done = spawn("config", "path")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "project none"


def test_main_exits_with_the_code_of_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dca", "show"])

    with pytest.raises(SystemExit) as caught:
        cli.main()

    assert caught.value.code == 2
    assert "Missing argument" in capsys.readouterr().err
