"""Start a server: in this event loop, on a thread, or as a process of its own."""

import asyncio
import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fault_server.ledger import Ledger
from benchmarks.fault_server.routes import Router
from benchmarks.fault_server.settings import Settings
from benchmarks.fault_server.wire import Connection

_ROOT = Path(__file__).parents[2]
_START_S = 20


@dataclass(frozen=True, slots=True)
class Served:
    """A server on a thread."""

    port: int
    ledger: Ledger

    @property
    def url(self) -> str:
        """The root, to which OpenAI's clients add ``/v1``."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Spawned:
    """A server in a process of its own."""

    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        """The root, to which OpenAI's clients add ``/v1``."""
        return f"http://127.0.0.1:{self.port}"

    def read_ledger(self, *, items: bool = True) -> dict[str, Any]:
        """Return the ledger so far; without ``items`` its totals alone."""
        path = "/ledger" if items else "/ledger/totals"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return json.load(connection.getresponse())


@contextlib.asynccontextmanager
async def serving(settings: Settings, port: int = 0) -> AsyncGenerator[Served]:
    """Serve in the running loop; yield the server."""
    router = Router(settings)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(router), "127.0.0.1", port, backlog=1024)
    try:
        yield Served(server.sockets[0].getsockname()[1], router.service.ledger)
    finally:
        server.close()
        router.close()


@contextlib.contextmanager
def on_thread(settings: Settings | None = None) -> Generator[Served]:
    """Serve on a thread of this process; yield the server."""
    ready = threading.Event()
    found: list[Served] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with serving(settings or Settings()) as served:
            found.append(served)
            ready.set()
            await stop.wait()
        # One turn of the loop lets the closed connections go.
        await asyncio.sleep(0)

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    if not ready.wait(_START_S):
        raise TimeoutError("the server does not start")
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextlib.contextmanager
def as_process(*options: str) -> Generator[Spawned]:
    """Serve in a process of its own with options of its command line; yield the server.

    At the end it gets SIGTERM and writes its ledger where ``--ledger`` says.
    """
    command = [sys.executable, "-m", "benchmarks.fault_server", *options]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield Spawned(json.loads(line)["port"], process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_START_S)
