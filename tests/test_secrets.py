"""A key is nowhere: not in the store, not in any output, log, traceback or exported file."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
import pytest

from tests.command_line import clean_folder, fill, on_terminal, plain_rollouts
from tests.repeating_provider import repeating
from tests.review_process import kept

A_KEY = "sk-proj-Zq7/uV+92hT=wXc4Rb1LmN8"
B_KEY = "sk-ant-Gk5+yE/83pD=sJf6Wd0QaZ2"
WINDOW = 10
"""So many characters of a key in a row are a leak."""
FIRST = f"{0:020d}"
LOGGED = """\
import json, logging, os, sys
logging.basicConfig(level=logging.DEBUG, filename="debug.log")
for name in ("aiohttp", "aiohttp.client", "asyncio", "openai", "anthropic", "reviewers", "dca"):
    logging.getLogger(name).setLevel(logging.DEBUG)
if "CRASH" in os.environ:
    import reviewers.dialogue
    def boom(*said):
        raise RuntimeError(f"{said} {dict(os.environ)}")
    reviewers.dialogue.parse_reply = boom
from dca.cli import run
codes = [run(line) for line in json.loads(sys.argv[1])]
sys.stdout.write(json.dumps(codes))
"""
"""Command lines, with every logger writing all that it has to say, past our own masks."""
CONFIG = """\
[review]
panel = "main"
[panels.main]
reviewers = ["chat", "messages", "arithmetic"]
[reviewers.chat]
kind = "openai"
model = "m"
base_url = "{url}/v1"
api_key_env = "A_KEY"
retries = 1
price = {{ input = 1.0, output = 1.0 }}
[reviewers.messages]
kind = "anthropic"
model = "m"
base_url = "{url}"
api_key_env = "B_KEY"
retries = 1
"""
KEYS = {
    "A_KEY": A_KEY,
    "B_KEY": B_KEY,
    "OPENAI_LOG": "debug",
    "ANTHROPIC_LOG": "debug",
    "PYTHONASYNCIODEBUG": "1",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What command lines printed."""

    codes: list[int]
    out: str
    err: str

    def documents(self) -> list[dict]:
        """Return the JSON documents on standard output."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


def traces(key: str) -> list[str]:
    """Return what must be found nowhere: stretches of the key in each of its forms."""
    shapes = [key, quote(key, safe=""), quote_plus(key), quote(key, safe="").lower()]
    shapes += [
        base64.b64encode(f"{before}{key}".encode()).decode()[4:-4]
        for before in ("", ":", "Bearer ")
    ]
    return sorted(
        {shape[at : at + WINDOW] for shape in shapes for at in range(len(shape) - WINDOW)}
    )


TRACES = [trace for key in (A_KEY, B_KEY) for trace in traces(key)]


def assert_clean(where: str, content: bytes | str) -> None:
    """Fail when any stretch of a key is in ``content``."""
    text = content.decode("latin-1") if isinstance(content, bytes) else content
    found = [trace for trace in TRACES if trace in text]
    assert not found, f"{where}: ...{text[max(0, text.find(found[0]) - 200) :][:400]}..."


def dca(*lines: str, **environment: str) -> Answers:
    """Run command lines in one process with all loggers at debug; its output must be clean."""
    arguments = json.dumps([line.split() for line in lines])
    done = subprocess.run(
        [sys.executable, "-c", LOGGED, arguments],
        env={**os.environ, **KEYS, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert_clean(f"{lines}: standard output", done.stdout)
    assert_clean(f"{lines}: standard error", done.stderr)
    assert done.returncode == 0, done.stderr
    return Answers(json.loads(done.stdout.splitlines()[-1]), done.stdout, done.stderr)


def assert_files_clean(folder: Path) -> None:
    """Fail when any file below ``folder``, the store's and its journal among them, has a key."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"dca.db", "debug.log"} <= {path.name for path in files}
    for path in files:
        assert_clean(str(path), path.read_bytes())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of some rollouts, as the working directory."""
    clean_folder(tmp_path, monkeypatch)
    fill(tmp_path / "dca.db", plain_rollouts(24))
    return tmp_path


def test_the_search_finds_a_key_in_each_of_its_forms():
    for shown in (A_KEY[5:20], quote(B_KEY, safe=""), base64.b64encode(A_KEY.encode()).decode()):
        with pytest.raises(AssertionError, match="somewhere"):
            assert_clean("somewhere", f"x {shown} y".encode())


def test_a_provider_that_repeats_the_key_everywhere_gets_it_nowhere(folder: Path):
    with repeating() as url:
        (folder / "dca.toml").write_text(CONFIG.format(url=url))
        asked = dca(
            "review --json --debug -v",
            "review --retry-failed --display json --debug",
            "review --retry-failed -v",
            *(f"panel test {name} --id {FIRST}" for name in ("chat", "messages") * 4),
            *(f"panel test {name} --id {FIRST} --json" for name in ("chat", "messages") * 3),
            "panel list",
            "config show --origin",
            "doctor --live --debug",
        )
        dca(
            "consensus",
            "credit",
            "export --to spans --out spans",
            "export --to tokens --out tokens",
            f"show {FIRST} --json",
            "ls --json",
            "db backup copy.db",
        )
        code, shown = on_terminal("review", "--retry-failed", environment=KEYS)

    assert code in (0, 3)
    assert_clean("terminal", shown)
    store = kept()
    assert store.reviews > 24
    assert "***" in (folder / "dca.db").read_bytes().decode("latin-1")
    assert asked.documents()[0]["reviewers"][0]["faults"]
    assert "you sent Authorization: Bearer ***" in asked.out
    assert (folder / "spans").is_dir()
    assert (folder / "copy.db").is_file()
    assert_files_clean(folder)


def test_a_refused_key_and_a_crash_show_no_key(folder: Path):
    with repeating(refuse=True) as url:
        (folder / "dca.toml").write_text(CONFIG.format(url=url))
        refused = dca("review --debug -v", f"panel test messages --id {FIRST} --debug --json")
    with repeating() as url:
        (folder / "dca.toml").write_text(CONFIG.format(url=url))
        crashed = dca("review --debug --json", CRASH="1")

    assert refused.codes == [7, 7]
    assert "the endpoint refused the key (HTTP 401)" in refused.err
    assert "Traceback" in refused.err
    assert crashed.codes == [1]
    assert "unexpected RuntimeError" in crashed.err
    assert "'A_KEY': '***'" in crashed.err
    assert crashed.documents()[0]["error"]["kind"] == "RuntimeError"
    assert_files_clean(folder)


def test_the_tables_of_a_server_hold_no_key(folder: Path, postgres_url: str):
    fill(postgres_url, plain_rollouts(12))
    with repeating() as url:
        (folder / "dca.toml").write_text(CONFIG.format(url=url))
        dca(f"review --store {postgres_url}", f"review --retry-failed --store {postgres_url}")

    tables = 0
    with psycopg.connect(postgres_url) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (name,) in names:
            rows = connection.execute(f"SELECT * FROM {name}".encode()).fetchall()  # noqa: S608 - names from the catalogue
            tables += bool(rows)
            for row in rows:
                for cell in row:
                    assert_clean(name, cell if isinstance(cell, bytes) else str(cell))
    assert tables >= 5
    assert kept(postgres_url).reviews > 12
