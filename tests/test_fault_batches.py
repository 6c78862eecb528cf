import json
import time
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import Served, on_thread
from benchmarks.fault_server.settings import BatchLimits, Settings
from tests.fault_questions import (
    anthropic_client,
    chat_body,
    message_body,
    openai_client,
    read,
    response_body,
    story,
)


def settings(rates: Rates | None = None, seconds: float = 0.1, seed: int = 1) -> Settings:
    return Settings(Plan(seed, rates or Rates(), median_s=0), batch_s=seconds)


def lines(count: int, url: str = "/v1/chat/completions") -> bytes:
    make = response_body if url == "/v1/responses" else chat_body
    made = [
        {"custom_id": f"item-{n}", "method": "POST", "url": url, "body": make(story(n))}
        for n in range(count)
    ]
    return "\n".join(json.dumps(line) for line in made).encode()


def submit(server: Served, content: bytes, url: Any = "/v1/chat/completions") -> Any:
    client = openai_client(server)
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=url, completion_window="24h", metadata={"run": "1"}
    )


def wait(look: Callable[[], Any], done: Callable[[Any], bool]) -> list[Any]:
    """Look until the batch has ended; return what was seen."""
    seen = [look()]
    while not done(seen[-1]):
        assert len(seen) < 2000
        time.sleep(0.004)
        seen.append(look())
    return seen


def finish(server: Served, batch: Any) -> Any:
    """Wait for one of OpenAI's batches."""
    ends = {"completed", "failed", "expired", "cancelled"}
    client = openai_client(server)
    return wait(lambda: client.batches.retrieve(batch.id), lambda b: b.status in ends)[-1]


def results(server: Served, file: str | None) -> dict[str, Any]:
    """Return the lines of a file of results by custom id."""
    if file is None:
        return {}
    text = openai_client(server).files.content(file).text
    return {line["custom_id"]: line for line in map(json.loads, text.splitlines())}


def test_openais_batch_passes_its_stages_and_answers_every_request():
    with on_thread(settings(seconds=0.3)) as server:
        batch = submit(server, lines(12))
        assert (batch.status, batch.request_counts.total) == ("validating", 0)
        client = openai_client(server)
        seen = wait(lambda: client.batches.retrieve(batch.id), lambda b: b.status == "completed")
        ended = seen[-1]
        stages = list(dict.fromkeys([batch.status, *(each.status for each in seen)]))
        assert stages == ["validating", "in_progress", "finalizing", "completed"]
        assert ended.error_file_id is None
        assert ended.metadata == {"run": "1"}
        counts = ended.request_counts
        assert (counts.total, counts.completed, counts.failed) == (12, 12, 0)
        answers = results(server, ended.output_file_id)
        totals = server.ledger.totals
        assert (totals.paid, totals.valid, totals.requests) == (12, 12, 0)
    assert sorted(answers) == sorted(f"item-{n}" for n in range(12))
    # The order of the requests is not kept.
    assert list(answers) != [f"item-{n}" for n in range(12)]
    response = answers["item-3"]["response"]
    assert (response["status_code"], answers["item-3"]["error"]) == (200, None)
    assert read(response["body"]["choices"][0]["message"]["content"], story(3)).steps


def test_a_request_in_a_batch_is_an_attempt_at_the_same_item_as_online():
    with on_thread(settings()) as server:
        online = openai_client(server).chat.completions.create(**chat_body(story()))
        ended = finish(server, submit(server, lines(1)))
        line = results(server, ended.output_file_id)["item-0"]
        (record,) = server.ledger.items.values()
    said = line["response"]["body"]["choices"][0]["message"]["content"]
    assert said == online.choices[0].message.content
    assert (record.attempts, record.valid, server.ledger.totals.doubled) == (2, 2, 1)


def test_responses_can_be_asked_for_in_a_batch():
    with on_thread(settings()) as server:
        ended = finish(server, submit(server, lines(2, "/v1/responses"), "/v1/responses"))
        body = results(server, ended.output_file_id)["item-1"]["response"]["body"]
    assert read(body["output"][-1]["content"][0]["text"], story(1)).steps


def test_openais_batch_fails_in_part():
    with on_thread(settings(Rates({Fault.SERVER_ERROR: 0.4}))) as server:
        broken = (
            b'{"custom_id": "odd", "method": "POST", "url": "/v1/chat/completions", "body": {}}'
        )
        ended = finish(server, submit(server, lines(20) + b"\n" + broken))
        good = results(server, ended.output_file_id)
        bad = results(server, ended.error_file_id)
    assert ended.status == "completed"
    assert len(good) == ended.request_counts.completed > 0
    assert len(bad) == ended.request_counts.failed > 1
    assert len(good) + len(bad) == 21
    assert bad.pop("odd")["response"]["status_code"] == 400
    for line in bad.values():
        assert (line["response"]["status_code"], line["error"]) == (500, None)
        assert line["response"]["body"]["error"]["type"] == "server_error"


def test_openais_batch_expires_with_what_it_has():
    with on_thread(settings(Rates(batch_expired=1.0))) as server:
        ended = finish(server, submit(server, lines(10)))
        good = results(server, ended.output_file_id)
        bad = results(server, ended.error_file_id)
    assert (ended.status, len(good), len(bad)) == ("expired", 7, 3)
    assert ended.expired_at is not None
    for line in bad.values():
        assert (line["response"], line["error"]["code"]) == (None, "batch_expired")


