"""A provider that repeats the key wherever it can, in both dialects."""

import base64
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

from tests.replies import step

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Said:
    """One response."""

    status: int
    body: str
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def told(key: str) -> str:
    """Return the key in all the ways in which a careless server writes it."""
    encoded = base64.b64encode(key.encode()).decode()
    return f"you sent Authorization: Bearer {key} ({encoded}, {quote(key, safe='')})"


def good(key: str, *, anthropic: bool, quoting: bool) -> Said:
    """Return a valid review, which quotes the key when asked to."""
    words = told(key) if quoting else "adds up"
    review = json.dumps(
        {
            "steps": [step(1, 1, 1, reason=words, confidence=0.9)],
            "links": [],
            "covered_first": 1,
            "covered_last": 1,
            "finding": words,
            "blame": 0,
            "soundness": "sound",
        }
    )
    if anthropic:
        block = {"type": "text", "text": review}
        usage = {"input_tokens": 9, "output_tokens": 9}
        return Said(
            200,
            json.dumps({"content": [block], "stop_reason": "end_turn", "usage": usage, "id": key}),
        )
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    choice = {"message": {"content": review}, "finish_reason": "stop"}
    return Said(200, json.dumps({"choices": [choice], "usage": usage, "id": key}))


def failing(key: str) -> list[Said]:
    """Return every kind of bad response, each with the key in it."""
    error = json.dumps({"error": {"message": told(key), "type": "x"}})
    away = {"location": f"/other?key={quote(key, safe='')}", "x-key": key}
    return [
        Said(500, error),
        Said(307, told(key), "text/plain", away),
        Said(400, error),
        Said(404, f"<p>{told(key)}", "text/html"),
        Said(200, f"<p>{told(key)}", "text/html", {"x-key": key}),
        Said(200, told(key), f"text/{quote(key, safe='')}"),
        Said(200, error[: len(error) // 2]),
        Said(200, json.dumps({"said": told(key)})),
        Said(429, error, headers={"retry-after": "0.01", "x-request-id": key}),
    ]


@contextmanager
def repeating(*, refuse: bool = False) -> Generator[str]:
    """Serve on a thread and yield the root; ``refuse`` answers 401 to everything."""
    counted = iter(range(10**9))
    lock = threading.Lock()

    def choose(path: str, key: str) -> Said:
        with lock:
            number = next(counted)
        anthropic = path.endswith("/messages")
        if refuse:
            return Said(401, json.dumps({"error": {"message": told(key)}}))
        bad = failing(key)
        if number % 3:
            return good(key, anthropic=anthropic, quoting=number % 3 == 1)
        return bad[number // 3 % len(bad)]

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(choose))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def handler(choose: Callable[[str, str], Said]) -> type[BaseHTTPRequestHandler]:
    """Return a handler that answers what ``choose`` says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
            said = choose(self.path, self.headers.get("x-api-key") or bearer)
            body = said.body.encode()
            self.send_response(said.status)
            for name, value in {**said.headers, "content-type": said.kind}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
