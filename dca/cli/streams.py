"""Standard output and standard error for one command: secrets masked, no text refused."""

import io
import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console

from dca.config.secret import redact


class ReaderGone(Exception):
    """Whoever read standard output has gone."""


class OutputConsole(Console):
    """A console that leaves it to the command line how to end when its reader has gone."""

    def on_broken_pipe(self) -> None:
        """Raise ``ReaderGone``."""
        raise ReaderGone


class Masked:
    """A text stream that masks secrets in everything written to it."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream
        self._secrets: tuple[str, ...] = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask ``secrets`` from now on."""
        self._secrets = tuple(secrets)

    def write(self, text: str) -> int:
        """Write ``text`` with its secrets masked."""
        self._stream.write(redact(text, self._secrets))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write every line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        """Leave everything else to the stream itself."""
        return getattr(self._stream, name)


@contextmanager
def masked_streams() -> Generator[tuple[Masked, Masked]]:
    """Put masked streams in the place of ``sys.stdout`` and ``sys.stderr``."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    out, err = Masked(before[0]), Masked(before[1])
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out, err
    finally:
        sys.stdout, sys.stderr = before


def abandon_stdout() -> None:
    """Send what is still buffered nowhere: whoever read standard output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
