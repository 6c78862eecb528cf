"""Neutral rows in JSONL: one JSON object per line, its keys the columns of the Parquet file."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from dca.domain.errors import FormatError
from dca.domain.rollout import Sampling
from training.rows import (
    ARRAYS,
    EXPORT_HINT,
    SAMPLING_FIELDS,
    SCHEMA_VERSION,
    NeutralRow,
    Provenance,
    check_version,
    refuse_sft_export,
)


class _Line(msgspec.Struct):
    """One JSONL line; after ``schema``, the columns of the Parquet file."""

    schema: str
    rollout_id: str
    group_id: str
    task: str
    step: int | None
    model: str
    prompt_ids: list[int]
    completion_ids: list[int]
    completion_mask: list[bool]
    offsets: list[tuple[int, int]]
    logprobs: list[float] | None
    ref_logprobs: list[float] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    seed: int | None
    truncated: bool | None
    reward: float
    method: str
    advantage: list[float]
    weight: list[float]
    credit_mask: list[bool]
    label: list[int]
    span_id: list[int]
    confidence: list[float]
    persona: str | None
    completion: str
    provenance: Provenance


def write_jsonl(path: Path, rows: Iterable[NeutralRow]) -> None:
    """Write ``rows`` to ``path``, holding one row in memory."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for row in rows:
            file.write(encode(_line(row)))
            file.write(b"\n")


def _line(row: NeutralRow) -> dict[str, object]:
    line: dict[str, object] = {"schema": SCHEMA_VERSION}
    for name in _Line.__struct_fields__[1:]:
        value = getattr(row.sampling if name in SAMPLING_FIELDS else row, name)
        line[name] = value.tolist() if isinstance(value, np.ndarray) else value
    return line


def read_jsonl(path: Path) -> Iterator[NeutralRow]:
    """Yield the rows of ``path`` unchecked; raise ``FormatError`` at a line that is none."""
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            try:
                line = decoder.decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                refuse_sft_export(str(path), _keys(text))
                raise FormatError(f"{path}: line {number}: {error}", hint=EXPORT_HINT) from error
            check_version(f"{path}: line {number}", line.schema)
            yield _from_line(line, f"{path}: line {number}")


def _keys(text: bytes) -> list[str]:
    """Return the keys of a line, none when it is no JSON object."""
    try:
        return list(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _from_line(line: _Line, where: str) -> NeutralRow:
    values = msgspec.structs.asdict(line)
    del values["schema"]
    for name, kind in ARRAYS.items():
        shape = (-1, 2) if name == "offsets" else (-1,)
        if values[name] is None:
            continue
        try:
            values[name] = np.array(values[name], kind).reshape(shape)
        except OverflowError as error:
            raise FormatError(f"{where}: {name}: {error}", hint=EXPORT_HINT) from error
    sampling = Sampling(**{name: values.pop(name) for name in SAMPLING_FIELDS})
    return NeutralRow(**values, sampling=sampling)
