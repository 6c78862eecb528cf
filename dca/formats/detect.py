"""Which format a source has, and its rows as drafts."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import cast

from dca.domain.errors import FormatError, UsageError
from dca.formats.chat import CHAT
from dca.formats.csv_rows import csv_rows
from dca.formats.draft import Format, Reader, ReadOptions, lacking
from dca.formats.jsonl import jsonl_rows
from dca.formats.parquet_rows import parquet_rows
from dca.formats.plain import ALIASES, PLAIN
from dca.formats.row import Reject, Row, Sample
from dca.formats.source import Source, open_source
from dca.formats.trl import TRL
from dca.formats.verifiers import VERIFIERS
from dca.formats.verl import VERL

FORMATS: tuple[Format, ...] = (TRL, VERL, VERIFIERS, CHAT, PLAIN)
"""Every format, the most particular first: the first that recognises a sample is taken."""
HEAD = 20
"""Usable rows by which a format is told."""
HEAD_LIMIT = 1000
"""Rows looked at, usable or not."""
MAP_HINT = "Say which columns hold what: --map prompt=COLUMN,completion=COLUMN,reward=COLUMN."
"""What helps against columns that no format knows."""
_TARGETS = (*ALIASES, "messages", "token_ids", "prompt_ids", "logprobs", "offsets")


@dataclass(frozen=True, slots=True)
class Detected:
    """A source whose format is known."""

    source: Source
    format: Format
    reason: str
    """Why this format, one clause."""
    sample: Sample
    rejects: tuple[Reject, ...]
    """Unusable rows met before the sample was complete."""
    reader: Reader


def read_rows(source: Source, mapping: Mapping[str, str]) -> Iterator[Row | Reject]:
    """Yield the rows of a source with columns renamed.

    Args:
        source: What to read.
        mapping: Fact to column, as in ``{"prompt": "question"}``.

    Raises:
        FormatError: The source as a whole cannot be read.
    """
    for row in _raw_rows(source):
        if mapping and isinstance(row, Row):
            yield replace(row, fields=renamed(row.fields, mapping))
        else:
            yield row


def _raw_rows(source: Source) -> Iterator[Row | Reject]:
    if source.kind == "parquet":
        yield from parquet_rows(cast(Path, source.path))
        return
    with open_source(source) as stream:
        if source.kind == "csv":
            yield from csv_rows(source.name, stream, tabbed=source.tabbed)
        else:
            yield from jsonl_rows(source.name, stream)


def renamed(fields: Mapping[str, object], mapping: Mapping[str, str]) -> dict[str, object]:
    """Return the fields under the names that they are mapped to, in the order that they had.

    A column that already has such a name, but is not the one mapped to it, keeps its value as
    ``source.NAME``.
    """
    facts: dict[str, list[str]] = {}
    for fact, column in mapping.items():
        facts.setdefault(column, []).append(fact)
    found: dict[str, object] = {}
    for name, value in fields.items():
        unused = f"source.{name}" if name in mapping else name
        found.update(dict.fromkeys(facts.get(name, [unused]), value))
    return found


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Refuse a mapping to a fact that no format knows.

    Raises:
        UsageError: The unknown name, with the nearest known one.
    """
    for fact in mapping:
        if fact not in _TARGETS:
            near = difflib.get_close_matches(fact, _TARGETS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(_TARGETS)}."
            raise UsageError(f"--map: nothing is called {fact!r}", hint=hint)


def detect(
    source: Source,
    rows: Iterator[Row | Reject],
    *,
    forced: str | None = None,
    mapping: Mapping[str, str] | None = None,
    options: ReadOptions | None = None,
) -> tuple[Detected | None, Iterator[Row | Reject]]:
    """Tell the format of a source by its first rows.

    Returns:
        What was found (``None`` when there is no usable row at all) and every row again.

    Raises:
        FormatError: No format fits, or a mapped column does not occur.
        UsageError: ``forced`` names no format.
    """
    head: list[Row | Reject] = []
    usable: list[Row] = []
    for row in islice(rows, HEAD_LIMIT):
        head.append(row)
        if isinstance(row, Row):
            usable.append(row)
        if len(usable) == HEAD:
            break
    again = chain(head, rows)
    if not usable:
        return None, again
    sample = Sample(source, tuple(usable), mapping or {})
    _check_columns(sample)
    rejects = tuple(row for row in head if isinstance(row, Reject))
    chosen, reason = _choose(sample, forced, rejects)
    reader = chosen.reader(sample, options or ReadOptions())
    return Detected(source, chosen, reason, sample, rejects, reader), again


def _check_columns(sample: Sample) -> None:
    for fact, column in sample.mapped.items():
        if fact not in sample.columns:
            raise FormatError(
                f"{sample.source.name}: --map {fact}={column}: no column {column!r}",
                hint=f"Its columns are {', '.join(sample.columns)}.",
            )


def _choose(sample: Sample, forced: str | None, rejects: Sequence[Reject]) -> tuple[Format, str]:
    if forced is not None:
        return _forced(sample, forced), "chosen with --format"
    for candidate in FORMATS:
        reason = candidate.detect(sample)
        if reason:
            return candidate, reason
    columns = ", ".join(sample.columns)
    # Broken lines before the sample may be all that is wrong, so the first is named.
    broken = f"; line {rejects[0].line} is unusable: {rejects[0].reason}" if rejects else ""
    raise FormatError(
        f"{sample.source.name}: unknown format with the columns {columns}{broken}", hint=MAP_HINT
    )


def _forced(sample: Sample, name: str) -> Format:
    """Return the format of a name when the sample has the columns that it needs."""
    named = {item.name: item for item in FORMATS}
    if name not in named:
        raise UsageError(f"no format {name!r}", hint=f"Choose one of {', '.join(named)}.")
    missing = lacking(named[name], sample)
    if missing:
        what = "column" if len(missing) == 1 else "columns"
        raise FormatError(
            f"{sample.source.name}: --format {name} needs the {what} {', '.join(missing)}",
            hint=f"Its columns are {', '.join(sample.columns)}; without --format the content"
            " tells the format, and --map FACT=COLUMN names columns.",
        )
    return named[name]
