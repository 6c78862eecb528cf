"""A small HTTP server that speaks OpenAI's chat completions and Anthropic's messages.

It checks what the real endpoints check (key, required fields, the strict subset of schemas),
answers in their shapes, and can fail in every way that a network can.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

KEY = "sk-test-0123456789abcdef"


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    """``reset``, ``hang``, ``cut`` (fewer bytes than promised) or ``drip`` (byte by byte)."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, 5 s at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.002)


def as_json(status: int, value: object, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(
        status, json.dumps(value).encode(), {"content-type": "application/json", **named}
    )


def chat(text: str | None, *, finish: str = "stop", refusal: str | None = None) -> Answer:
    message = {"role": "assistant", "content": text, "refusal": refusal, "annotations": []}
    return as_json(
        200,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": "tiny",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": 1200,
                "completion_tokens": 340,
                "total_tokens": 1540,
                "prompt_tokens_details": {"cached_tokens": 1024},
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
        },
    )


def chat_error(status: int, message: str, *, code: str | None = None, **headers: str) -> Answer:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "server_error")
    error = {"message": message, "type": kind, "param": None, "code": code}
    return as_json(status, {"error": error}, **headers)


def message(text: str, *, stop: str = "end_turn", explanation: str | None = None) -> Answer:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "x"}] * bool(text)
    details = {"type": "refusal", "category": None, "explanation": explanation}
    return as_json(
        200,
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "tiny",
            "content": [*blocks, {"type": "text", "text": text}] if text else [],
            "stop_reason": stop,
            "stop_details": details if stop == "refusal" else None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 100,
                "cache_creation_input_tokens": 60,
                "cache_read_input_tokens": 1000,
                "output_tokens": 340,
                "output_tokens_details": {"thinking_tokens": 200},
            },
        },
    )


def message_error(status: int, kind: str, text: str, **headers: str) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
    return as_json(status, body, **headers)


def strictness_faults(schema: Any) -> Iterator[str]:
    """Yield what the strict subset of JSON schema forbids."""
    allowed = {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "pattern",
    }
    yield from (f"keyword {key}" for key in set(schema) - allowed)
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            yield "additionalProperties must be false"
        if sorted(schema["required"]) != sorted(schema["properties"]):
            yield "every property must be required"
        for value in schema["properties"].values():
            yield from strictness_faults(value)
    if schema.get("type") == "array":
        yield from strictness_faults(schema["items"])


class ProviderServer:
    """Answers from ``plan``, one answer a request, the last one for ever."""

    def __init__(self, *plan: Answer, choose: Callable[[Request], Answer] | None = None) -> None:
        self._plan = list(plan)
        self._choose = choose
        self.requests: list[Request] = []
        self.open = 0
        self.most_open = 0
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._handlers:
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            while (request := await self._read(reader)) is not None:
                self.requests.append(request)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                try:
                    alive = await self._write(writer, self._answer(request))
                finally:
                    self.open -= 1
                if not alive:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client went away, or the test is over.
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(first.split()[1], headers, json.loads(body or b"{}"))

    def _answer(self, request: Request) -> Answer:
        match request.path:
            case "/v1/chat/completions":
                fault = self._chat_fault(request)
            case "/v1/messages":
                fault = self._message_fault(request)
            case _:
                return chat_error(404, f"no such path {request.path}")
        if fault is not None:
            return fault
        if self._choose is not None:
            return self._choose(request)
        return self._plan.pop(0) if len(self._plan) > 1 else self._plan[0]

    @staticmethod
    def _chat_fault(request: Request) -> Answer | None:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in (KEY, ""):
            return chat_error(401, f"Incorrect API key provided: {key}", code="invalid_api_key")
        body = request.body
        roles = [turn["role"] for turn in body["messages"]]
        if roles[:2] != ["system", "user"] or "model" not in body:
            return chat_error(400, "bad request")
        form = body.get("response_format")
        if form and form["type"] == "json_schema":
            named = form["json_schema"]
            faults = [*strictness_faults(named["schema"])]
            if faults or named["strict"] is not True:
                return chat_error(400, f"invalid schema: {faults}")
        return None

    @staticmethod
    def _message_fault(request: Request) -> Answer | None:
        # Both are accepted by the service; the SDK sends the second since 2.x.
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("x-api-key", bearer)
        if key not in (KEY, ""):
            return message_error(401, "authentication_error", f"invalid x-api-key {key}")
        body = request.body
        if "anthropic-version" not in request.headers or "max_tokens" not in body:
            return message_error(400, "invalid_request_error", "bad request")
        form = body.get("output_config", {}).get("format")
        if form:
            faults = [*strictness_faults(form["schema"])]
            if faults or "pattern" in json.dumps(form["schema"]):
                return message_error(400, "invalid_request_error", f"invalid schema: {faults}")
        return None

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        """Send one answer; return False when the connection is to be closed."""
        if answer.fault == "reset":
            writer.transport.abort()
            return False
        if answer.fault == "hang":
            await asyncio.sleep(60)
            return False
        length = len(answer.body) + (100 if answer.fault == "cut" else 0)
        lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {length}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        if answer.fault == "drip":
            for at in range(len(answer.body)):
                writer.write(answer.body[at : at + 1])
                await writer.drain()
                await asyncio.sleep(0.02)
        else:
            writer.write(answer.body)
            await writer.drain()
        return answer.fault != "cut"
