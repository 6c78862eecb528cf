"""The rejects file: every record that was not imported, with its place and the reason."""

import base64
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from dca.domain.errors import FormatError
from dca.formats.row import Reject


@dataclass(slots=True)
class RejectsFile:
    """Writes rejects as JSON Lines; the file appears with the first one."""

    path: Path
    count: int = 0
    _stream: BinaryIO | None = field(default=None, repr=False)

    def add(self, reject: Reject) -> None:
        """Write one reject.

        Raises:
            FormatError: The file cannot be written.
        """
        try:
            if self._stream is None:
                self._stream = self.path.open("wb")
            self._stream.write(reject_line(reject))
            self._stream.flush()
        except OSError as error:
            raise FormatError(
                f"{self.path}: cannot write the rejects: {error}",
                hint="Name another file for them with --rejects.",
            ) from error
        self.count += 1

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._stream is not None:
            self._stream.close()


@contextmanager
def rejects_file(path: Path) -> Generator[RejectsFile, None, None]:
    """Give a rejects file; it replaces the file of an earlier import."""
    file = RejectsFile(path)
    try:
        yield file
    finally:
        file.close()


def reject_line(reject: Reject) -> bytes:
    """Return a reject as one line of JSON: ``source``, ``line``, ``reason``, ``raw``.

    A record that is not UTF-8 comes as ``raw_base64`` too, so that no byte is lost.
    """
    record: dict[str, object] = {
        "source": reject.source.encode("utf-8", "backslashreplace").decode(),
        "line": reject.line,
        "reason": reject.reason.encode("utf-8", "backslashreplace").decode(),
        "raw": reject.raw.decode("utf-8", "backslashreplace"),
    }
    if not _is_utf8(reject.raw):
        record["raw_base64"] = base64.b64encode(reject.raw).decode()
    return msgspec.json.encode(record) + b"\n"


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
