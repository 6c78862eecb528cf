"""Real inference servers on this machine: start, stop, and fixtures for tests that ask them.

``python -m tests.local_servers start FOLDER`` starts vLLM, prints the value of ``DCA_TEST_VLLM``
when it answers, and leaves it running; ``stop FOLDER`` ends it. With that variable set the tests
use the server that it names; without it they start their own.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "DCA_TEST_VLLM"
CONTEXT = 16_384
"""Tokens of prompt and reply together; our question alone is about 2,500 of the tiny model's."""
_PATIENCE = 600
"""Seconds until a server must answer: on busy cores vLLM's imports alone take two minutes."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Server:
    """A running server."""

    root: str
    """Address without a path."""
    model: str
    """Name of the model in requests."""

    @property
    def openai(self) -> str:
        return f"{self.root}/v1"


def start_vllm(folder: Path) -> Server:
    """Start vLLM on a tiny model in ``folder``; return when it answers."""
    subprocess.run(["make", "--silent", "vllm"], cwd=ROOT, check=True)
    port = _free_port()
    command = [ROOT / ".venv-vllm/bin/python", ROOT / "tests/vllm_launcher.py", "serve"]
    environment = _OFFLINE | {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        # Two processes instead of three: starting is nearly all imports.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # More threads than one fight over the cores, and answers take many times as long.
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    root = f"http://127.0.0.1:{port}"
    flags = [_model(folder), "--port", str(port), *_flags()]
    _start(folder, [*command, *flags], environment, f"{root}/health")
    return Server(root, "tiny")


def _flags() -> list[str]:
    """Return vLLM's settings for a tiny model on a CPU."""
    grammar = '{"backend":"xgrammar","disable_any_whitespace":true}'
    switches = ["--enforce-eager", "--disable-uvicorn-access-log", "--no-enable-chunked-prefill"]
    values = {
        "--host": "127.0.0.1",
        "--served-model-name": "tiny",
        "--dtype": "float32",
        "--max-model-len": str(CONTEXT),
        "--max-num-seqs": "16",
        # A prompt in two parts kills the engine on a CPU as soon as a request has a seed.
        "--max-num-batched-tokens": str(CONTEXT),
        "--kv-cache-memory-bytes": str(128 * 2**20),
        "--structured-outputs-config": grammar,
        "--distributed-executor-backend": "uni",
    }
    return [*switches, *(part for pair in values.items() for part in pair)]


def start_transformers(folder: Path) -> Server:
    """Start ``transformers serve`` on a tiny model in ``folder``; return when it answers."""
    port = _free_port()
    cache = folder / "hub"
    cache.mkdir()
    model = _model(folder)
    command = [Path(sys.executable).parent / "transformers", "serve", model, "--port", str(port)]
    flags = ["--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
    root = f"http://127.0.0.1:{port}"
    environment = _OFFLINE | {"HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    _start(folder, [*command, *flags], environment, f"{root}/health")
    return Server(root, str(model))


def stop(folder: Path) -> None:
    """Stop the server of ``folder``, if any, and the processes that it started."""
    file = folder / "pid"
    if not file.exists():
        return
    group = int(file.read_text())
    _signal(group, signal.SIGINT)
    deadline = time.monotonic() + 20
    while _signal(group, 0) and time.monotonic() < deadline:
        time.sleep(0.1)
    _signal(group, signal.SIGKILL)
    file.unlink()


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; return False when there is none (any more)."""
    with suppress(ChildProcessError):
        os.waitpid(group, os.WNOHANG)  # Until it is reaped, a child of ours counts as there.
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _start(folder: Path, command: list[object], more: dict[str, str], health: str) -> None:
    """Start a server in a process group of its own and wait until it answers."""
    # Bytecode is kept: without it every start compiles half a gigabyte of Python.
    kept = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    # Coverage measures our code, which a server does not run.
    kept = {key: text for key, text in kept.items() if not key.startswith("COVERAGE_")}
    words = [str(part) for part in command]
    log = folder / "log"
    # By number only: it may outlive this process.
    leader = os.posix_spawn(
        words[0],
        words,
        kept | more,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    (folder / "pid").write_text(str(leader))
    deadline = time.monotonic() + _PATIENCE
    while not _answers(health):
        if not _signal(leader, 0) or time.monotonic() > deadline:
            stop(folder)
            raise RuntimeError(f"no server:\n{log.read_text('utf-8', 'replace')[-4000:]}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            return response.status == 200
    except OSError:
        return False


def _model(folder: Path) -> Path:
    """Return a new tiny model; built by a process of its own, because torch stays in memory."""
    model = folder / "model"
    subprocess.run([sys.executable, "-m", "tests.tiny_qwen", model], cwd=ROOT, check=True)
    return model


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory) -> Iterator[Server]:
    """vLLM with a tiny model: OpenAI's and Anthropic's endpoints, replies held to a grammar."""
    if given := os.environ.get(VARIABLE):
        yield Server(*given.split())
        return
    folder = tmp_path_factory.mktemp("vllm")
    try:
        yield start_vllm(folder)
    finally:
        stop(folder)


@pytest.fixture(scope="session")
def transformers_server(tmp_path_factory) -> Iterator[Server]:
    """A provider that accepts ``response_format`` and ignores it."""
    folder = tmp_path_factory.mktemp("transformers")
    try:
        yield start_transformers(folder)
    finally:
        stop(folder)


def _main(verb: str, folder: Path) -> None:
    if verb == "stop":
        stop(folder)
        return
    server = start_vllm(folder)
    sys.stdout.write(f"{server.root} {server.model}\n")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
