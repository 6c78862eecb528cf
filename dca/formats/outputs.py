"""Files of lines that appear under their name when they are whole, compressed as the name says."""

import gzip
import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from dca.domain.errors import FormatError, UsageError
from dca.formats.source import BUFFER, COMPRESSED


@contextmanager
def new_file(path: Path) -> Generator[BinaryIO, None, None]:
    """Give a stream to a new file; ``.gz`` and ``.zst`` at the end of its name compress.

    The file appears at the end of the block, and not at all when an error leaves it.

    Raises:
        UsageError: The file exists.
        FormatError: It cannot be written.
    """
    if path.exists():
        raise UsageError(f"{path} exists", hint="Name a new file, or remove that one.")
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as raw, _compressed(raw, path.suffix.lower()) as stream:
            yield stream
        part.rename(path)
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be written: {error}", hint="Check the folder and its free space."
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _compressed(raw: BinaryIO, suffix: str) -> Generator[BinaryIO, None, None]:
    if suffix == ".gz":
        # Without a time stamp equal content gives equal files.
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".zst":
        sink = pa.CompressedOutputStream(pa.PythonFile(raw, mode="w"), "zstd")
        with io.BufferedWriter(cast("io.RawIOBase", sink), BUFFER) as stream:
            yield stream
    else:
        yield raw


def with_word(path: Path, word: str) -> Path:
    """Return a file name with a word before its endings: ``a.b.jsonl.gz`` for ``a.jsonl.gz``."""
    stem, endings = path.name, ""
    if path.suffix.lower() in COMPRESSED:
        stem, endings = path.stem, path.suffix
    bare = Path(stem)
    return path.with_name(f"{bare.stem}.{word}{bare.suffix}{endings}")
