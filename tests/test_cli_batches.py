"""``dca review`` with ``--batch``, ``--emit`` and ``--ingest`` on the command line."""

import json
import os
import zlib
from dataclasses import replace

import msgspec
import pytest
from sqlalchemy import update

from benchmarks.fault_server.plan import Fault, Rates
from benchmarks.fault_server.running import on_thread
from store.batches import items_of
from store.engine import open_store, transaction
from store.tables import BatchRow
from tests.batch_reviews import KEY, settings
from tests.command_line import clean_folder, fill, invoke, on_terminal, plain_rollouts
from tests.test_emit_ingest import answers, lines, save

CONFIG = """
[project]
store = "dca.db"

[reviewers.chat]
kind = "openai"
model = "tiny"
base_url = "{url}/v1"
api_key_env = "MY_KEY"
price = {{ input = 2.0, output = 8.0, batch = 0.5 }}

[panels.main]
reviewers = ["chat", "arithmetic"]

[panels.alone]
reviewers = ["chat"]

[panels.rules]
reviewers = ["arithmetic", "dataflow"]

[review]
panel = "main"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with four rollouts whose provider is not there."""
    clean_folder(tmp_path, monkeypatch)
    monkeypatch.setenv("MY_KEY", KEY)
    configure(tmp_path, "http://127.0.0.1:9")
    fill(tmp_path / "dca.db", plain_rollouts(4))
    return tmp_path


def configure(folder, url):
    (folder / "dca.toml").write_text(CONFIG.format(url=url), "utf-8")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch", "--emit", "x"], "--batch, --emit and --ingest are three ways"),
        (["--emit", "x", "--ingest", "y"], "--batch, --emit and --ingest are three ways"),
        (["--no-wait"], "--no-wait belongs to --batch"),
        (["--cancel"], "--cancel belongs to --batch"),
        (["--every", "3"], "--every belongs to --batch"),
        (["--final"], "--final belongs to --ingest"),
        (["--rejects", "x"], "--rejects belongs to --ingest"),
        (["--batch", "--panel", "rules"], "no reviewer of the panel can be asked in batches"),
        (["--ingest", "none.jsonl"], "none.jsonl: no such file"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, message, folder, capsys):
    answer = invoke(capsys, "review", *flags)

    assert (answer.code, message in answer.err) == (2, True)


def test_a_panel_is_asked_in_batches_and_its_rules_at_once(folder, capsys):
    with on_thread(settings()) as server:
        configure(folder, server.url)
        left = invoke(capsys, "--json", "review", "--batch", "--no-wait", "--max-cost", "1")
        back = invoke(capsys, "review", "--batch", "--every", "0.05")

    said = left.document
    assert (left.code, said["schema"], said["submitted"], said["open"]) == (
        3,
        "dca.review.batch/1",
        4,
        4,
    )
    assert said["at_once"][0]["reviewers"][0]["reviews"] == 4
    assert back.code == 0
    assert back.out.splitlines()[0].split() == [
        *["reviewer", "reviewed", "stored", "before", "pending", "dollars", "abstained"]
    ]
    assert "0 requests submitted, 0 at a provider" in back.out
    assert "spent $0.0" in back.out


def test_what_is_left_at_a_provider_is_said_and_can_be_stopped(folder, capsys):
    with on_thread(settings(seconds=20)) as server:
        configure(folder, server.url)
        left = invoke(capsys, "review", "--batch", "--no-wait")
        stopped = invoke(capsys, "review", "--batch", "--cancel", "--every", "0.05")

    assert "4 requests are worked on, at most $0.29" in left.out
    assert (left.code, stopped.code) == (3, 0)
    assert "0 requests submitted, 0 at a provider" in stopped.out


def test_a_cap_ends_submitting_with_its_own_exit_code(folder, capsys):
    with on_thread(settings()) as server:
        configure(folder, server.url)
        answer = invoke(capsys, "review", "--batch", "--max-tokens", "100", "--every", "0.05")

    assert answer.code == 4
    assert "the cap in tokens ended submitting: raise it to go on" in answer.out


