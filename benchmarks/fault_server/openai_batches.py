"""OpenAI's files and batches."""

import time
from dataclasses import dataclass

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
from benchmarks.fault_server.service import Service

_json = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class File:
    """One stored file."""

    id: str
    name: str
    purpose: str
    content: bytes
    created: int
    """Seconds since the epoch."""

    @property
    def shown(self) -> dict[str, object]:
        """Return the file's description."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Create(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


_LINE = msgspec.json.Decoder(_Line)
_CREATE = msgspec.json.Decoder(_Create)
_TIMES = {
    Stage.IN_PROGRESS: "in_progress_at",
    Stage.FINALIZING: "finalizing_at",
    Stage.COMPLETED: "completed_at",
    Stage.FAILED: "failed_at",
    Stage.EXPIRED: "expired_at",
    Stage.CANCELLING: "cancelling_at",
    Stage.CANCELLED: "cancelled_at",
}


class OpenAIBatches:
    """The files and batches of one server."""

    def __init__(self, service: Service) -> None:
        """Begin with none."""
        self._service = service
        self._runner = Runner(service)
        self._files: dict[str, File] = {}
        self._made: dict[str, _Create] = {}

    def close(self) -> None:
        """Stop all work."""
        self._runner.close()

    def files(self, request: Request, path: list[str]) -> Answer:
        """Answer ``/v1/files``; ``path`` is what follows."""
        if not path:
            return self._upload(request) if request.method == "POST" else self._list_files()
        file = self._files.get(path[0])
        if file is None:
            return self._service.error(request, 404, f"No such File object: {path[0]}")
        if path[1:] == ["content"]:
            return Answer(200, file.content, kind=b"application/octet-stream")
        if request.method == "DELETE":
            del self._files[file.id]
            return Answer(200, _json({"id": file.id, "object": "file", "deleted": True}))
        return Answer(200, _json(file.shown))

    def batches(self, request: Request, path: list[str], query: dict[str, str]) -> Answer:
        """Answer ``/v1/batches``; ``path`` is what follows."""
        if not path:
            if request.method == "POST":
                return self._create(request)
            runs = list(self._runner.runs.values())
            page = list_page(runs, query.get("after", ""), int(query.get("limit", "20")))
            data = [self._shown(run) for run in page.runs]
            return Answer(200, _json({"object": "list", "data": data, **page.ids}))
        run = self._runner.runs.get(path[0])
        if run is None:
            return self._service.error(request, 404, f"No batch found with id '{path[0]}'.")
        if path[1:] == ["cancel"]:
            self._runner.cancel(run)
        return Answer(200, _json(self._shown(run)))

    def _upload(self, request: Request) -> Answer:
        fields = _multipart(request)
        if "file" not in fields or "purpose" not in fields:
            return self._service.error(request, 400, "file and purpose are required")
        name, content = fields["file"]
        if len(content) > self._service.settings.openai_batch.bytes:
            return self._service.error(request, 413, "The file is too large.")
        return Answer(200, _json(self._store(name, fields["purpose"][1].decode(), content).shown))

    def _store(self, name: str, purpose: str, content: bytes) -> File:
        number = len(self._files) + 1
        file = File(f"file-{number}-{time.time_ns()}", name, purpose, content, int(time.time()))
        self._files[file.id] = file
        return file

    def _list_files(self) -> Answer:
        data = [file.shown for file in reversed(self._files.values())]
        return Answer(200, _json({"object": "list", "data": data, "has_more": False}))

    def _create(self, request: Request) -> Answer:
        try:
            create = _CREATE.decode(request.body)
        except msgspec.DecodeError as error:
            return self._service.error(request, 400, str(error))
        file = self._files.get(create.input_file_id)
        if file is None or create.endpoint not in (Dialect.CHAT, Dialect.RESPONSES):
            return self._service.error(request, 400, "no such input file or endpoint")
        items, errors = self._read(file.content, Dialect(create.endpoint))
        run = self._runner.start("batch", items, errors)
        self._made[run.id] = create
        return Answer(200, _json(self._shown(run)))

    def _read(
        self, content: bytes, dialect: Dialect
    ) -> tuple[list[Item], list[dict[str, object]]]:
        """Return the requests of a file and what is wrong with it."""
        items: dict[str, Item] = {}
        errors: list[dict[str, object]] = []
        lines = [line for line in content.split(b"\n") if line.strip()]
        if len(lines) > self._service.settings.openai_batch.requests:
            most = self._service.settings.openai_batch.requests
            return [], [_error("too_many_tasks", f"The limit is {most} requests.", None)]
        for number, line in enumerate(lines, 1):
            try:
                read = _LINE.decode(line)
            except msgspec.DecodeError:
                errors.append(_error("invalid_json_line", "This line is not parseable.", number))
                continue
            if read.url != dialect:
                errors.append(_error("url_mismatch", "The URL is not the batch's.", number))
            if read.custom_id in items:
                errors.append(_error("duplicate_custom_id", "Used in an earlier line.", number))
            items[read.custom_id] = Item(read.custom_id, dialect, bytes(read.body))
        if not lines:
            errors.append(_error("empty_file", "The file holds no requests.", None))
        return list(items.values()), errors

    def _shown(self, run: Run) -> dict[str, object]:
        """Return the description of a batch."""
        made = self._made[run.id]
        created = int(run.times[Stage.VALIDATING])
        failed = run.stage is Stage.FAILED
        errors = run.errors or (_error("invalid_request", "The batch failed.", None),)
        total = 0 if run.stage in (Stage.VALIDATING, Stage.FAILED) else len(run.items)
        return {
            "id": run.id,
            "object": "batch",
            "endpoint": made.endpoint,
            "errors": {"object": "list", "data": errors} if failed else None,
            "input_file_id": made.input_file_id,
            "completion_window": made.completion_window,
            "status": run.stage.value,
            "output_file_id": self._written(run, answered=True),
            "error_file_id": self._written(run, answered=False),
            "created_at": created,
            "expires_at": created + 86_400,
            **{
                name: int(run.times[stage]) if stage in run.times else None
                for stage, name in _TIMES.items()
            },
            "request_counts": {
                "total": total,
                "completed": run.count(answered=True),
                "failed": run.count(answered=False),
            },
            "metadata": made.metadata,
        }

    def _written(self, run: Run, *, answered: bool) -> str | None:
        """Return the id of the file of results with or without an answer, once there is one."""
        if run.stage not in FINISHED:
            return None
        id_ = f"file-{run.id}-{'output' if answered else 'error'}"
        results = [
            result
            for result in run.results
            # What was cancelled before it was begun stands in neither file.
            if (result.status == 200) is answered and result.status != CANCELLED
        ]
        if not results:
            return None
        if id_ not in self._files:
            lines = (_line(run, result) for result in results)
            name = id_.removeprefix("file-") + ".jsonl"
            now = int(time.time())
            self._files[id_] = File(id_, name, "batch_output", b"".join(lines), now)
        return id_


def _line(run: Run, result: Result) -> bytes:
    """Return one line of a file of results."""
    shared = {"id": f"batch_req_{run.number}_{result.custom_id}", "custom_id": result.custom_id}
    if result.status == EXPIRED:
        message = "This request could not be executed before the completion window expired."
        error = {"code": "batch_expired", "message": message}
        return _json({**shared, "response": None, "error": error}) + b"\n"
    response = {
        "status_code": result.status,
        "request_id": f"req_{run.number}",
        "body": msgspec.Raw(result.body),
    }
    return _json({**shared, "response": response, "error": None}) + b"\n"


def _error(code: str, message: str, line: int | None) -> dict[str, object]:
    return {"code": code, "message": message, "param": None, "line": line}


def _multipart(request: Request) -> dict[str, tuple[str, bytes]]:
    """Return the fields of a form: for each name the name of its file and its content."""
    _, _, boundary = request.header(b"content-type").partition("boundary=")
    if not boundary:
        return {}
    fields: dict[str, tuple[str, bytes]] = {}
    mark = b"--" + boundary.strip('"').encode()
    for part in (b"\r\n" + request.body).split(b"\r\n" + mark)[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        told = head.decode("utf-8", "replace")
        if 'name="' in told:
            name = told.split(' name="', 1)[1].split('"', 1)[0]
            file = told.split('filename="', 1)[1].split('"', 1)[0] if "filename=" in told else ""
            fields[name] = (file, content)
    return fields
