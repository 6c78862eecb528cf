"""Neutral rows in files: Parquet or JSONL by suffix, streamed, the same rows in both.

A file holds one schema version, one consensus version, one label set and one tokenizer. A writer
puts the file in place only when it is complete, so a reader never sees half of one.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dca.domain.errors import FormatError
from training.row_jsonl import read_jsonl, write_jsonl
from training.row_parquet import read_parquet, write_parquet
from training.rows import EXPORT_HINT, NeutralRow, checked

_F = TypeVar("_F")


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer put into a file."""

    rows: int
    tokens: int
    """Sampled completion tokens."""
    credited: int
    """Those of them that the credit mask keeps."""
    digest: str
    """SHA-256 of the file, hexadecimal."""


def write_rows(path: Path, rows: Iterable[NeutralRow]) -> Written:
    """Write ``rows`` to ``path``, as Parquet or JSONL by its suffix, in bounded memory.

    Raises:
        FormatError: the suffix is neither ``.parquet`` nor ``.jsonl``.
        RowError: a row breaks its contract or does not belong into the same file; nothing is left
            at ``path`` that was not there before.
    """
    write = _by_suffix(path, {".parquet": write_parquet, ".jsonl": write_jsonl})
    part = path.with_name(path.name + ".part")
    counts = _Counts()
    try:
        write(part, counts.over(checked(rows)))
        digest = file_digest(part)
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return Written(counts.rows, counts.tokens, counts.credited, digest)


def read_rows(path: Path) -> Iterator[NeutralRow]:
    """Yield the rows of a file, each checked, in bounded memory.

    Raises:
        FormatError: not a file of neutral rows, or of another schema version.
        RowError: a row breaks its contract, or the file mixes provenances.
    """
    if path.is_dir():
        raise FormatError(
            f"{path}: a folder, not a file", hint="name the file tokens.parquet in it"
        )
    read = _by_suffix(path, {".parquet": read_parquet, ".jsonl": read_jsonl})
    if not path.is_file():
        raise FormatError(f"{path}: no such file", hint=EXPORT_HINT)
    return checked(read(path))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Counts:
    """Rows and tokens that went by."""

    def __init__(self) -> None:
        self.rows = self.tokens = self.credited = 0

    def over(self, rows: Iterable[NeutralRow]) -> Iterator[NeutralRow]:
        for row in rows:
            self.rows += 1
            self.tokens += int(row.completion_mask.sum())
            self.credited += int((row.completion_mask & row.credit_mask).sum())
            yield row


def _by_suffix(path: Path, choices: Mapping[str, _F]) -> _F:
    if path.suffix not in choices:
        raise FormatError(
            f"{path}: neutral rows are .parquet or .jsonl, not {path.suffix or 'without suffix'}",
            hint="name the file tokens.parquet",
        )
    return choices[path.suffix]
