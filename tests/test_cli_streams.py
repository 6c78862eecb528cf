"""What may and what may never reach a stream; interrupts and questions."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dca.cli.interrupt import draining
from dca.cli.run import Run
from dca.cli.streams import Masked
from dca.cli.terminal import is_dumb, one_line, speaks_unicode, visible
from tests.command_line import (
    HOSTILE,
    clean_folder,
    fill,
    fill_sheet,
    invoke,
    on_terminal,
    plain_rollouts,
    spawn,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    return clean_folder(tmp_path, monkeypatch)


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


def test_a_confirmation_off_a_terminal_needs_yes(capsys, folder):
    (folder / "dca.db").touch()  # without a schema there is something to upgrade

    refused = invoke(capsys, "db", "upgrade")
    done = invoke(capsys, "db", "upgrade", "--yes")

    assert refused.code == 2
    assert "nobody is there to answer" in refused.err
    assert "add --yes" in refused.err
    assert done.code == 0
    assert "schema" in done.out


def test_a_confirmation_on_a_terminal_takes_an_answer(folder):
    (folder / "dca.db").touch()
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


def test_lines_written_together_are_masked_too(capsys):
    stream = Masked(sys.stdout)
    stream.hide(["secret-text"])

    stream.writelines(["a secret-text\n", "b\n"])

    assert capsys.readouterr().out == "a ***\nb\n"


REFUSING = """\
import asyncio, sys
from pathlib import Path
from tests.provider_server import ProviderServer, chat

async def main():
    async with ProviderServer(chat("{}")) as server:
        text = Path("dca.toml").read_text().replace("@URL@", f"{server.url}/v1")
        Path("dca.toml").write_text(text)
        command = (sys.executable, "-m", "dca", "review", "--concurrency", "8")
        child = await asyncio.create_subprocess_exec(*command)
        return await child.wait()

sys.exit(asyncio.run(main()))
"""


def test_a_refused_key_is_said_once(folder):
    fill(folder / "dca.db", plain_rollouts(40))
    (folder / "dca.toml").write_text(
        "[review]\npanel='main'\n[panels.main]\nreviewers=['a', 'arithmetic']\n[reviewers.a]\n"
        "kind='openai-compatible'\nbase_url='@URL@'\nmodel='m'\nfamily='a'\napi_key_env='WRONG_KEY'\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", REFUSING],
        env={**os.environ, "WRONG_KEY": "sk-wrong-0123456789"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 7, done.stderr
    assert "Task exception" not in done.stderr
    assert done.stderr.count("the endpoint refused the key (HTTP 401)") == 1


def test_the_first_interrupt_drains_and_the_second_aborts(capsys):
    run = Run((Masked(sys.stdout), Masked(sys.stderr)))
    before = signal.getsignal(signal.SIGINT)

    with draining(run) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.wait(5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is before