def test_openais_batch_fails_as_a_whole():
    with on_thread(settings(Rates(batch_failed=1.0))) as server:
        ended = finish(server, submit(server, lines(2)))
    assert (ended.status, ended.output_file_id, ended.error_file_id) == ("failed", None, None)
    assert ended.errors.data[0].code == "invalid_request"
    assert server.ledger.totals.attempts == 0


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (lines(3), "too_many_tasks"),
        (b"{}", "invalid_json_line"),
        (b"", "empty_file"),
        (lines(1) + b"\n" + lines(1), "duplicate_custom_id"),
        (lines(1, "/v1/responses"), "url_mismatch"),
    ],
)
def test_validation_names_what_is_wrong_with_a_file(content: bytes, code: str):
    chosen = Settings(Plan(median_s=0), batch_s=0.05, openai_batch=BatchLimits(2, 1 << 20))
    with on_thread(chosen) as server:
        ended = finish(server, submit(server, content))
    assert (ended.status, ended.errors.data[0].code) == ("failed", code)


def test_openais_batch_is_cancelled_where_it_is():
    with on_thread(settings(seconds=1.5)) as server:
        batch = submit(server, lines(20))
        client = openai_client(server)
        wait(lambda: client.batches.retrieve(batch.id), lambda b: b.request_counts.completed > 0)
        assert client.batches.cancel(batch.id).status == "cancelling"
        ended = finish(server, batch)
        good = results(server, ended.output_file_id)
    assert ended.status == "cancelled"
    assert 0 < len(good) < 20
    # What was not begun stands in no file.
    assert ended.error_file_id is None
    assert server.ledger.totals.paid == len(good)


def test_files_and_batches_are_listed_and_files_deleted():
    with on_thread(settings()) as server:
        client = openai_client(server)
        made = [submit(server, lines(1)).id for _ in range(3)]
        assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
        files = list(client.files.list())
        assert {(file.purpose, file.status) for file in files} == {("batch", "processed")}
        assert client.files.delete(files[0].id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(files[0].id)
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve("batch_99")
        assert client.files.retrieve(files[1].id).bytes == len(lines(1))


def test_what_a_provider_refuses_at_once():
    chosen = Settings(
        Plan(median_s=0),
        openai_batch=BatchLimits(2, 1000),
        anthropic_batch=BatchLimits(1, 20_000),
    )
    with on_thread(chosen) as server:
        with pytest.raises(openai.APIStatusError, match="too large"):
            submit(server, lines(1))
        with pytest.raises(openai.BadRequestError, match="no such input file"):
            openai_client(server).batches.create(
                input_file_id="x", endpoint="/v1/responses", completion_window="24h"
            )
        with pytest.raises(anthropic.BadRequestError, match="1 to 1"):
            messages_batch(server, 2)
        with pytest.raises(anthropic.RequestTooLargeError):
            messages_batch(server, 4)


def messages_batch(server: Served, count: int) -> Any:
    return anthropic_client(server).messages.batches.create(
        requests=[
            {"custom_id": f"item-{n}", "params": message_body(story(n))} for n in range(count)
        ]
    )


def end_messages(server: Served, batch: Any) -> Any:
    """Wait for one of Anthropic's batches."""
    batches = anthropic_client(server).messages.batches
    return wait(lambda: batches.retrieve(batch.id), lambda b: b.processing_status == "ended")[-1]


def message_results(server: Served, batch: Any) -> dict[str, Any]:
    found = anthropic_client(server).messages.batches.results(batch.id)
    return {line.custom_id: line.result for line in found}


def test_anthropics_batch_answers_and_errs():
    with on_thread(settings(Rates({Fault.OVERLOADED: 0.4}))) as server:
        batch = messages_batch(server, 20)
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 20)
        assert batch.results_url is None
        ended = end_messages(server, batch)
        found = message_results(server, batch)
    counts = ended.request_counts
    assert counts.succeeded + counts.errored == 20
    kinds = [result.type for result in found.values()]
    assert (kinds.count("succeeded"), kinds.count("errored")) == (counts.succeeded, counts.errored)
    assert counts.errored > 0
    for name, result in found.items():
        if result.type == "succeeded":
            text = result.message.content[0].text
            assert read(text, story(int(name.removeprefix("item-")))).steps
        else:
            assert result.error.error.type == "overloaded_error"


def test_anthropics_batch_expires_with_what_it_has():
    with on_thread(settings(Rates(batch_expired=1.0))) as server:
        batch = messages_batch(server, 10)
        with pytest.raises(anthropic.AnthropicError):
            message_results(server, batch)
        ended = end_messages(server, batch)
        kinds = [result.type for result in message_results(server, batch).values()]
    assert (ended.request_counts.succeeded, ended.request_counts.expired) == (7, 3)
    assert (kinds.count("succeeded"), kinds.count("expired")) == (7, 3)


def test_anthropics_batch_is_cancelled_listed_and_deleted():
    with on_thread(settings(seconds=1.0)) as server:
        batches = anthropic_client(server).messages.batches
        batch = messages_batch(server, 10)
        with pytest.raises(anthropic.BadRequestError):
            batches.delete(batch.id)
        cancelled = batches.cancel(batch.id)
        assert cancelled.processing_status == "canceling"
        assert cancelled.cancel_initiated_at is not None
        end_messages(server, batch)
        kinds = {result.type for result in message_results(server, batch).values()}
        assert [each.id for each in batches.list(limit=5)] == [batch.id]
        batches.delete(batch.id)
        assert list(batches.list()) == []
    assert kinds == {"canceled"}
    assert server.ledger.totals.paid == 0
