"""``dca init``, ``doctor``, ``config`` and ``db``."""

import json
import re
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dca.cli.initialise import Template, example, template
from dca.cli.run import Run
from dca.cli.stores import sqlite_file
from dca.cli.streams import Masked
from dca.config import load
from store.schema import HEAD
from tests.command_line import clean_folder, fill, invoke, plain_rollouts


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    return clean_folder(tmp_path, monkeypatch)


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
        self.send_response(401 if self.path.startswith("/denied") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


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
    # One provider is one family: these templates ask for one on purpose.
    shown = shown.replace("\nmin_families = 1 ", "\nmin_families = 2 ")
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


def test_doctor_live_asks_every_endpoint(capsys, folder):
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "dca.toml").write_text(
        "[reviewers.up]\nkind='openai-compatible'\nmodel='m'\nfamily='f'\nretries=0\n"
        f"base_url='http://127.0.0.1:{server.server_port}/v1'\n"
        "[reviewers.down]\nkind='openai-compatible'\nmodel='m'\nfamily='f'\nretries=0\n"
        "base_url='http://127.0.0.1:1/v1'\n"
        "[reviewers.denied]\nkind='openai-compatible'\nmodel='m'\nfamily='f'\nretries=0\n"
        f"base_url='http://127.0.0.1:{server.server_port}/denied'\n"
        "[reviewers.keyless]\nkind='openai'\nmodel='m'\napi_key_env='NOT_SET'\n"
    )
    try:
        document = invoke(capsys, "doctor", "--live", "--json").document
    finally:
        server.shutdown()
        server.server_close()

    found = {item["name"]: item for item in document["findings"] if item["part"] == "endpoints"}
    assert document["exit"] == 7
    assert set(found) == {"up", "down", "denied"}
    assert found["up"]["state"] == "ok"
    assert found["up"]["detail"] == "answered: 1,100 tokens in, 7 out"
    assert found["down"]["state"] == found["denied"]["state"] == "missing"
    assert "denied" in found["denied"]["detail"]


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


def test_a_document_can_hold_any_text(capsys):
    run = Run((Masked(sys.stdout), Masked(sys.stderr)), verb="x")

    run.document({"text": "\ud800 é 😀"}, 0)

    assert json.loads(capsys.readouterr().out)["text"] == "\ud800 é 😀"


def test_upgrading_a_current_store_asks_nothing_and_a_missing_one_is_not_made(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(1))

    assert invoke(capsys, "db", "upgrade").out.endswith(f"dca.db: schema {HEAD}\n")
    missing = invoke(capsys, "db", "upgrade", "--store", "none.db", "--yes")
    assert missing.code == 2
    assert missing.err.splitlines()[0] == "dca: no store at none.db"
    assert not (folder / "none.db").exists()


def test_endpoints_are_contacted_only_with_live(capsys, folder):
    assert "Endpoints" not in invoke(capsys, "doctor").out
    made = invoke(capsys, "init", "--panel", "openai-compatible")

    assert "dca doctor --live  # contacts the endpoints\n" in made.out
    assert "`dca doctor --live` contacts the endpoints" in invoke(capsys, "doctor").out
    refused = invoke(capsys, "init")
    assert refused.err.splitlines() == [
        "dca: dca.toml and .env.example exist already",
        "     --force overwrites them",
    ]
