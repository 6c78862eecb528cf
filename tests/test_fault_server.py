import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from benchmarks.fault_server.asks import Dialect, read_ask
from benchmarks.fault_server.ledger import digest
from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import Served, as_process, on_thread
from benchmarks.fault_server.settings import Settings
from dca.domain.errors import ReplyInvalid, ReplyTruncated
from dca.domain.labels import CONTRIBUTION_V1
from reviewers.schema import Outcome, ReplyForm, ReplyProtocol
from tests.fault_questions import (
    QUOTES,
    UNITS,
    anthropic_client,
    ask,
    chat_body,
    message_body,
    openai_client,
    read,
    response_body,
    story,
)

AT_ONCE = Plan(median_s=0)


@pytest.fixture(scope="module")
def clean() -> Iterator[Served]:
    with on_thread(Settings(AT_ONCE)) as server:
        yield server


def chat_text(server: Served, body: dict[str, Any]) -> str:
    said = openai_client(server).chat.completions.create(**body).choices[0].message.content
    assert said is not None
    return said


def message_text(server: Served, body: dict[str, Any]) -> str:
    block = anthropic_client(server).messages.create(**body).content[0]
    assert block.type == "text"
    return block.text


def response_text(server: Served, body: dict[str, Any]) -> str:
    return openai_client(server).responses.create(**body).output_text


@pytest.mark.parametrize("form", [UNITS, QUOTES], ids=["units", "quotes"])
@pytest.mark.parametrize(
    ("body", "call"),
    [(chat_body, chat_text), (response_body, response_text), (message_body, message_text)],
    ids=["chat", "responses", "messages"],
)
def test_every_dialect_gets_a_review_whose_steps_all_have_their_place(
    clean: Served,
    body: Callable[..., dict[str, Any]],
    call: Callable[..., str],
    form: ReplyForm,
):
    text = story()
    reply = call(clean, body(text, form))
    parsed = read(reply, text, form)
    assert not parsed.unplaced
    assert 8 <= len(parsed.steps) <= 12
    assert len(parsed.links) == 6
    assert parsed.covered is not None
    assert (parsed.covered.start, parsed.covered.stop) == (0, len(text))
    assert (parsed.blame is None) == (form is QUOTES)
    assert 1000 < len(reply) < 3000
    assert call(clean, body(text, form)) == reply


def test_a_request_without_a_schema_is_answered_in_the_form_that_its_words_show(clean: Served):
    body = chat_body(story(7), QUOTES)
    del body["response_format"]
    parsed = read(chat_text(clean, body), story(7), QUOTES)
    assert not parsed.unplaced
    assert parsed.soundness is not None


def test_a_text_of_one_unit_gets_one_step_and_no_link(clean: Served):
    parsed = read(chat_text(clean, chat_body("It is 5.")), "It is 5.")
    assert (len(parsed.steps), parsed.links) == (1, ())


def test_long_quotes_leave_their_middle_out_and_unknown_fields_are_filled(clean: Served):
    text = " ".join(story(number) for number in range(4))
    body = chat_body(text, QUOTES)
    schema = body["response_format"]["json_schema"]["schema"]
    step = schema["properties"]["steps"]["items"]["properties"]
    step["doubt"] = {"type": "object", "properties": {"size": {"type": "number"}}}
    reply = chat_text(clean, body)
    assert " [...] " in reply
    assert json.loads(reply)["steps"][0]["doubt"] == {"size": 0.5}
    assert not read(reply, text, QUOTES).unplaced


def test_a_window_of_units_is_judged_by_the_numbers_it_shows(clean: Served):
    body = chat_body(story())
    user = body["messages"][1]["content"]
    body["messages"][1]["content"] = re.sub(r"^\[(\d+)\]", r"[1\1]", user, flags=re.MULTILINE)
    reply = json.loads(chat_text(clean, body))
    # 30 units numbered 1 to 30 carry a 1 in front: the first is 11, the last is 130.
    assert (reply["covered_first"], reply["covered_last"]) == (11, 130)
    assert (reply["steps"][0]["first"], reply["steps"][-1]["last"]) == (11, 130)


@pytest.mark.parametrize("with_schema", [True, False])
def test_several_texts_in_one_request_get_one_review_each(clean: Served, with_schema: bool):
    form = ReplyForm(ReplyProtocol.UNITS, Outcome.UNKNOWN, CONTRIBUTION_V1, True, True)
    body = chat_body("unused", form)
    if not with_schema:
        del body["response_format"]
    body["messages"][1]["content"] = "\n".join(
        f"<reasoning-{at}-ab>\n[1] One.\n[2] Two.\n</reasoning-{at}-ab>" for at in (1, 2, 3)
    )
    reviews = json.loads(chat_text(clean, body))["reviews"]
    assert [review["rollout"] for review in reviews] == [1, 2, 3]
    assert [review["covered_last"] for review in reviews] == [2, 2, 2]
    for review in reviews:
        assert set(review["steps"][0]) == {"n", "first", "last", "label"}
        assert {step["label"] for step in review["steps"]} <= set(CONTRIBUTION_V1.keys)


