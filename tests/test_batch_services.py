"""Batch APIs that refuse, are full, forget or fall silent: scripted answers over real sockets."""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest

from dca.domain.errors import CredentialError, ReviewerUnavailable
from dca.pipeline.batch_review import Rounds
from reviewers.batches.anthropic import AnthropicBatches
from reviewers.batches.openai import OpenAIBatches
from reviewers.batches.service import Found, Look, Sent, Stage, request_file
from reviewers.endpoint import Endpoint
from reviewers.prices import worst_case
from tests.batch_reviews import KEY, PRICE, QUICK, counts, filled, model, run

OURS = "abcdef012345"
DIALOGUE = "0123456789abcdef0123"
NOW = datetime.now(UTC)
FILE = {"id": "file-1", "object": "file", "bytes": 1, "created_at": 1, "filename": "f"}
FILE |= {"purpose": "batch", "status": "processed"}


def openai_batch(**changed):
    shown = {
        "id": "batch_1",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": "completed",
        "created_at": int(NOW.timestamp()),
    }
    return {**shown, **changed}


def message_batch(**changed):
    counted = {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0}
    shown = {
        "id": "msgbatch_1",
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": counted,
        "created_at": NOW.isoformat(),
        "expires_at": NOW.isoformat(),
        "ended_at": NOW.isoformat(),
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": "/v1/messages/batches/msgbatch_1/results",
    }
    return {**shown, **changed}


def refused(status, words="no"):
    return status, {"error": {"type": "x", "message": words}, "type": "error"}


