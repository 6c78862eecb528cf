"""``dca panel``: who reviews, one reviewer tried, and reviewers held back while a review runs."""

import json
import time
from pathlib import Path

import pytest

from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import on_thread
from benchmarks.fault_server.settings import Settings
from store.engine import open_store, transaction
from store.jobs import finish_job, start_job
from tests.command_line import clean_folder, fill, invoke, plain_rollouts, unstyled
from tests.review_process import (
    KEY,
    begin_review,
    interrupt,
    reviews_by,
    steady,
    wait_until,
    write_config,
)

FIRST = f"{0:020d}"
ALWAYS = {"median_s": 0.0}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of some rollouts, as the working directory."""
    clean_folder(tmp_path, monkeypatch)
    monkeypatch.setenv("A_KEY", KEY)
    fill(tmp_path / "dca.db", plain_rollouts(60))
    return tmp_path


def failing(*faults: Fault) -> Settings:
    """Return a server whose every answer has one of ``faults``."""
    rates = Rates({fault: 1 / len(faults) for fault in faults})
    return Settings(Plan(rates=rates, median_s=0.0), retry_after_s=0.01)


def nothing_stored() -> bool:
    """Tell whether no answer and no job is in the store."""
    engine = open_store("dca.db")
    with transaction(engine) as session:
        counts = [
            session.connection().exec_driver_sql(f"SELECT count(*) FROM {name}").scalar()  # noqa: S608 - names of tables
            for name in ("reviews", "abstentions", "jobs", "claims")
        ]
    engine.dispose()
    return counts == [0, 0, 0, 0]


def test_list_shows_who_sits_where_and_which_keys_are_set(capsys, monkeypatch):
    with on_thread(steady(0.0)) as server:
        write_config(server, "judge")
    text = invoke(capsys, "panel", "list")
    monkeypatch.delenv("A_KEY")
    listed = invoke(capsys, "panel", "list", "--json").document

    rows = [line.split() for line in text.out.splitlines()]
    assert rows[0] == ["reviewer", "kind", "model", "family", "key", "panels"]
    assert " ".join(rows[-1]) == ("judge openai-compatible tiny-judge judge A_KEY is set main*")
    assert " ".join(rows[1]) == "arithmetic rules arithmetic arithmetic - offline"
    assert KEY not in text.out
    assert listed["asked"] == "main"
    assert listed["reviewers"][-1] == {
        "name": "judge",
        "kind": "openai-compatible",
        "model": "tiny-judge",
        "family": "judge",
        "key_variable": "A_KEY",
        "key_set": False,
        "panels": ["main"],
    }


def test_a_trial_shows_all_that_was_said_and_stores_nothing(capsys):
    with on_thread(steady(0.0)) as server:
        write_config(server, "judge")
        text = invoke(capsys, "panel", "test", "judge", "--id", FIRST)
        tried = invoke(capsys, "panel", "test", "judge", "--id", FIRST, "--json").document

    assert text.code == 0
    lines = text.out.splitlines()
    assert lines[0] == f"judge (openai-compatible, tiny-judge) on rollout {FIRST}"
    heads = [line for line in lines if line.startswith(("Prompt: ", "Reply (", "Steps", "Usage"))]
    assert heads == ["Prompt: system", "Prompt: user", "Reply (complete, stop)", "Steps", "Usage"]
    assert "[1] 0 + 1 = 1." in lines
    steps = lines[lines.index("Steps") :]
    assert steps[1][4:].split(" ", 3)[1:] == ["[0,", "10)", "0 + 1 = 1."]
    assert steps[steps.index("Not placed") + 1] == "nothing"
    assert lines[-1] == "1 request, price not known"
    exchange, answer = tried["exchanges"][0], tried["answer"]
    assert exchange["reply"]["text"] == answer["raw"]
    assert exchange["turns"][0]["role"] == "user"
    assert exchange["sizes"]["body_bytes"] > exchange["sizes"]["characters"] > 1000
    assert [step["text"] for step in answer["steps"]] == ["0 + 1 = 1.", "The answer is 1."]
    assert answer["usage"]["input_tokens"] > 0
    assert (tried["requests"], tried["dollars"]) == (1, None)
    assert nothing_stored()


def test_a_dry_trial_shows_the_prompt_and_its_size_without_a_key(capsys, monkeypatch):
    monkeypatch.delenv("A_KEY")
    with on_thread(steady(0.0)) as server:
        write_config(server, "judge")
        with Path("dca.toml").open("a") as file:
            file.write("price={input=1.0, output=2.0}\n")
        text = invoke(capsys, "panel", "test", "judge", "--id", FIRST, "--dry")
        tried = invoke(capsys, "panel", "test", "judge", "--id", FIRST, "--dry", "--json").document
        requests = server.ledger.totals.requests

    assert text.code == 0
    assert text.out.splitlines()[-2] == "Size"
    assert "with the longest reply at most 2" in text.out
    assert text.out.rstrip().endswith("$0.040")
    assert "Reply (" not in text.out
    assert tried["answer"] is tried["exchanges"][0]["reply"] is None
    assert tried["exchanges"][0]["sizes"]["most_dollars"] == pytest.approx(0.04, rel=0.1)
    assert requests == 0


def test_parts_without_a_place_are_shown_with_their_reason_and_a_repair_turn_only_once(capsys):
    with on_thread(failing(Fault.BAD_UNITS)) as server:
        write_config(server, "judge")
        text = invoke(capsys, "panel", "test", "judge", "--id", FIRST)
        tried = invoke(capsys, "panel", "test", "judge", "--id", FIRST, "--json")

    assert text.code == tried.code == 3
    assert text.out.count("The key of this message is") == 1
    assert "Prompt 2 of 2: assistant" in text.out
    assert "That reply cannot be used" in text.out
    assert "invalid: " in text.out
    assert "2 requests, price not known" in text.out
    answer = tried.document["answer"]
    assert answer["abstained"] == "invalid"
    assert answer["usage"]["input_tokens"] > 2000
    assert len(tried.document["exchanges"]) == 2


def test_a_refused_key_and_a_server_that_fails_are_told(capsys):
    with on_thread(Settings(Plan(**ALWAYS), key="another")) as server:
        write_config(server, "judge")
        refused = invoke(capsys, "panel", "test", "judge", "--id", FIRST)
    with on_thread(failing(Fault.HTML)) as server:
        write_config(server, "judge")
        failed = invoke(capsys, "panel", "test", "judge", "--id", FIRST)

    assert refused.code == 7
    assert "judge: the endpoint refused the key (HTTP 401)" in refused.err
    assert failed.code == 3
    assert "No reply" in failed.out
    assert "unavailable: judge: HTTP 200 with text/html" in failed.out


def test_rules_and_recordings_are_tried_too(capsys, folder: Path):
    span = {"start": 0, "stop": 10, "label": "decisive", "confidence": 0.9, "reason": "it\x1b[1m"}
    links = [{"source": 0, "target": 0, "kind": "uses"}]
    record = {
        "rollout_id": FIRST, "spans": [span, {**span, "start": 11, "stop": 27}],
        "links": [*links, {"source": 0, "target": 1, "kind": "uses"}],
        "covered": [0, 27], "blame": 0, "soundness": "unsound",
    }  # fmt: skip
    (folder / "said.jsonl").write_text(
        json.dumps(record) + "\n"
        + json.dumps({"rollout_id": f"{2:020d}", "spans": [span], "blame": None}) + "\n"
    )  # fmt: skip
    (folder / "dca.toml").write_text("[reviewers.people]\nkind='replay'\npath='said.jsonl'\n")

    rule = invoke(capsys, "panel", "test", "arithmetic", "--id", FIRST)
    dry = invoke(capsys, "panel", "test", "arithmetic", "--id", FIRST, "--dry")
    people = invoke(capsys, "panel", "test", "people", "--id", FIRST)
    nobody = invoke(capsys, "panel", "test", "people", "--id", f"{2:020d}")
    unknown = invoke(capsys, "panel", "test", "people", "--id", f"{1:020d}")

    assert rule.code == dry.code == people.code == nobody.code == 0
    assert "0 + 1 = 1" in rule.out
    assert "Usage" not in rule.out
    assert dry.out.splitlines()[-1] == "No prompt: it is no language model."
    assert "  1 D [0, 10) 0 + 1 = 1." in people.out.splitlines()
    assert "      decisive, 0.9 sure. it [1m" in people.out.splitlines()
    assert "    step 2 uses step 1" in people.out.splitlines()
    assert "blames step 1, unsound" in people.out.splitlines()
    assert "    link 0 to 0: its ends are not two spans of this review" in people.out.splitlines()
    assert '"rollout_id"' in people.out
    assert "no step is to blame" in nobody.out
    assert unknown.code == 3
    assert "unavailable: no review of this rollout was recorded" in unknown.out


def test_an_empty_completion_is_no_question(capsys, folder: Path):
    (folder / "empty.jsonl").write_text(
        json.dumps({"id": "blank", "prompt": "2 + 2?", "completion": " ", "reward": 0}) + "\n"
    )
    with on_thread(steady(0.0)) as server:
        write_config(server, "judge")
    from dataclasses import replace  # noqa: PLC0415 - used once

    blank = replace(plain_rollouts(1)[0], id="b" * 20, completion=" ")
    fill(folder / "dca.db", [blank])

    dry = invoke(capsys, "panel", "test", "judge", "--id", "bbb", "--dry")

    assert dry.code == 3
    assert "invalid: the completion holds no text to review" in dry.out


def test_a_paused_reviewer_is_asked_nothing_until_it_is_resumed(capsys):
    with on_thread(steady(0.1)) as server:
        write_config(server, "judge", "local")
        with begin_review("--concurrency", "2") as child:
            wait_until(lambda: server.ledger.totals.paid > 4)
            begun = time.monotonic()
            told = invoke(capsys, "panel", "pause", "judge", "--json")
            assert child.stderr is not None
            while "judge: paused" not in (said := child.stderr.readline()):
                assert said
            seconds = time.monotonic() - begun
            time.sleep(0.5)  # What was in flight is answered and written.
            held, others = reviews_by("judge"), reviews_by("local")
            wait_until(lambda: reviews_by("local") > others + 5)
            still = reviews_by("judge")
            both = invoke(capsys, "panel", "pause", "local")
            again = invoke(capsys, "panel", "resume", "judge")
            wait_until(lambda: reviews_by("judge") > still)
            interrupt(child)
            _, err = child.communicate(timeout=30)

    assert told.document["paused"] == ["judge"]
    assert seconds < 3.5
    assert still == held
    assert "paused: judge, local; the running review obeys within two seconds" in both.out
    assert "paused: local" in again.out
    assert "local: paused" in err
    assert "judge: goes on" in err
    assert child.returncode == 130


def test_only_a_reviewer_of_a_running_review_can_be_paused(capsys):
    nobody = invoke(capsys, "panel", "pause", "judge")
    engine = open_store("dca.db")
    with transaction(engine) as session:
        start_job(session, "import", {})
        ended = start_job(session, "review", {"panel": ["judge"]})
        finish_job(session, ended, "done")
        start_job(session, "review", {"panel": ["judge", "local"]})
    engine.dispose()

    typo = invoke(capsys, "panel", "resume", "jugde")
    nobody_there = invoke(capsys, "panel", "resume", "judge")

    assert (nobody.code, nobody.err) == (6, "dca: no review is running on this store\n")
    assert typo.code == 2
    assert "job 3 asks no reviewer 'jugde'; did you mean judge?" in typo.err
    assert "job 3: paused: nobody" in nobody_there.out


def test_the_help_names_every_verb_of_the_group(capsys):
    shown = unstyled(invoke(capsys, "panel", "--help").out)

    assert {line.split()[0] for line in shown if line.startswith("  ")} >= {
        "list", "test", "pause", "resume", "cost",
    }  # fmt: skip
