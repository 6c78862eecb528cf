"""Processes of ``dca review --batch`` that are killed, and what the next one makes of it."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.fault_server.plan import Fault, Rates
from benchmarks.fault_server.running import on_thread
from store.engine import open_store, transaction
from store.tables import BatchRow
from tests.batch_reviews import KEY, counts, doubled, filled, settings

LAUNCH = """
import sys
from dca.pipeline import batch_review
batch_review.SETTLING = 0.3  # The real one is a minute.
from dca.cli import run
sys.exit(run(["--json", "review", "--batch", "--every", "0.05", "--yes", *sys.argv[1:]]))
"""
CONFIG = """
[project]
store = "dca.db"

[reviewers.chat]
kind = "openai"
model = "tiny"
base_url = "{url}/v1"
api_key_env = "MY_KEY"
price = {{ input = 2.0, output = 8.0, batch = 0.5 }}

[reviewers.messages]
kind = "anthropic"
model = "tinier"
base_url = "{url}"
api_key_env = "MY_KEY"
price = {{ input = 2.0, output = 8.0, batch = 0.5 }}

[panels.main]
reviewers = {names}

[consensus]
min_reviewers = 1
min_families = 1

[review]
panel = "main"
"""
ROLLOUTS = 40
BOTH = ("chat", "messages")


@contextmanager
def project(folder, url, names=BOTH):
    """Make a project with a store, and give its store for reading."""
    filled(folder, ROLLOUTS).dispose()
    (folder / "dca.toml").write_text(CONFIG.format(url=url, names=json.dumps(list(names))))
    engine = open_store(str(folder / "dca.db"))
    yield engine
    engine.dispose()


def start(folder, *arguments):
    """Start one process."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("DCA_")}
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *arguments],
        cwd=folder,
        env={**known, "MY_KEY": KEY, "HOME": str(folder), "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, *arguments):
    """Run one process to its end and return what it says."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=60)
    assert out, err
    return process.returncode, json.loads(out)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check(server, engine, reviewers=2):
    """Every review is there once, nothing is held, and no question was answered well twice."""
    assert counts(engine)["reviews"] == reviewers * ROLLOUTS
    assert counts(engine)["claims"] == counts(engine)["replies"] == 0
    assert doubled(server) == 0


def test_runs_that_are_killed_at_any_moment_lose_nothing_and_pay_nothing_twice(tmp_path):
    chance = random.Random(7)
    rates = Rates({Fault.SERVER_ERROR: 0.1, Fault.FENCED: 0.2}, batch_expired=0.2)
    with on_thread(settings(rates, seconds=0.6)) as server, project(tmp_path, server.url) as store:
        kills = 0
        for _ in range(8):
            process = start(tmp_path)
            # Most of a second goes by before the first request.
            try:
                process.wait(chance.uniform(0.8, 2.6))
            except subprocess.TimeoutExpired:
                kill(process)
                kills += 1
        code, said = finish(tmp_path)
        check(server, store)
        # Every batch that exists is known, and was collected once.
        with transaction(store) as session:
            states = [row.state for row in session.query(BatchRow)]
        assert states.count("done") == server.ledger.totals.batches
        assert set(states) <= {"done", "unsent"}

    assert kills > 0
    assert (code, said["open"], said["unknown"]) == (0, 0, 0)


class Proxy:
    """A way to a server on which the response to one request is lost."""

    def __init__(self, url, words, act):
        """Listen.

        Args:
            url: Of the server.
            words: What the request begins with.
            act: Called when the response is there.
        """
        host, port = url.removeprefix("http://").split(":")
        self._server = (host, int(port))
        self._words, self._act = words, act
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.hit = threading.Event()
        self._sockets = [self._listening]
        self._threads = []
        self._spawn(self._accept)

    def _spawn(self, work, *arguments):
        def quietly():
            with suppress(OSError):
                work(*arguments)

        thread = threading.Thread(target=quietly, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            client, _ = self._listening.accept()
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            caught = threading.Event()
            self._spawn(self._go, client, server, caught)
            self._spawn(self._come, server, client, caught)

    def _go(self, client, server, caught):
        while part := client.recv(1 << 16):
            if part.startswith(self._words) and not self.hit.is_set():
                caught.set()
            server.sendall(part)
        server.shutdown(socket.SHUT_WR)

    def _come(self, server, client, caught):
        while part := server.recv(1 << 16):
            if caught.is_set():
                self.hit.set()
                self._act()
                break
            client.sendall(part)
        client.shutdown(socket.SHUT_RDWR)

    def close(self):
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [("chat", b"POST /v1/batches "), ("messages", b"POST /v1/messages/batches ")],
)
@pytest.mark.parametrize("killed", [True, False])
def test_a_batch_whose_creation_was_never_heard_of_is_found_again(tmp_path, name, words, killed):
    running = []

    def act():
        if killed:
            running[0].send_signal(signal.SIGKILL)

    with (
        on_thread(settings(seconds=0.6)) as server,
        closing(Proxy(server.url, words, act)) as proxy,
        project(tmp_path, proxy.url, [name]) as store,
    ):
        running.append(start(tmp_path))
        told = running[0].communicate(timeout=60)
        assert proxy.hit.is_set(), told
        if killed:
            with transaction(store) as session:
                rows = list(session.query(BatchRow))
            assert [(row.state, row.remote) for row in rows] == [("submitting", None)]
            assert counts(store)["claims"] == ROLLOUTS
            code, said = finish(tmp_path)
            assert (code, said["submitted"]) == (0, 0)
        check(server, store, 1)
        assert server.ledger.totals.batches == 1


def test_a_batch_that_never_reached_the_provider_is_submitted_again(tmp_path):
    with on_thread(settings()) as server, project(tmp_path, "http://127.0.0.1:9") as store:
        process = start(tmp_path, "--no-wait")
        process.communicate(timeout=60)
        left = counts(store)
        (tmp_path / "dca.toml").write_text(
            CONFIG.format(url=server.url, names=json.dumps(list(BOTH)))
        )
        code, said = finish(tmp_path)
        check(server, store)

    # An upload that fails has made no batch; a creation that fails may have, so its claims stay.
    assert (left["batches"], left["claims"]) == (2, ROLLOUTS)
    assert (code, said["open"]) == (0, 0)
    assert server.ledger.totals.batches == 2


def test_a_second_run_leaves_alone_what_a_running_one_submits(tmp_path):
    with on_thread(settings(seconds=1.0)) as server, project(tmp_path, server.url) as store:
        first, second = start(tmp_path), start(tmp_path)
        codes = [process.wait(60) for process in (first, second)]
        for process in (first, second):
            process.communicate()
        finish(tmp_path)
        check(server, store)

    assert set(codes) <= {0, 3}
    assert server.ledger.totals.attempts == 2 * ROLLOUTS