def test_abstentions_and_strangers_are_said(folder, capsys):
    with on_thread(settings(Rates({Fault.REFUSAL: 1.0}))) as server:
        configure(folder, server.url)
        answer = invoke(capsys, "review", "--batch", "--every", "0.05")

    assert answer.code == 3
    assert "refused 4" in answer.out
    assert "dca review --retry-failed asks again where a reviewer abstained" in answer.out


def test_requests_go_out_and_answers_come_in(folder, capsys, monkeypatch):
    monkeypatch.delenv("MY_KEY")
    written = invoke(capsys, "review", "--emit", "r.jsonl")
    document = invoke(capsys, "--json", "review", "--emit", "r2.jsonl").document
    assert (written.code, document["schema"]) == (0, "dca.review.emit/1")
    assert document["reviewers"][0]["requests"] == 4
    assert "no requests for arithmetic: dca review asks them without a network" in written.out
    assert "4 rollouts, panel main: 4 requests, nothing was asked or stored" in written.out

    with on_thread(settings(Rates({Fault.BAD_SCHEMA: 0.5}))) as server:
        monkeypatch.setattr("tests.test_emit_ingest.HEADERS", {"authorization": f"Bearer {KEY}"})
        made = answers(server, lines(folder / "r.jsonl"))
    save(folder / "a.jsonl", [*made, {"custom_id": "x"}])
    taken = invoke(capsys, "review", "--ingest", "a.jsonl", "--rejects", "why.jsonl")
    again = invoke(capsys, "--json", "review", "--ingest", "a.jsonl", "--rejects", "why.jsonl")
    ended = invoke(capsys, "review", "--ingest", "a.jsonl", "--rejects", "why.jsonl", "--final")

    assert taken.code == 3
    assert "not used: broken 1 (why: why.jsonl)" in taken.out
    assert "dca review --emit FILE writes the next questions of those that go on" in taken.out
    assert json.loads((folder / "why.jsonl").read_text())["line"] == 5
    assert (again.document["before"], again.document["schema"]) == (4, "dca.review.ingest/1")
    assert "taken before: 4" in ended.out
    further = invoke(capsys, "review", "--emit", "r3.jsonl")
    assert "of them go on with an earlier answer" in further.out


def test_results_of_nobody_are_said(folder, capsys):
    with on_thread(settings()) as server:
        configure(folder, server.url)
        invoke(capsys, "review", "--batch", "--no-wait", "--panel", "alone")
        engine = open_store(str(folder / "dca.db"))
        with transaction(engine) as session:
            batch = session.query(BatchRow).one()
            some = items_of(session, batch.id)[:3]
            session.execute(
                update(BatchRow).values(items=zlib.compress(msgspec.json.encode(some)))
            )
        engine.dispose()
        answer = invoke(capsys, "review", "--batch", "--every", "0.05", "--panel", "alone")

    assert "1 results belong to no request of these batches: not used" in answer.out
    assert answer.code == 0


def test_a_panel_of_one_model_and_a_rollout_without_text(folder, capsys):
    blank = replace(plain_rollouts(5)[4], completion=" ")
    fill(folder / "dca.db", [blank])
    answer = invoke(capsys, "review", "--emit", "r.jsonl", "--panel", "alone")

    assert "chat: left out 1 without a question; dca review settles them" in answer.out
    assert "no requests for" not in answer.out
    assert len(lines(folder / "r.jsonl")) == 4


def test_ctrl_c_leaves_the_batches_and_says_so(folder):
    environment = {**os.environ, "MY_KEY": KEY}
    with on_thread(settings(seconds=60)) as server:
        configure(folder, server.url)
        code, shown = on_terminal(
            *("--display", "plain", "review", "--batch", "--panel", "alone", "--every", "0.05"),
            environment=environment,
            interrupts=("submitted batch",),
        )

    assert code == 130
    assert "4 requests are worked on" in shown


def test_what_another_run_holds_is_said(folder, capsys):
    with on_thread(settings(seconds=20)) as server:
        configure(folder, server.url)
        invoke(capsys, "review", "--batch", "--no-wait")
        written = invoke(capsys, "review", "--emit", "r.jsonl")

    assert "chat: left out 4 that another run or a batch is asking for" in written.out
    assert not (folder / "r.jsonl").exists()
