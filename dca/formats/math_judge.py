"""Mathematical equality by math-verify, in a process of its own.

math-verify bounds its time by SIGALRM, which works in no thread but the main one and cannot stop
a long computation inside one big-number operation. So it runs in a child process that is killed
when it overruns; the next question starts a new one.
"""

import importlib.util
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from dca.domain.errors import MissingExtra

TIMEOUT = 20.0
"""Seconds that one comparison may take."""
START_TIMEOUT = 120.0
"""Seconds that the worker may take to start."""
MAX_TEXT = 4000
"""Code points of the end of a completion that are read."""
_worker = Path(__file__).with_name("math_worker.py")


@contextmanager
def math_judge(*, timeout: float = TIMEOUT) -> Generator[Callable[[str, str], str], None, None]:
    """Give a function from (end of a completion, truth) to the name of an ``Outcome``.

    It answers ``correct``, ``wrong``, ``no_answer``, ``unreadable_truth`` or ``undecided``; the
    last when the comparison takes longer than ``timeout`` seconds.

    Raises:
        MissingExtra: The package math-verify is not installed.
    """
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtra(
            "mathematical verification needs the package math-verify",
            hint="pip install '.[verify]' in the project's folder",
        )
    child = _Child(timeout)
    try:
        yield child.ask
    finally:
        child.stop()


class _Child:
    """The worker process, started at the first question."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, tail: str, truth: str) -> str:
        process = self._process or self._start()
        question = {"text": tail[-MAX_TEXT:], "truth": truth[-MAX_TEXT:]}
        os.write(cast(BinaryIO, process.stdin).fileno(), json.dumps(question).encode() + b"\n")
        answer = _read_line(process, self._timeout)
        if not answer.endswith(b"\n"):
            process.kill()
            self.stop()
            return "undecided"
        return answer.decode().strip()

    def _start(self) -> subprocess.Popen[bytes]:
        # -P keeps the worker's own folder, with files named like packages, off its import path.
        self._process = subprocess.Popen(  # noqa: S603 - our own file, no shell
            [sys.executable, "-P", str(_worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        # Loading math-verify is no part of a question's time.
        _read_line(self._process, START_TIMEOUT)
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            # Closes its standard input, at which an idle worker ends by itself.
            self._process.communicate()
            self._process = None


def _read_line(process: "subprocess.Popen[bytes]", timeout: float) -> bytes:
    """Return one line of the worker, empty when the time is up or the worker died."""
    descriptor = cast(BinaryIO, process.stdout).fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        ready = selector.select(timeout)
    return os.read(descriptor, 4096) if ready else b""
