"""The command line as a whole: flags, exit codes, errors, streams, secrets, interrupts."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dca import cli
from dca.cli.flags import Display, Flags, read_flags
from dca.cli.grammar import Verbs
from dca.cli.terminal import is_dumb, one_line, speaks_unicode, visible
from dca.cli.verbs import CONFIG, DATABASE, VERBS, asked_for_json, named_verb, root
from dca.domain.errors import UsageError
from tests.command_line import (
    HOSTILE,
    fill,
    fill_sheet,
    invoke,
    on_terminal,
    plain_rollouts,
    spawn,
)

VARIABLES = (
    "DCA_STORE",
    "DCA_CONFIG",
    "DCA_DISPLAY",
    "DCA_YES",
    "DCA_SEED",
    "NO_COLOR",
    "COLUMNS",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[2]))
    for name in (*VARIABLES, "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_help_loads_no_database_no_client_and_no_torch():
    script = (
        "import sys; from dca import cli; code = cli.run(sys.argv[1:]);"
        "heavy = {'torch', 'openai', 'anthropic', 'sqlalchemy', 'pyarrow', 'transformers'};"
        "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "--help"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stderr == "0 []\n"
    for name in (*VERBS, "config", "db", "--store", "--json"):
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
    "verb", [*VERBS, *(f"config {v}" for v in CONFIG), *(f"db {v}" for v in DATABASE)]
)
def test_every_verb_has_a_help_that_begins_like_its_line_in_the_list(capsys, verb):
    answer = invoke(capsys, *verb.split(), "--help")

    tables = {"config": CONFIG, "db": DATABASE}
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


def test_secrets_never_reach_any_output_tracebacks_included(capsys, folder, monkeypatch):
    secret = "sk-very-secret-1234"  # noqa: S105 - made up, to be looked for in the output
    (folder / "dca.toml").write_text(
        f"[reviewers.a]\nkind='openai'\nmodel='{secret}'\napi_key_env='A_KEY'\n"
        "[panels.main]\nreviewers=['a']\n"
    )
    (folder / ".env").write_text(f"A_KEY={secret}\n")
    monkeypatch.setenv("A_KEY_OTHER", "x")
    try:
        shown = invoke(capsys, "config", "show")
        document = invoke(capsys, "config", "show", "--json")
        failed = invoke(capsys, "show", secret, "--debug", "--store", "x.db")
        report = invoke(capsys, "doctor")
    finally:
        os.environ.pop("A_KEY", None)

    assert secret not in "".join(a.out + a.err for a in (shown, document, failed, report))
    assert "reviewers.a.model" in shown.out
    assert "***" in shown.out
    assert "read .env: A_KEY" in shown.err
    assert "Traceback" in failed.err
    assert "A_KEY is set" in report.out


def test_a_password_of_the_store_is_masked(capsys):
    url = "postgresql://me:hunter2@127.0.0.1:1/x"

    answer = invoke(capsys, "ls", "--store", url, "--debug")
    shown = invoke(capsys, "config", "show", "--store", url)

    assert answer.code == 7
    assert "hunter2" not in answer.out + answer.err + shown.out + shown.err
    assert "postgresql+psycopg://me:***@127.0.0.1:1/x" in shown.out


def test_dotenv_is_announced_unless_quiet(capsys, folder):
    (folder / "dca.toml").write_text("")
    (folder / ".env").write_text("")

    assert invoke(capsys, "config", "path").err == "read .env: nothing new\n"
    assert invoke(capsys, "config", "path", "-q").err == ""
    verbose = invoke(capsys, "config", "path", "-v")
    assert verbose.err.splitlines()[-1] == "configuration: dca.toml"


def test_a_reader_that_has_gone_gives_141(folder):
    fill(folder / "dca.db", plain_rollouts(3))
    for arguments in (["ls"], ["ls", "--json"], ["--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "dca", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, ""), arguments


def test_a_stream_that_knows_no_unicode_is_written_with_escapes(folder):
    fill_sheet(folder / "dca.db")

    done = spawn("show", "abc", env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert done.returncode == 0
    assert "########" in done.stdout
    assert done.stdout.isascii()


def test_no_color_and_dumb_terminals_get_no_escape_sequences(folder):
    fill_sheet(folder / "dca.db")

    _, coloured = on_terminal("show", "abc")
    for arguments, environment in (
        (["show", "abc"], {"NO_COLOR": "1"}),
        (["--no-color", "show", "abc"], {}),
        (["show", "abc"], {"TERM": "dumb"}),
    ):
        code, shown = on_terminal(*arguments, environment=environment)
        assert code == 0
        assert "\x1b[3" not in shown
    assert "\x1b[1;31m" in coloured


def test_hostile_text_never_reaches_a_terminal(folder):
    fill_sheet(folder / "dca.db")
    for arguments in (["show", "abc"], ["show", "abc", "--md"]):
        _, shown = on_terminal(*arguments, environment={"NO_COLOR": "1"})
        for wicked in ("\x1b[31m", "\x1b]0;", "\x07", "\u202e", "\u2066"):
            assert wicked not in shown
        assert "u202eevil" in shown
        assert "bold" in shown


def test_control_characters_are_written_out():
    assert visible("a\x1b[31mb\u202ec\U000e0041\r\nd\te\x9b") == (
        "a\\x1b[31mb\\u202ec\\U000e0041\nd\te\\x9b"
    )
    assert one_line(" a\n\n b\u200b ") == "a b\\u200b"
    assert visible("\ud800 👩‍👩‍👧 שלום नमस्ते") == "\\ud800 👩‍👩‍👧 שלום नमस्ते"
    assert all(ord(character) >= 32 for character in one_line(HOSTILE))


def test_terminals_say_what_they_can():
    assert is_dumb({"TERM": "dumb"})
    assert not is_dumb({"TERM": "xterm"})
    assert speaks_unicode(sys.__stdout__) in {True, False}


def test_an_interrupt_is_130_and_says_so(folder):
    script = (
        "import os, signal, sys; from dca import cli, pipeline;"
        "import dca.cli.ls as module;"
        "signal.setitimer(signal.ITIMER_REAL, 0.01);"
        "signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT));"
        "sys.stdin = os.fdopen(os.pipe()[0]);"
        "sys.exit(cli.run(['ls', '--ids', '-', '--json']))"
    )
    fill(folder / "dca.db", plain_rollouts(1))

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 130
    assert done.stderr == "dca: interrupted\n"
    assert json.loads(done.stdout)["exit"] == 130


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
    assert set(command.commands) == {*VERBS, "config", "db"}


def test_python_dash_m_dca_is_the_command():
    done = spawn("config", "path")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "project none"


def test_a_confirmation_off_a_terminal_needs_yes(capsys, folder):
    fill(folder / "dca.db", [])

    refused = invoke(capsys, "db", "upgrade")
    done = invoke(capsys, "db", "upgrade", "--yes")

    assert refused.code == 2
    assert "nobody is there to answer" in refused.err
    assert "add --yes" in refused.err
    assert done.code == 0
    assert "schema" in done.out


def test_a_confirmation_on_a_terminal_takes_an_answer(folder):
    fill(folder / "dca.db", [])
    command = [sys.executable, "-m", "dca", "db", "upgrade"]
    for reply, code in ((b"n\n", 1), (b"y\n", 0)):
        main, other = os.openpty()
        child = subprocess.Popen(
            command, stdin=other, stdout=subprocess.PIPE, stderr=other, start_new_session=True
        )
        os.close(other)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(main, 1024)
        os.write(main, reply)
        out, _ = child.communicate(timeout=30)
        os.close(main)
        assert child.returncode == code
        assert (b"schema" in out) is (code == 0)


def test_main_exits_with_the_code_of_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dca", "show"])

    with pytest.raises(SystemExit) as caught:
        cli.main()

    assert caught.value.code == 2
    assert "Missing argument" in capsys.readouterr().err


def test_a_termination_signal_drains_a_review(folder):
    fill(folder / "dca.db", plain_rollouts(2000))
    child = subprocess.Popen(
        [sys.executable, "-m", "dca", "review", "--display", "json", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    while '"progress"' not in child.stderr.readline():
        assert child.poll() is None
    time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)

    document = json.loads(out)
    assert child.returncode == document["exit"] == 130
    assert document["stopped"] is True
    assert "finishing what is in flight" in err
    done = sum(row["reviews"] for row in document["reviewers"])
    pending = sum(row["pending"] for row in document["reviewers"])
    assert 0 < done < 8000
    assert done + pending == 8000
