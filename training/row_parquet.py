"""Neutral rows in Parquet: one row per rollout, row groups of bounded size."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

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

GROUP_TOKENS = 1_000_000
"""A row group is written when its prompts and completions hold this many tokens: about 40 MB."""
READ_ROWS = 64
"""Rows decoded at a time."""

Arrow = Any
"""A value of pyarrow, which ships no types."""
Array = NDArray[Any]


def _required(name: str, kind: Arrow) -> Arrow:
    return pa.field(name, kind, nullable=False)


_OFFSET = pa.struct([_required("start", pa.int32()), _required("stop", pa.int32())])
_PROVENANCE = pa.struct(
    [
        _required("consensus", pa.string()),
        _required("label_set", pa.string()),
        _required("panel", pa.list_(pa.string())),
        _required("tokenizer", pa.string()),
        _required("tokenizer_sha", pa.string()),
        _required("ids_exact", pa.bool_()),
        _required("dca_version", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        _required("rollout_id", pa.string()),
        _required("group_id", pa.string()),
        _required("task", pa.string()),
        pa.field("step", pa.int64()),
        _required("model", pa.string()),
        _required("prompt_ids", pa.list_(pa.int32())),
        _required("completion_ids", pa.list_(pa.int32())),
        _required("completion_mask", pa.list_(pa.bool_())),
        _required("offsets", pa.list_(_OFFSET)),
        pa.field("logprobs", pa.list_(pa.float32())),
        pa.field("ref_logprobs", pa.list_(pa.float32())),
        pa.field("temperature", pa.float64()),
        pa.field("top_p", pa.float64()),
        pa.field("top_k", pa.int64()),
        pa.field("min_p", pa.float64()),
        pa.field("seed", pa.int64()),
        pa.field("truncated", pa.bool_()),
        _required("reward", pa.float64()),
        _required("method", pa.string()),
        _required("advantage", pa.list_(pa.float32())),
        _required("weight", pa.list_(pa.float32())),
        _required("credit_mask", pa.list_(pa.bool_())),
        _required("label", pa.list_(pa.int8())),
        _required("span_id", pa.list_(pa.int32())),
        _required("confidence", pa.list_(pa.float32())),
        pa.field("persona", pa.string()),
        _required("completion", pa.string()),
        _required("provenance", _PROVENANCE),
    ],
    metadata={"dca.schema": SCHEMA_VERSION},
)
"""The columns of a Parquet file."""


def write_parquet(path: Path, rows: Iterable[NeutralRow]) -> None:
    """Write ``rows`` to ``path``, holding one row group in memory."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for group in _row_groups(rows):
            columns = [_column(field, group) for field in SCHEMA]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))


def _row_groups(rows: Iterable[NeutralRow]) -> Iterator[list[NeutralRow]]:
    group: list[NeutralRow] = []
    tokens = 0
    for row in rows:
        group.append(row)
        tokens += len(row.prompt_ids) + len(row)
        if tokens >= GROUP_TOKENS:
            yield group
            group, tokens = [], 0
    if group:
        yield group


def _column(field: Arrow, rows: Sequence[NeutralRow]) -> Arrow:
    name: str = field.name
    if name in ARRAYS:
        return _list_array(name, [getattr(row, name) for row in rows])
    if name == "provenance":
        return pa.array([asdict(row.provenance) for row in rows], field.type)
    if name in SAMPLING_FIELDS:
        return pa.array([getattr(row.sampling, name) for row in rows], field.type)
    return pa.array([getattr(row, name) for row in rows], field.type)


def _list_array(name: str, values: Sequence[Array | None]) -> Arrow:
    lengths = [0 if value is None else len(value) for value in values]
    bounds = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    given = [value.astype(ARRAYS[name], copy=False) for value in values if value is not None]
    flat = np.concatenate(given) if given else np.empty(0, ARRAYS[name])
    items = pa.array(flat) if name != "offsets" else _pairs(flat)
    missing = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(bounds, items, type=SCHEMA.field(name).type, mask=missing)


def _pairs(flat: Array) -> Arrow:
    columns = [pa.array(np.ascontiguousarray(flat[:, side])) for side in (0, 1)]
    return pa.StructArray.from_arrays(columns, fields=list(_OFFSET))


def read_parquet(path: Path) -> Iterator[NeutralRow]:
    """Yield the rows of ``path`` unchecked; raise ``FormatError`` when it holds none."""
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow)
            for batch in file.iter_batches(batch_size=READ_ROWS):
                yield from _decode(path, batch)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path}: not a readable Parquet file: {error}") from error


def _check_schema(path: Path, schema: Arrow) -> None:
    refuse_sft_export(str(path), schema.names)
    version = (schema.metadata or {}).get(b"dca.schema", b"none").decode()
    check_version(str(path), version)
    for field in SCHEMA:
        if field.name not in schema.names:
            raise FormatError(f"{path}: column {field.name!r} is missing", hint=EXPORT_HINT)


def _decode(path: Path, batch: Arrow) -> Iterator[NeutralRow]:
    columns: dict[str, list[Any]] = {}
    for field in SCHEMA:
        column = batch.column(field.name).cast(field.type)
        if not field.nullable and _has_null(column):
            raise FormatError(f"{path}: column {field.name!r} holds null", hint=EXPORT_HINT)
        columns[field.name] = (
            _slices(column, field.name) if field.name in ARRAYS else column.to_pylist()
        )
    for at in range(batch.num_rows):
        yield _row({name: values[at] for name, values in columns.items()})


def _has_null(column: Arrow) -> bool:
    """Tell whether the column, or anything nested in it, is null."""
    nested = column.flatten() if pa.types.is_nested(column.type) else []
    parts = nested if isinstance(nested, list) else [nested]
    return column.null_count > 0 or any(_has_null(part) for part in parts)


def _slices(column: Arrow, name: str) -> list[Array | None]:
    bounds = column.offsets.to_numpy()
    items = column.values
    if name == "offsets":
        sides = [items.field(side).to_numpy() for side in ("start", "stop")]
        flat = np.stack(sides, axis=1)
    else:
        flat = items.to_numpy(zero_copy_only=False)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return [
        flat[start:stop].astype(ARRAYS[name]) if ok else None
        for start, stop, ok in zip(bounds[:-1], bounds[1:], valid, strict=True)
    ]


def _row(values: dict[str, Any]) -> NeutralRow:
    provenance = values.pop("provenance")
    panel = tuple(provenance.pop("panel"))
    sampling = Sampling(**{name: values.pop(name) for name in SAMPLING_FIELDS})
    return NeutralRow(
        **values, sampling=sampling, provenance=Provenance(**provenance, panel=panel)
    )
