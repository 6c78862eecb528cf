"""Sources of rollouts: files, globs, folders and standard input, with gz and zst undone."""

import glob
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import pyarrow as pa

from dca.domain.errors import FormatError

Kind = Literal["jsonl", "csv", "parquet"]

SUFFIXES: dict[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
FOLDER_SUFFIXES = frozenset(SUFFIXES) - {".json"}
"""Suffixes taken from a folder; ``.json`` files there are settings more often than rollouts."""
COMPRESSED = (".gz", ".zst")
BUFFER = 1 << 18
"""Bytes read at once."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of rollouts, or standard input."""

    name: str
    """As shown to the user; ``-`` is standard input."""
    path: Path | None
    """``None`` for standard input."""
    kind: Kind

    @property
    def tabbed(self) -> bool:
        """Whether columns of a CSV file are parted by tabs."""
        return ".tsv" in Path(self.name).suffixes


def expand_sources(
    patterns: Sequence[str], *, leave_out: Callable[[Path], bool] = lambda _: False
) -> list[Source]:
    """Return every file that the patterns name, each once, in order.

    Args:
        patterns: Paths, globs (``**`` too), folders (searched to the bottom) and ``-``.
        leave_out: Tells which files globs and folders do not pick up: the rejects files.

    Raises:
        FormatError: A pattern that names nothing, or a file whose kind cannot be told.
    """
    sources: dict[object, Source] = {}
    for pattern in patterns:
        if pattern == "-":
            sources.setdefault("-", Source("-", None, "jsonl"))
            continue
        for path in _paths(pattern, leave_out):
            sources.setdefault(path.resolve(), Source(str(path), path, _kind(path)))
    return list(sources.values())


def _paths(pattern: str, leave_out: Callable[[Path], bool]) -> list[Path]:
    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [item for item in sorted(path.rglob("*")) if _bare_suffix(item) in FOLDER_SUFFIXES]
    else:
        names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - pathlib's refuses absolute ones
        found = [Path(name) for name in sorted(names)]
    files = [item for item in found if item.is_file() and not leave_out(item)]
    if not files:
        raise FormatError(
            f"{pattern}: no such file", hint="Quote globs, and check the folder you run in."
        )
    return files


def _bare_suffix(path: Path) -> str:
    """Return the lower-case suffix before any ``.gz`` or ``.zst``."""
    stem = Path(path.stem) if path.suffix.lower() in COMPRESSED else path
    return stem.suffix.lower()


def _kind(path: Path) -> Kind:
    named = SUFFIXES.get(_bare_suffix(path))
    if named is not None:
        return named
    with open_source(Source(str(path), path, "jsonl")) as stream:
        head = stream.read(BUFFER).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"{", b"[")):
        return "jsonl"
    raise FormatError(
        f"{path}: neither its name nor its first bytes say what it holds",
        hint="Rename it to .jsonl, .csv, .tsv or .parquet (.gz and .zst may follow).",
    )


@contextmanager
def open_source(source: Source) -> Generator[BinaryIO, None, None]:
    """Give the bytes of a source, decompressed by what its first bytes say.

    Raises:
        FormatError: It cannot be opened, or its compressed data is broken or cut.
    """
    try:
        if source.path is None:
            yield _decompressed(sys.stdin.buffer)
        else:
            with source.path.open("rb") as raw, _decompressed(raw) as stream:
                yield stream
    # zlib.error is what gzip lets through for a damaged block; pyarrow raises OSError.
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(
            f"{source.name}: cannot be read: {error}",
            hint="Check that the file is whole and that you may read it.",
        ) from error


def _decompressed(raw: BinaryIO) -> BinaryIO:
    head = cast(io.BufferedReader, raw).peek(4)[:4]
    if head.startswith(b"\x1f\x8b"):
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), BUFFER)
    if head == b"\x28\xb5\x2f\xfd":
        inner = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return io.BufferedReader(cast(io.RawIOBase, inner), BUFFER)
    return raw