def test_a_question_that_asks_for_no_review_gets_a_word(clean: Served):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Are you there?"}]}
    assert chat_text(clean, body) == "Yes."


def test_bad_requests_are_refused(clean: Served):
    with pytest.raises(openai.BadRequestError, match="stream"):
        openai_client(clean).chat.completions.create(**chat_body(story(), stream=True))
    with pytest.raises(openai.BadRequestError, match="first turn"):
        openai_client(clean).chat.completions.create(model="tiny", messages=[])
    with pytest.raises(openai.NotFoundError):
        openai_client(clean).embeddings.create(model="tiny", input="x")
    without_limit = message_body(story())
    del without_limit["max_tokens"]
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        anthropic_client(clean).post("/v1/messages", body=without_limit, cast_to=object)
    with pytest.raises(anthropic.BadRequestError, match="first turn"):
        anthropic_client(clean).messages.count_tokens(model="tiny", messages=[])
    for path in ("/batches", "/files"):
        with pytest.raises(openai.BadRequestError):
            openai_client(clean).post(path, body={}, cast_to=object)
    with pytest.raises(anthropic.BadRequestError):
        anthropic_client(clean).post("/v1/messages/batches", body={}, cast_to=object)
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client(clean).messages.batches.retrieve("msgbatch_99")


def test_models_are_listed_and_tokens_counted_in_both_dialects(clean: Served):
    assert [model.id for model in openai_client(clean).models.list()] == ["tiny"]
    assert [model.id for model in anthropic_client(clean).models.list()] == ["tiny"]
    assert openai_client(clean).models.retrieve("tiny").id == "tiny"
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client(clean).models.retrieve("large")
    counted = anthropic_client(clean).messages.count_tokens(
        model="tiny", messages=[{"role": "user", "content": "x" * 400}]
    )
    # 400 characters are 100 tokens, and seven frame the turn.
    assert counted.input_tokens == 107


def test_openai_caches_a_long_prefix_unasked():
    with on_thread(Settings(AT_ONCE)) as server:
        usages = [
            openai_client(server).chat.completions.create(**chat_body(story(number))).usage
            for number in range(2)
        ]
    size = len(ask(story()).system)
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
    # Four characters are a token; the cache counts by 128.
    assert cached == [0, (size + 3) // 4 // 128 * 128]
    assert cached[1] >= 1024


def test_anthropic_caches_what_is_marked():
    said = ask(story())
    block = {"type": "text", "text": said.system, "cache_control": {"type": "ephemeral"}}
    with on_thread(Settings(AT_ONCE)) as server:
        client = anthropic_client(server)
        plain, first, second = (
            client.messages.create(**message_body(story(number), system=system)).usage
            for number, system in enumerate((said.system, [block], [block]))
        )
    size = (len(said.system) + 3) // 4
    counts = [
        (used.cache_creation_input_tokens, used.cache_read_input_tokens)
        for used in (plain, first, second)
    ]
    assert counts == [(0, 0), (size, 0), (0, size)]
    assert plain.input_tokens - first.input_tokens == pytest.approx(size, abs=20)


def test_reasoning_is_billed_by_effort_and_nothing_passes_the_limit():
    with on_thread(Settings(AT_ONCE)) as server:
        create = openai_client(server).chat.completions.create
        low = create(**chat_body(story(), reasoning_effort="low"))
        spent = create(**chat_body(story(), reasoning_effort="high", max_tokens=900))
        message = anthropic_client(server).messages.create(
            **message_body(story(), max_tokens=700) | {"output_config": {"effort": "medium"}}
        )
    assert low.usage.completion_tokens_details.reasoning_tokens == 200
    assert low.usage.completion_tokens > 400
    assert (spent.choices[0].finish_reason, spent.choices[0].message.content) == ("length", "")
    assert spent.usage.completion_tokens == 900
    # 600 of hidden thinking leave 100 tokens, 400 characters, of the answer.
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 700)
    assert len(message.content[0].text) == 400
    assert message.usage.output_tokens_details.thinking_tokens == 600