@contextmanager
def scripted(answers: Mapping[str, object]):
    """Serve ``"GET /path"`` with a status and a body, or with what a function of the request
    returns; yield the address and what was asked.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("content-length") or 0)
            sent = self.rfile.read(length)
            path = self.path.split("?")[0]
            asked.append(f"{self.command} {path}")
            answer = answers.get(asked[-1], (404, {"error": {"message": "not here"}}))
            status, body = answer(sent) if callable(answer) else answer
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.send_header("x-should-retry", "false")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


OPENED = []


@pytest.fixture(autouse=True)
def closed():
    """Close every connection at the end."""
    yield
    while OPENED:
        OPENED.pop().close()


def chat(url):
    endpoint = Endpoint("tiny", f"{url}/v1", "MY_KEY")
    OPENED.append(OpenAIBatches("chat", endpoint, "openai-chat", KEY))
    return OPENED[-1]


def messages(url):
    endpoint = Endpoint("tiny", url, "MY_KEY")
    OPENED.append(AnthropicBatches("messages", endpoint, "anthropic-messages", KEY))
    return OPENED[-1]


def submitted(service):
    with request_file(service.frame) as file:
        file.add(b"{}")
        return service.submit(OURS, file)


CREATE = "POST /v1/batches"
CREATE_MESSAGES = "POST /v1/messages/batches"
UPLOAD = {"POST /v1/files": (200, FILE)}


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        ((200, openai_batch()), Sent("batch_1")),
        (refused(500), Sent()),
        (refused(409), Sent()),
        (refused(429, "queue"), Sent(full="Error code: 429 - ")),
    ],
)
def test_what_comes_of_a_submission_to_openai(answer, sent):
    with scripted({**UPLOAD, CREATE: answer}) as (url, asked):
        found = submitted(chat(url))

    assert (found.remote, found.full[:18]) == (sent.remote, sent.full)
    # Creating is never tried twice: nobody knows what the first has done.
    assert asked == ["POST /v1/files", CREATE]


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        ((200, message_batch()), Sent("msgbatch_1")),
        (refused(529), Sent()),
        (refused(429, "queue"), Sent(full="Error code: 429 - ")),
    ],
)
def test_what_comes_of_a_submission_to_anthropic(answer, sent):
    with scripted({CREATE_MESSAGES: answer}) as (url, asked):
        found = submitted(messages(url))

    assert (found.remote, found.full[:18]) == (sent.remote, sent.full)
    assert asked == [CREATE_MESSAGES]


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (400, "too odd", ReviewerUnavailable),
        (401, f"bad {KEY}", CredentialError),
        (429, "insufficient_quota", ReviewerUnavailable),
    ],
)
def test_a_submission_that_is_refused_says_why_and_never_the_key(status, words, error):
    answer = refused(status, words)
    with scripted({**UPLOAD, CREATE: answer, CREATE_MESSAGES: answer}) as (url, _):
        with pytest.raises(error) as caught:
            submitted(chat(url))
        with pytest.raises(error) as other:
            submitted(messages(url))

    assert KEY not in f"{caught.value} {other.value}"


def test_a_batch_is_told_by_its_metadata():
    listed = [
        openai_batch(id="batch_3"),
        openai_batch(id="batch_2", metadata={"dca_batch": OURS}),
        openai_batch(id="batch_1", created_at=1),
    ]
    page = {"object": "list", "data": listed, "has_more": False}
    with scripted({"GET /v1/batches": (200, page)}) as (url, _):
        assert chat(url).find(OURS, NOW, 2, frozenset()) == Found("batch_2")
        assert chat(url).find("other", NOW, 2, frozenset()) == Found()


def test_a_batch_of_messages_is_told_by_its_results():
    line = json.dumps({"custom_id": f"{DIALOGUE}-1-{OURS}", "result": {"type": "expired"}})
    working = {"processing_status": "in_progress", "results_url": None}
    fewer = {"processing": 1, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    listed = [
        message_batch(id="msgbatch_4", **working),
        message_batch(id="msgbatch_3", request_counts=fewer, **working),
        message_batch(id="msgbatch_2"),
        message_batch(id="msgbatch_1"),
        message_batch(id="old", created_at=(NOW - timedelta(days=2)).isoformat()),
    ]
    results = {
        "GET /v1/messages/batches/msgbatch_1": (200, message_batch()),
        "GET /v1/messages/batches/msgbatch_1/results": (200, line.encode() + b"\n{}\n"),
        "GET /v1/messages/batches/msgbatch_2": (
            200,
            message_batch(results_url="/v1/messages/batches/msgbatch_2/results"),
        ),
        "GET /v1/messages/batches/msgbatch_2/results": (200, b"{}"),
    }
    page = {"data": listed, "has_more": False, "first_id": "msgbatch_4", "last_id": "old"}
    with scripted({**results, "GET /v1/messages/batches": (200, page)}) as (url, _):
        service = messages(url)
        assert service.find(OURS, NOW, 2, frozenset()) == Found("msgbatch_1")
        # Known ones are others; one that is worked on may be it.
        known = frozenset({"msgbatch_1"})
        assert service.find(OURS, NOW, 2, known) == Found(perhaps=True)
        assert service.find("0", NOW, 1, known) == Found(perhaps=True)
        assert service.find("0", NOW, 3, known) == Found()


@pytest.mark.parametrize(
    ("shown", "look"),
    [
        (openai_batch(status="validating"), Look(Stage.OPEN)),
        (
            openai_batch(
                status="in_progress", request_counts={"total": 9, "completed": 3, "failed": 1}
            ),
            Look(Stage.OPEN, 4),
        ),
        (openai_batch(status="cancelled"), Look(Stage.ENDED, stopped=True)),
        (openai_batch(status="failed"), Look(Stage.FAILED, message="the batch failed")),
        (
            openai_batch(
                status="failed",
                errors={"data": [{"code": "token_limit_exceeded", "message": "full"}]},
            ),
            Look(Stage.FAILED, message="token_limit_exceeded: full", full=True),
        ),
    ],
)
def test_how_far_a_batch_of_openai_is(shown, look):
    with scripted({"GET /v1/batches/batch_1": (200, shown)}) as (url, _):
        assert chat(url).look("batch_1") == look
        assert chat(url).look("batch_2").message == "the provider knows this batch no more"


def test_results_that_are_kept_no_more_are_none():
    shown = openai_batch(output_file_id="file-8", error_file_id="file-9")
    answers = {
        "GET /v1/batches/batch_1": (200, shown),
        "GET /v1/files/file-9/content": (200, b'{"a":1}\n'),
    }
    into = BytesIO()
    with scripted(answers) as (url, _):
        chat(url).results("batch_1", into)
    archived = message_batch(results_url=None)
    with scripted({"GET /v1/messages/batches/m": (200, archived)}) as (url, _):
        look = messages(url).look("m")

    assert into.getvalue() == b'{"a":1}\n'
    assert look == Look(Stage.FAILED, message="the provider keeps its results no more")


@pytest.mark.parametrize("make", [chat, messages])
@pytest.mark.parametrize("status", [400, 409])
def test_cancelling_what_has_ended_is_no_error(make, status):
    path = "/v1/batches" if make is chat else "/v1/messages/batches"
    with scripted({f"POST {path}/b/cancel": refused(status)}) as (url, asked):
        make(url).cancel("b")
    forbidden = {f"POST {path}/b/cancel": refused(403)}
    with scripted(forbidden) as (url, _), pytest.raises(CredentialError):
        make(url).cancel("b")

    assert asked == [f"POST {path}/b/cancel"]


@pytest.mark.parametrize("make", [chat, messages])
def test_a_provider_that_does_not_answer_is_an_error(make):
    service = make("http://127.0.0.1:9")
    service._client = service._once  # pyright: ignore[reportPrivateUsage] - no waiting here
    with pytest.raises(ReviewerUnavailable, match="Connection error"):
        service.look("b")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    engine = filled(tmp_path, 4)
    yield engine
    engine.dispose()


def stop_after(stop, asked, request, times):
    """Stop a run when the server has seen a request so often, or in any case after a while."""
    deadline = time.monotonic() + 20
    while asked.count(request) < times and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()


def test_a_full_queue_keeps_what_is_pending_for_later(store):
    stop = threading.Event()
    with scripted({**UPLOAD, CREATE: refused(429, "queue")}) as (url, asked):
        threading.Thread(target=stop_after, args=(stop, asked, CREATE, 3)).start()
        result = run(store, [model("chat", url)], stop=stop)

    assert (result.submitted, result.open, result.reviewers[0].pending) == (0, 0, 4)
    assert asked.count(CREATE) > 1
    assert counts(store)["claims"] == 0


def test_a_batch_that_is_too_much_for_the_queue_is_sent_in_halves(store):
    full = {"data": [{"code": "token_limit_exceeded", "message": "full"}]}
    answers = {
        **UPLOAD,
        CREATE: (200, openai_batch(status="validating")),
        "GET /v1/batches/batch_1": (200, openai_batch(status="failed", errors=full)),
    }
    with scripted(answers) as (url, asked):
        result = run(store, [model("chat", url)])

    # Four, two and two, then each by itself, three times over.
    assert asked.count(CREATE) >= 4 + 3 * 4 - 1
    assert result.reviewers[0].abstentions == {"unavailable": 4}


def test_a_creation_that_was_not_heard_of_is_given_up_after_a_while(store, monkeypatch):
    monkeypatch.setattr("dca.pipeline.batch_review.SETTLING", 0.1)
    page = {"object": "list", "data": [], "has_more": False}
    stop = threading.Event()
    answers = {**UPLOAD, CREATE: refused(500), "GET /v1/batches": (200, page)}
    with scripted(answers) as (url, asked):
        threading.Thread(target=stop_after, args=(stop, asked, CREATE, 2)).start()
        result = run(store, [model("chat", url)], stop=stop, rounds=QUICK)

    assert asked.count(CREATE) > 1
    assert result.reviewers[0].reviews == 0


def test_replies_that_say_no_usage_count_with_their_worst_case(store):
    sent = []

    def upload(body):
        sent.extend(json.loads(line) for line in body.splitlines() if line.startswith(b"{"))
        return 200, FILE

    def results(_):
        reply = {"choices": [{"message": {"content": "{}", "refusal": "no"}}]}
        response = {"status_code": 200, "body": reply}
        rows = [{"custom_id": line["custom_id"], "response": response} for line in sent]
        return 200, "".join(json.dumps(row) + "\n" for row in rows).encode()

    answers = {
        "POST /v1/files": upload,
        CREATE: (200, openai_batch(status="validating")),
        "GET /v1/batches/batch_1": (200, openai_batch(output_file_id="file-8")),
        "GET /v1/files/file-8/content": results,
    }
    with scripted(answers) as (url, _):
        result = run(store, [model("chat", url)])

    assert result.reviewers[0].abstentions == {"refused": 4}
    assert result.doubtful_dollars == result.spent_dollars == result.reviewers[0].dollars
    worst = [worst_case(len(json.dumps(line["body"])), 4_000, PRICE, batch=True) for line in sent]
    # Spaces after commas and colons make these bodies a little longer.
    assert 0.95 < result.spent_dollars / sum(cost.dollars for cost in worst) <= 1
    assert result.reserved_dollars == 0


def test_a_provider_that_fails_for_a_while_is_asked_again_later(store):
    answers = {**UPLOAD, CREATE: (200, openai_batch(status="validating"))}
    answers["GET /v1/batches/batch_1"] = refused(500)
    with scripted(answers) as (url, _):
        once = Rounds(wait=False)
        first = run(store, [model("chat", url)], rounds=once)
        second = run(store, [model("chat", url)], rounds=once)

    assert (first.open, second.open, second.submitted) == (4, 4, 0)
