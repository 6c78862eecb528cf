"""OpenTelemetry spans of requests: what they say, what they never say, and when there are any."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import on_thread
from benchmarks.fault_server.settings import Settings
from dca.cli.tracing import wanted_by
from dca.config.secret import secret_values
from dca.domain.errors import MissingExtra
from reviewers.calling import Calling
from reviewers.endpoint import Endpoint
from reviewers.exchange import Cause
from reviewers.exchange import Fault as Failed
from reviewers.genai_spans import SpanMaker, answered
from reviewers.model_reviewer import ModelReviewer
from reviewers.models import anthropic_reviewer, openai_reviewer
from reviewers.switchboard import Switchboard
from reviewers.tracing import span_maker
from tests.command_line import clean_folder, fill, invoke, plain_rollouts
from tests.review_process import KEY, steady, write_config

ROLLOUT = plain_rollouts(1)[0]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment that asks for no spans."""
    clean_folder(tmp_path, monkeypatch)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("A_KEY", KEY)
    return tmp_path


def spans_of(reviewer: ModelReviewer, *, sampled: bool = True) -> list[Any]:
    """Ask ``reviewer`` once and return the spans of its requests."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=None if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def ask() -> None:
        async with Switchboard(1) as board:
            line = board.line(reviewer, board.gate.lane())
            line.observer = SpanMaker(provider)
            await line.answer((ROLLOUT,))

    asyncio.run(ask())
    return list(exporter.get_finished_spans())


def test_a_span_follows_the_conventions_and_says_nothing_of_the_text():
    calling = Calling(max_tokens=900, temperature=0.5)
    with on_thread(steady(0.05)) as server:
        chat = Endpoint("tiny", f"{server.url}/v1", "A_KEY")
        messages = Endpoint("tiny", server.url, "A_KEY")
        (one,) = spans_of(openai_reviewer("judge", chat, calling=calling))
        (two,) = spans_of(anthropic_reviewer("claude", messages))

    assert one.name == "chat tiny"
    assert one.kind is SpanKind.CLIENT
    assert one.status.status_code is StatusCode.UNSET
    assert 0.05e9 <= one.end_time - one.start_time < 5e9
    assert abs(one.end_time - time.time_ns()) < 60e9
    said = dict(one.attributes)
    used = {name: said.pop(name) for name in list(said) if name.startswith("gen_ai.usage.")}
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "tiny",
        "gen_ai.request.max_tokens": 900,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.output.type": "json",
        "gen_ai.response.finish_reasons": ("stop",),
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "dca.reviewer.name": "judge",
    }
    assert used["gen_ai.usage.input_tokens"] > 1000
    assert used["gen_ai.usage.output_tokens"] > 50
    assert used["gen_ai.usage.reasoning.output_tokens"] == 0
    assert used["gen_ai.usage.cache_read.input_tokens"] == 0
    assert two.attributes["gen_ai.provider.name"] == "anthropic"
    assert two.attributes["gen_ai.usage.cache_creation.input_tokens"] >= 0
    assert "gen_ai.request.temperature" not in two.attributes
    for span in (one, two):
        assert KEY not in span.to_json()
        assert "0 + 1" not in span.to_json()


def test_every_attempt_is_a_span_and_an_error_is_its_kind_alone():
    rates = Rates({Fault.SERVER_ERROR: 1.0})
    with on_thread(Settings(Plan(rates=rates, median_s=0.0))) as server:
        endpoint = Endpoint("tiny", f"{server.url}/v1", "A_KEY")
        spans = spans_of(openai_reviewer("judge", endpoint, calling=Calling(attempts=2)))

    assert len(spans) == 2
    for span in spans:
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert span.attributes["error.type"] == "500"
        assert span.attributes["http.response.status_code"] == 500
        assert span.events == ()
        assert "drawn" not in span.to_json()


def test_a_request_without_a_response_or_a_cancelled_one_has_its_kind_of_error():
    broken = Failed(Cause.TRANSPORT, "the connection broke: secret words")
    page = replace(broken, cause=Cause.STRANGE, status=200)

    assert answered(broken) == {"error.type": "transport"}
    assert answered(page) == {"error.type": "strange", "http.response.status_code": 200}
    assert answered(None) == {"error.type": "cancelled"}


def test_what_is_not_sampled_is_not_described():
    with on_thread(steady(0.0)) as server:
        endpoint = Endpoint("tiny", f"{server.url}/v1", "A_KEY")
        assert spans_of(openai_reviewer("judge", endpoint), sampled=False) == []


def test_a_process_that_traces_nothing_makes_no_spans():
    assert span_maker() is None


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_opentelemetry_s_own_variables_ask_for_spans(variables: dict[str, str], wanted: bool):
    assert wanted_by(variables) is wanted


def test_headers_for_a_collector_are_secret():
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc%2Fdefghij,x=1"}

    found = secret_values(headers, [], "dca.db")

    assert {"abc/defghij", "abc%2Fdefghij"} <= set(found)
    assert "1" not in found


@dataclass
class Collector:
    """What a collector was sent."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)

    @property
    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def service(self) -> str:
        request = ExportTraceServiceRequest.FromString(self.bodies[0])
        said = {item.key: item.value for item in request.resource_spans[0].resource.attributes}
        return said["service.name"].string_value


