"""Which path is answered by whom."""

import asyncio
import time
from urllib.parse import parse_qsl, urlsplit

import msgspec

from benchmarks.fault_server.anthropic_batches import AnthropicBatches
from benchmarks.fault_server.asks import BadRequestError, Dialect, read_ask
from benchmarks.fault_server.exchange import Answer, Request
from benchmarks.fault_server.openai_batches import OpenAIBatches
from benchmarks.fault_server.service import Service
from benchmarks.fault_server.settings import Settings

_json = msgspec.json.encode
_DIALECTS = {dialect.value: dialect for dialect in Dialect}


class Router:
    """All paths of one server."""

    def __init__(self, settings: Settings) -> None:
        """Begin with empty books."""
        self.settings = settings
        self.service = Service(settings)
        self._transports: set[asyncio.BaseTransport] = set()
        self._openai = OpenAIBatches(self.service)
        self._anthropic = AnthropicBatches(self.service)

    def close(self) -> None:
        """Stop what works in the background and close every connection."""
        self._openai.close()
        self._anthropic.close()
        for transport in tuple(self._transports):
            transport.close()

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Note a new connection."""
        self.service.ledger.totals.connections += 1
        self._transports.add(transport)

    def closed(self, transport: asyncio.BaseTransport) -> None:
        """Forget a connection."""
        self._transports.discard(transport)

    def respond(self, request: Request) -> Answer:
        """Return the answer to ``request``."""
        dialect = _DIALECTS.get(request.target)
        if dialect is None:
            return self._respond_beside(request)
        if request.method != "POST":
            return self.service.error(request, 405, "POST is the only method here")
        if b"\r\ntransfer-encoding:" in request.folded:
            return self.service.error(request, 411, "content-length is required")
        return self.service.answer(request, dialect)

    def _respond_beside(self, request: Request) -> Answer:
        """Answer everything but requests for one answer."""
        parts = urlsplit(request.target)
        path = parts.path.strip("/").split("/")
        match path[0]:
            case "ledger":
                ledger = self.service.ledger
                told = ledger.summary() if path[1:] == ["totals"] else ledger.report()
                return Answer(200, _json(told))
            case "moved" | "away":
                return self._redirected(request, path[0])
            case _:
                query = dict(parse_qsl(parts.query))
                return self.service.refuse_key(request) or self._manage(request, path, query)

    def _manage(self, request: Request, path: list[str], query: dict[str, str]) -> Answer:
        """Answer for models, tokens, files and batches."""
        match path:
            case ["v1", "models", *rest]:
                answer = self._models(request, rest)
            case ["v1", "messages", "count_tokens"]:
                answer = self._count(request)
            case ["v1", "messages", "batches", *rest]:
                answer = self._anthropic.answer(request, rest, query)
            case ["v1", "files", *rest]:
                answer = self._openai.files(request, rest)
            case ["v1", "batches", *rest]:
                answer = self._openai.batches(request, rest, query)
            case _:
                answer = self.service.error(request, 404, f"no such path {request.target}")
        return answer

    def _redirected(self, request: Request, place: str) -> Answer:
        """Note a client that followed a redirect, and one that showed its key to another host."""
        totals = self.service.ledger.totals
        totals.redirects_followed += 1
        totals.keys_leaked += place == "away" and bool(request.key)
        return self.service.error(request, 404, "nothing has moved here")

    def _models(self, request: Request, rest: list[str]) -> Answer:
        show = _anthropic_model if request.anthropic else _openai_model
        names = self.service.settings.models
        if rest:
            if rest[0] in names:
                return Answer(200, _json(show(rest[0])))
            return self.service.error(request, 404, f"The model '{rest[0]}' does not exist")
        data = [show(name) for name in names]
        beside = {"object": "list"}
        if request.anthropic:
            beside = {"has_more": False, "first_id": names[0], "last_id": names[-1]}
        return Answer(200, _json({"data": data, **beside}))

    def _count(self, request: Request) -> Answer:
        try:
            ask = read_ask(Dialect.MESSAGES, request.body)
        except BadRequestError as error:
            return self.service.error(request, 400, str(error))
        return Answer(200, _json({"input_tokens": ask.tokens}))


def _openai_model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": int(time.time()), "owned_by": "nobody"}


def _anthropic_model(name: str) -> dict[str, object]:
    return {
        "id": name,
        "type": "model",
        "display_name": name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
    }
