"""Rows: what a file holds before anyone knows what it means, and rows that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dca.formats.source import Source


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file."""

    line: int
    """Line of a text file, item of a JSON array, row of a Parquet file; from 1."""
    fields: Mapping[str, object]
    raw: bytes
    """The record as it came; for Parquet the row as JSON."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was not imported, and why."""

    source: str
    line: int
    """Line, item or row, from 1."""
    reason: str
    """One sentence."""
    raw: bytes
    """The record as it came."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The head of a source, by which its format is told."""

    source: Source
    rows: tuple[Row, ...]
    """The first usable rows, columns already renamed by ``--map``."""
    mapped: Mapping[str, str] = field(default_factory=dict[str, str])
    """Fact to the source's own column, as the user mapped them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the sampled rows, in order of first appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.fields))

    def all_have(self, *names: str) -> bool:
        """Tell whether there are rows and each has every one of these columns."""
        return bool(self.rows) and all(name in row.fields for row in self.rows for name in names)