def test_a_repair_turn_is_the_next_attempt_at_the_same_item():
    body = chat_body(story())
    item = read_ask(Dialect.CHAT, json.dumps(body).encode()).item
    plans = (Plan(seed, Rates({Fault.BAD_SCHEMA: 0.5}), median_s=0) for seed in range(99))
    plan = next(plan for plan in plans if plan.minimum_attempts(item) == 2)
    with on_thread(Settings(plan)) as server:
        bad = chat_text(server, body)
        with pytest.raises(ReplyInvalid):
            read(bad, story())
        body["messages"] += [
            {"role": "assistant", "content": bad},
            {"role": "user", "content": "That was invalid. Again, please."},
        ]
        good = chat_text(server, body)
        record = server.ledger.items[item]
    assert read(good, story()).steps
    assert (record.attempts, record.paid, record.valid) == (2, 2, 1)
    assert record.faults == (Fault.BAD_SCHEMA,)
    assert record.digest == digest(good)
    assert server.ledger.totals.minimum_attempts == 2


def test_a_run_with_mixed_faults_balances_its_books(tmp_path: Path):
    path = tmp_path / "ledger.json"
    options = ("--median-ms", "1", "--faults", "mixed,hang=0,drip=0,limited=0", "--seed", "5")
    with as_process(*options, "--ledger", str(path)) as server:
        kept = asyncio.run(retry_all(server.url, items=150))
        totals = server.read_ledger(items=False)
    books = json.loads(path.read_bytes())
    assert books["totals"]["items"] == totals["items"] == 150
    records = books["items"].values()
    answerable = [record for record in records if record["minimum_attempts"] is not None]
    assert Counter(kept) == Counter(record["digest"] for record in answerable)
    assert all(record["attempts"] == record["minimum_attempts"] for record in answerable)
    assert totals["minimum_attempts"] == sum(record["attempts"] for record in answerable)
    assert totals["attempts"] == sum(record["attempts"] for record in records)
    assert totals["paid"] == sum(record["paid"] for record in records)
    assert totals["doubled"] == 0
    assert 1 < totals["peak"] <= 16
    assert sum(totals["faults"].values()) == sum(len(record["faults"]) for record in records)


async def retry_all(url: str, *, items: int) -> list[str]:
    """Ask until each item has a valid answer, eight times at most; return the digests."""
    gate = asyncio.Semaphore(16)

    async def one(http: aiohttp.ClientSession, number: int) -> str | None:
        for _ in range(8):
            async with gate:
                try:
                    async with http.post(
                        f"{url}/v1/chat/completions", json=chat_body(story(number))
                    ) as answer:
                        body = await answer.json()
                    text = body["choices"][0]["message"]["content"]
                    read(text, story(number))
                except (aiohttp.ClientError, KeyError, ReplyInvalid, ReplyTruncated):
                    continue
            return digest(text.removeprefix("```json\n").removesuffix("\n```"))
        return None

    async with aiohttp.ClientSession(headers={"authorization": "Bearer sk-one"}) as http:
        found = await asyncio.gather(*(one(http, number) for number in range(items)))
    return [each for each in found if each is not None]


def raw(server: Served, sent: bytes) -> bytes:
    """Send bytes and return what comes back until the server closes or falls silent."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.3) as connection:
        for at in range(0, len(sent), 40):
            connection.sendall(sent[at : at + 40])
        with contextlib.suppress(TimeoutError):
            while more := connection.recv(65536):
                received += more
    return received


def test_requests_that_arrive_together_are_answered_in_turn_and_close_is_heeded(clean: Served):
    one = b"GET /v1/models/%b HTTP/1.1\r\nAuthorization: Bearer sk-one\r\n%b\r\n"
    last = one % (b"none", b"Connection: close\r\n")
    received = raw(clean, one % (b"tiny", b"") + last)
    assert re.findall(rb"HTTP/1.1 (\d+ [\w ]+)\r\n", received) == [b"200 OK", b"404 Not Found"]


def test_other_methods_and_bodies_without_a_length_are_refused(clean: Served):
    path = b"/v1/chat/completions HTTP/1.1\r\n"
    assert raw(clean, b"GET " + path + b"\r\n").startswith(b"HTTP/1.1 405")
    chunked = b"POST " + path + b"Transfer-Encoding: chunked\r\n\r\n"
    assert raw(clean, chunked).startswith(b"HTTP/1.1 411")


def test_a_key_shown_to_another_host_is_a_leak():
    with on_thread(Settings(AT_ONCE)) as server:
        head = b"GET /away/v1/models HTTP/1.1\r\n"
        raw(server, head + b"connection: close\r\n\r\n")
        assert server.ledger.totals.keys_leaked == 0
        raw(server, head + b"x-api-key: sk-one\r\nconnection: close\r\n\r\n")
        assert server.ledger.totals.keys_leaked == 1


def test_the_command_line_refuses_unknown_faults():
    command = [sys.executable, "-m", "benchmarks.fault_server", "--faults", "some"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "neither none, mixed nor NAME=RATE" in done.stderr
