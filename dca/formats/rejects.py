"""The rejects file: every record that was not imported, with its place and the reason."""

import base64
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import BinaryIO

import msgspec

from dca.domain.errors import FormatError
from dca.formats.row import Reject


@dataclass(slots=True)
class RejectsFile:
    """Writes rejects as JSON Lines; the file appears with the first one.

    A file of that name, as an earlier import left it, stays: the new one gets a number,
    ``import-rejects-2.jsonl``.
    """

    path: Path
    """The name that was asked for; with the first reject the name that the file has."""
    count: int = 0
    _stream: BinaryIO | None = field(default=None, repr=False)

    def add(self, reject: Reject) -> None:
        """Write one reject.

        Raises:
            FormatError: The file cannot be written.
        """
        try:
            if self._stream is None:
                self.path, self._stream = _new_file(self.path)
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


def _new_file(path: Path) -> tuple[Path, BinaryIO]:
    """Open a file that was not there: ``path``, or its name with the first free number."""
    for number in count(1):
        name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        with suppress(FileExistsError):
            return name, name.open("xb")
    raise AssertionError  # pragma: no cover - numbers do not end


def is_rejects(path: Path, wanted: Path) -> bool:
    """Tell whether a file holds rejects, or will: ``wanted`` itself, or one of its numbers.

    A numbered file counts only when it begins as a reject does, so that no rollouts are left out
    because of a name.
    """
    if path.resolve() == wanted.resolve():
        return True
    stem, _, number = path.stem.rpartition("-")
    if not (stem == wanted.stem and number.isdigit() and path.suffix == wanted.suffix):
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(len(_START)) == _START
    except OSError:
        return False  # whoever reads it says why it cannot be read


@contextmanager
def rejects_file(path: Path) -> Generator[RejectsFile, None, None]:
    """Give a rejects file under this name, or with a number when the name is taken."""
    file = RejectsFile(path)
    try:
        yield file
    finally:
        file.close()


_START = b'{"source":'
"""First bytes of ``reject_line``."""


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