@contextmanager
def collecting() -> Generator[Collector]:
    """Serve as a collector on a thread."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


REVIEW = """\
import json, sys
from dca.cli import run
code = run(["review", "--json"])
sys.stdout.write(json.dumps({"code": code, "sdk": "opentelemetry.sdk" in sys.modules}))
"""


def review(**environment: str) -> tuple[dict, dict, str]:
    """Run ``dca review``; return its document, what was loaded, and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", REVIEW],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    document, loaded = (json.loads(line) for line in done.stdout.splitlines())
    return document, loaded, done.stderr


def test_a_review_sends_one_span_a_request_where_the_environment_or_dca_toml_says_so(folder: Path):
    fill(folder / "dca.db", plain_rollouts(6))
    with on_thread(steady(0.0)) as server, collecting() as collector:
        write_config(server, "judge")
        first, loaded, _ = review(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        told = len(collector.spans)
        text = Path("dca.toml").read_text()
        Path("dca.toml").write_text(text.replace("[review]", "[review]\ntrace=false"))
        fill(folder / "dca.db", plain_rollouts(8))
        _, unloaded, _ = review(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    assert first["reviewers"][0]["requests"] == told == 6
    assert (loaded["sdk"], unloaded["sdk"]) == (True, False)
    assert len(collector.spans) == told
    assert collector.service == "dca"
    assert {span.name for span in collector.spans} == {"chat tiny-judge"}
    sent = b"".join(collector.bodies)
    assert KEY.encode() not in sent
    assert b"The answer is" not in sent


def test_a_collector_that_is_not_there_loses_spans_and_nothing_else(folder: Path):
    fill(folder / "dca.db", plain_rollouts(3))
    with on_thread(steady(0.0)) as server:
        write_config(server, "judge")
        text = Path("dca.toml").read_text()
        Path("dca.toml").write_text(text.replace("[review]", "[review]\ntrace=true"))
        document, loaded, err = review(
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_SERVICE_NAME="mine"
        )

    assert loaded == {"code": 0, "sdk": True}
    assert document["reviewers"][0]["reviews"] == 3
    assert "Traceback" not in err


OWN = """\
import sys, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from dca.cli import run

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
code = run(["review"])
print(code, len(exporter.get_finished_spans()))
"""
HURRIED = """\
import sys, time
from dca.cli.run import Run
from dca.cli.streams import Masked
from dca.cli.tracing import tracing
from opentelemetry import trace

run = Run((Masked(sys.stdout), Masked(sys.stderr)))
try:
    with tracing(run, run.load()):
        trace.get_tracer("test").start_span("left").end()
        begun = time.monotonic()
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print(time.monotonic() - begun)
"""


def test_a_process_with_a_tracer_provider_of_its_own_keeps_it(folder: Path):
    fill(folder / "dca.db", plain_rollouts(4))
    with on_thread(steady(0.0)) as server:
        write_config(server, "judge")
        done = subprocess.run(
            [sys.executable, "-c", OWN],
            env={**os.environ, "OTEL_TRACES_EXPORTER": "otlp"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    assert done.stdout.splitlines()[-1] == "0 4"


def test_whoever_presses_ctrl_c_twice_waits_for_no_collector():
    done = subprocess.run(
        [sys.executable, "-c", HURRIED],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert float(done.stdout) < 1.0


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter.otlp.proto"])
def test_spans_without_the_extra_are_refused_where_dca_toml_asks_for_them(
    capsys, monkeypatch, folder: Path, missing: str
):
    fill(folder / "dca.db", plain_rollouts(2))
    monkeypatch.setitem(sys.modules, missing, None)
    (folder / "dca.toml").write_text("[review]\ntrace = true\n")

    refused = invoke(capsys, "review")
    (folder / "dca.toml").write_text("[review]\n")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    noted = invoke(capsys, "review")

    assert refused.code == MissingExtra.exit_code
    assert "[review] trace needs the extra otel" in refused.err
    assert noted.code == 0
    assert "no spans are sent: the extra otel is not installed" in noted.err
