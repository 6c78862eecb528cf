"""Requests as files, answered elsewhere, and taken back."""

import gzip
import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import on_thread
from benchmarks.fault_server.settings import Settings
from dca.domain.errors import FormatError, NothingSelected, UsageError
from dca.formats.outputs import with_word
from dca.formats.source import Source
from dca.pipeline.answer_file import answer_file
from dca.pipeline.emit import emit
from dca.pipeline.ingest import ingest
from reviewers.rules import offline_panel
from store.claims import claim
from store.engine import transaction
from store.jobs import start_job
from store.reviews import reviews_of
from store.selection import Selection, parse_where
from tests.batch_reviews import KINDS, counts, filled, model
from tests.command_line import plain_rollouts

LABELS = "contribution-v1"
HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer x",
    "x-api-key": "x",
    "anthropic-version": "2023-06-01",
}
NOWHERE = "http://127.0.0.1:9"
"""No request is sent, and ``MY_KEY`` is not set."""


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)


@pytest.fixture
def store(tmp_path):
    """A store with six rollouts."""
    engine = filled(tmp_path, 6)
    yield engine
    engine.dispose()


def server(rates=None):
    return on_thread(Settings(Plan(1, rates or Rates(), median_s=0)))


def written(engine, panel, path, **more):
    return emit(engine, panel, Selection(), path, **more)


