"""Anthropic's batches of messages."""

import time

import msgspec

from benchmarks.fault_server.asks import Dialect
from benchmarks.fault_server.batches import (
    CANCELLED,
    EXPIRED,
    FINISHED,
    Item,
    Result,
    Run,
    Runner,
    Stage,
    list_page,
)
from benchmarks.fault_server.exchange import Answer, Request
from benchmarks.fault_server.limits import rfc3339
from benchmarks.fault_server.service import Service

_json = msgspec.json.encode


class _One(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Create(msgspec.Struct):
    requests: list[_One]


_CREATE = msgspec.json.Decoder(_Create)
_KINDS = {200: "succeeded", EXPIRED: "expired", CANCELLED: "canceled"}
"""Result types; every other status is ``errored``."""


class AnthropicBatches:
    """The batches of one server."""

    def __init__(self, service: Service) -> None:
        """Begin with none."""
        self._service = service
        self._runner = Runner(service)

    def close(self) -> None:
        """Stop all work."""
        self._runner.close()

    def answer(self, request: Request, path: list[str], query: dict[str, str]) -> Answer:
        """Answer ``/v1/messages/batches``; ``path`` is what follows."""
        if not path:
            if request.method == "POST":
                return self._create(request)
            runs = list(self._runner.runs.values())
            page = list_page(runs, query.get("after_id", ""), int(query.get("limit", "20")))
            data = [_shown(run, request) for run in page.runs]
            return Answer(200, _json({"data": data, **page.ids}))
        run = self._runner.runs.get(path[0])
        if run is None:
            return self._service.error(request, 404, f"no batch {path[0]}")
        if path[1:] == ["results"]:
            return self._results(request, run)
        if path[1:] == ["cancel"]:
            self._runner.cancel(run)
        elif request.method == "DELETE":
            return self._delete(request, run)
        return Answer(200, _json(_shown(run, request)))

    def _create(self, request: Request) -> Answer:
        limits = self._service.settings.anthropic_batch
        if len(request.body) > limits.bytes:
            return self._service.error(request, 413, "Request exceeds the maximum size")
        try:
            asked = _CREATE.decode(request.body).requests
        except msgspec.DecodeError as error:
            return self._service.error(request, 400, str(error))
        ids = {one.custom_id for one in asked}
        if not asked or len(asked) > limits.requests or len(ids) < len(asked):
            reason = f"requests: 1 to {limits.requests}, each with a custom_id of its own"
            return self._service.error(request, 400, reason)
        items = [Item(one.custom_id, Dialect.MESSAGES, bytes(one.params)) for one in asked]
        return Answer(200, _json(_shown(self._runner.start("msgbatch", items), request)))

    def _results(self, request: Request, run: Run) -> Answer:
        if run.stage not in FINISHED:
            return self._service.error(request, 404, "the batch has not ended")
        lines = b"".join(_line(result) for result in run.results)
        return Answer(200, lines, kind=b"application/x-jsonl")

    def _delete(self, request: Request, run: Run) -> Answer:
        if run.stage not in FINISHED:
            return self._service.error(request, 400, "the batch has not ended")
        del self._runner.runs[run.id]
        return Answer(200, _json({"id": run.id, "type": "message_batch_deleted"}))


def _line(result: Result) -> bytes:
    """Return one line of results."""
    kind = _KINDS.get(result.status, "errored")
    told: dict[str, object] = {"type": kind}
    if kind == "succeeded":
        told["message"] = msgspec.Raw(result.body)
    elif kind == "errored":
        told["error"] = msgspec.Raw(result.body)
    return _json({"custom_id": result.custom_id, "result": told}) + b"\n"


def _shown(run: Run, request: Request) -> dict[str, object]:
    """Return the description of a batch."""
    ended = run.stage in FINISHED
    status = "ended" if ended else "in_progress"
    if run.stage is Stage.CANCELLING:
        status = "canceling"
    created = run.times[Stage.VALIDATING]
    begun = run.times.get(Stage.CANCELLING)
    url = f"http://{request.header(b'host')}/v1/messages/batches/{run.id}/results"
    return {
        "id": run.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": _counts(run) if ended else {**_NONE, "processing": len(run.items)},
        "created_at": rfc3339(created),
        "expires_at": rfc3339(created + 86_400),
        "ended_at": rfc3339(time.time()) if ended else None,
        "cancel_initiated_at": rfc3339(begun) if begun else None,
        "archived_at": None,
        "results_url": url if ended else None,
    }


_NONE = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


def _counts(run: Run) -> dict[str, int]:
    counts = dict(_NONE)
    for result in run.results:
        counts[_KINDS.get(result.status, "errored")] += 1
    return counts