def taken(engine, panel, path, **more):
    rejects = path.parent / "rejects.jsonl"
    return ingest(engine, panel, Source(str(path), path, "jsonl"), rejects, **more)


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def post(url, body):
    """Return status and body of the answer to a request."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, HEADERS)  # noqa: S310 - a server of this test
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - the same
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def answers(served, requests, form="batch"):
    """Return lines of answers to lines of requests, as a small script would make them."""
    made = []
    for line in requests:
        path = line.get("url", "/v1/messages")
        status, body = post(served.url + path, line.get("body") or line["params"])
        custom_id = {"custom_id": line["custom_id"]}
        good = status == 200
        forms = {
            "batch": {"response": {"status_code": status, "body": body}, "error": None},
            "anthropic": {
                "result": {"type": "succeeded", "message": body}
                if good
                else {"type": "errored", "error": body}
            },
            "wrapped": {"body": body},
            "bare": body,
        }
        made.append({**custom_id, **forms[form]})
    return made


def save(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def reviews(engine):
    ids = [item.id for item in plain_rollouts(9)]
    with transaction(engine) as session:
        found = reviews_of(session, ids, label_set=LABELS)
    return [review for mine in found.values() for review in mine]


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("chat", "batch"),
        ("chat", "bare"),
        ("responses", "wrapped"),
        ("anthropic", "anthropic"),
        ("anthropic", "bare"),
    ],
)
def test_requests_answered_elsewhere_become_reviews(kind, form, store, tmp_path):
    panel = [model(kind, NOWHERE)]
    result = written(store, panel, tmp_path / "requests.jsonl")
    (row,) = result.reviewers
    requests = lines(tmp_path / "requests.jsonl")
    assert (row.requests, row.further, len(requests), result.selected) == (6, 0, 6, 6)
    assert row.bytes == (tmp_path / "requests.jsonl").stat().st_size
    # Nothing is stored, not even a claim.
    assert set(counts(store).values()) == {0}

    with server() as served:
        path = save(tmp_path / "answers.jsonl", answers(served, requests, form)[::-1])
    first = taken(store, panel, path)
    again = taken(store, panel, path)

    assert (first.reviewers[0].reviews, first.complete, first.answers) == (6, True, 6)
    assert first.reviewers[0].input_tokens > 0
    assert (again.reviewers[0].reviews, again.before, again.complete) == (0, 6, True)
    # What it cost elsewhere is not known.
    assert {review.usage.dollars for review in reviews(store)} == {None}
    assert not list(tmp_path.glob("*rejects*"))
    (none,) = written(store, panel, tmp_path / "more.jsonl").reviewers
    assert (none.path, (tmp_path / "more.jsonl").exists()) == (None, False)


def test_each_model_gets_a_file_of_its_own_and_rules_need_none(store, tmp_path):
    models = [model(kind, NOWHERE) for kind in KINDS]
    result = written(store, [*models, *offline_panel()], tmp_path / "r.jsonl.gz")

    paths = [tmp_path / f"r.{kind}.jsonl.gz" for kind in KINDS]
    assert [row.path for row in result.reviewers] == [str(path) for path in paths]
    assert result.others == ("arithmetic", "dataflow", "revision", "novelty")
    heads = [json.loads(gzip.decompress(path.read_bytes()).splitlines()[0]) for path in paths]
    assert [head.get("url") for head in heads] == ["/v1/chat/completions", "/v1/responses", None]
    assert heads[2]["params"]["model"] == "tiny"


def test_compressed_files_go_out_and_come_in(store, tmp_path):
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "r.jsonl.zst")
    with pa.CompressedInputStream(str(tmp_path / "r.jsonl.zst"), "zstd") as stream:
        requests = [json.loads(line) for line in stream.read().splitlines()]
    with server() as served:
        text = "".join(json.dumps(row) + "\n" for row in answers(served, requests))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode()))

    assert taken(store, panel, path).reviewers[0].reviews == 6


def test_a_bad_answer_gets_its_repair_turn_in_the_next_file(store, tmp_path):
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "1.jsonl")
    with server(Rates({Fault.BAD_SCHEMA: 1.0})) as served:
        save(tmp_path / "a1.jsonl", answers(served, lines(tmp_path / "1.jsonl")))
    first = taken(store, panel, tmp_path / "a1.jsonl")
    repeated = taken(store, panel, tmp_path / "a1.jsonl")

    assert (first.reviewers[0].further, first.complete, counts(store)["replies"]) == (6, False, 6)
    # The same answers again change nothing.
    assert (repeated.before, repeated.rejected, counts(store)["replies"]) == (6, {}, 6)

    (row,) = written(store, panel, tmp_path / "2.jsonl").reviewers
    requests = lines(tmp_path / "2.jsonl")
    assert (row.requests, row.further) == (6, 6)
    assert {line["custom_id"].split("-")[1] for line in requests} == {"2"}
    assert len(requests[0]["body"]["messages"]) == 4
    with server() as served:
        save(tmp_path / "a2.jsonl", answers(served, requests))
    second = taken(store, panel, tmp_path / "a2.jsonl")

    assert (second.reviewers[0].reviews, second.complete) == (6, True)
    assert counts(store)["replies"] == 0
    found = reviews(store)
    assert all(len(review.raw.split("\n\x1e\n")) == 2 for review in found)
    # Both turns are counted.
    one = lines(tmp_path / "a2.jsonl")[0]["response"]["body"]["usage"]["completion_tokens"]
    assert min(review.usage.output_tokens for review in found) > one


def test_both_turns_of_a_dialogue_may_come_in_one_file(store, tmp_path):
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "1.jsonl")
    with server(Rates({Fault.BAD_SCHEMA: 1.0})) as served:
        bad = answers(served, lines(tmp_path / "1.jsonl"))
    taken(store, panel, save(tmp_path / "a.jsonl", bad[:3]))
    written(store, panel, tmp_path / "2.jsonl")
    further = [line for line in lines(tmp_path / "2.jsonl") if "-2" in line["custom_id"]]
    with server() as served:
        good = answers(served, further)
    result = taken(store, panel, save(tmp_path / "b.jsonl", [*good, *bad]))

    assert (result.reviewers[0].reviews, result.reviewers[0].further) == (3, 3)
    assert result.before == 3


def test_an_answer_to_a_later_turn_waits_for_the_earlier_one(store, tmp_path):
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "1.jsonl")
    with server() as served:
        made = answers(served, lines(tmp_path / "1.jsonl")[:1])
    made[0]["custom_id"] = made[0]["custom_id"].replace("-1", "-2")
    result = taken(store, panel, save(tmp_path / "a.jsonl", made))

    assert (result.rejected, counts(store)["reviews"]) == ({"early": 1}, 0)


def test_a_final_answer_that_is_bad_is_an_abstention_with_its_reason(store, tmp_path):
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "1.jsonl")
    with server(Rates({Fault.BAD_SCHEMA: 0.5, Fault.SERVER_ERROR: 0.3})) as served:
        made = answers(served, lines(tmp_path / "1.jsonl"))
    path = save(tmp_path / "a.jsonl", made)
    failed = sum(line["response"]["status_code"] != 200 for line in made)
    before = taken(store, panel, path)
    result = taken(store, panel, path, final=True)
    row = result.reviewers[0]

    assert before.rejected == {"failed": failed}
    assert failed > 0
    assert row.abstentions["unavailable"] == failed
    assert counts(store)["reviews"] + sum(row.abstentions.values()) <= 6
    assert not result.complete


def test_what_cannot_be_used_is_listed_with_its_line_and_reason(store, tmp_path):
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "1.jsonl")
    with server() as served:
        made = answers(served, lines(tmp_path / "1.jsonl"))
    stranger = {**made[0], "custom_id": "f" * 20 + "-1"}
    foreign = {"custom_id": made[1]["custom_id"], "result": {"type": "succeeded", "message": {}}}
    rows = [
        made[0],
        made[0],
        stranger,
        {"custom_id": "item-7", "body": {}},
        foreign,
        {"custom_id": made[2]["custom_id"], "error": {"code": "x", "message": "y"}},
        made[2],
        {"no": "id"},
    ]
    path = save(tmp_path / "a.jsonl", rows)
    path.write_text(path.read_text("utf-8") + "{broken\n\n", "utf-8")

    result = taken(store, panel, path)

    assert result.reviewers[0].reviews == 2
    assert result.rejected == {
        "broken": 3,
        "duplicate": 1,
        "strange": 1,
        "failed": 1,
        "unknown": 1,
    }
    assert not result.complete
    listed = {row["line"]: row["reason"] for row in lines(Path(result.rejects_path))}
    assert sorted(listed) == [2, 3, 4, 5, 6, 8, 9]
    assert listed[2].startswith("a second answer to ")
    assert listed[3].endswith("no rollout of the store and reviewer of the panel has this review")
    assert listed[4] == "custom_id 'item-7' is not one that dca review --emit writes"
    assert listed[5] == "chat: no reply in the words of openai-chat"
    assert listed[6] == "chat: x: y"


def test_what_another_run_is_asking_for_is_left_out(store, tmp_path):
    reviewer = model("chat", NOWHERE)
    written(store, [reviewer], tmp_path / "1.jsonl")
    with transaction(store) as session:
        job = start_job(session, "review", {})
        keys = [line["custom_id"].split("-")[0] for line in lines(tmp_path / "1.jsonl")]
        claim(session, job, keys[:4])
    (row,) = written(store, [reviewer], tmp_path / "2.jsonl").reviewers

    assert (row.requests, row.held) == (2, 4)


def test_an_answer_may_take_the_place_of_an_abstention_when_that_is_wanted(store, tmp_path):
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "1.jsonl")
    with server(Rates({Fault.REFUSAL: 1.0})) as served:
        refused = answers(served, lines(tmp_path / "1.jsonl"))
    taken(store, panel, save(tmp_path / "a.jsonl", refused))
    assert written(store, panel, tmp_path / "2.jsonl").reviewers[0].requests == 0
    written(store, panel, tmp_path / "3.jsonl", retry_failed=True)
    with server() as served:
        path = save(tmp_path / "b.jsonl", answers(served, lines(tmp_path / "3.jsonl")))

    assert taken(store, panel, path).before == 6
    assert taken(store, panel, path, retry_failed=True).reviewers[0].reviews == 6


def test_a_rollout_without_text_has_no_request(tmp_path):
    engine = filled(tmp_path, [replace(plain_rollouts(1)[0], completion=" ")])
    (row,) = written(engine, [model("chat", NOWHERE)], tmp_path / "1.jsonl").reviewers
    engine.dispose()

    assert (row.requests, row.empty, row.path) == (0, 1, None)


def test_files_that_are_there_stay(store, tmp_path):
    (tmp_path / "1.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        written(store, [model("chat", NOWHERE)], tmp_path / "1.jsonl")
    with pytest.raises(FormatError, match="cannot be written"):
        written(store, [model("chat", NOWHERE)], tmp_path / "none" / "1.jsonl")
    with pytest.raises(NothingSelected):
        emit(store, [], parse_where("task:none"), tmp_path / "2.jsonl")

    assert (tmp_path / "1.jsonl").read_text() == "mine"
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize(
    ("name", "longer"),
    [
        ("a.jsonl", "a.x.jsonl"),
        ("a.b.jsonl.gz", "a.b.x.jsonl.gz"),
        ("a", "a.x"),
        ("a.zst", "a.x.zst"),
    ],
)
def test_a_word_goes_before_the_endings_of_a_name(name, longer):
    assert with_word(Path("d") / name, "x") == Path("d") / longer


def test_dialogues_whose_ids_begin_alike_are_told_apart(tmp_path):
    alike = ["0123456789abcdef" + end for end in ("0000", "0001", "0002")]
    rows = [{"custom_id": f"{key}-1", "body": {"n": n}} for n, key in enumerate(alike[:2])]
    path = save(tmp_path / "a.jsonl", rows)
    with answer_file(Source(str(path), path, "jsonl")) as (found, rejects):
        matched = found.lines_of(alike[1:])
        unused = [line.custom_id.dialogue for line in found.unused()]

    assert rejects == []
    assert list(matched) == [alike[1]]
    assert [line.number for line in matched[alike[1]]] == [2]
    assert unused == [alike[0]]


def test_a_key_that_a_reply_repeats_is_not_stored(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-the-key-0123456789")
    panel = [model("chat", NOWHERE)]
    written(store, panel, tmp_path / "1.jsonl")
    body = {"choices": [{"message": {"content": "it is sk-the-key-0123456789"}}]}
    name = lines(tmp_path / "1.jsonl")[0]["custom_id"]
    taken(store, panel, save(tmp_path / "a.jsonl", [{"custom_id": name, "body": body}]))
    store.dispose()

    held = b"".join(path.read_bytes() for path in tmp_path.glob("dca.db*"))
    assert b"it is ***" in held
    assert b"sk-the-key" not in held
