"""Rows of Parquet files, read in small batches so that memory stays flat."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dca.domain.errors import FormatError
from dca.formats.row import Reject, Row

BATCH = 256
"""Rows decoded at once."""


def parquet_rows(path: Path) -> Iterator[Row | Reject]:
    """Yield the rows of a Parquet file; ``line`` counts rows from 1.

    Raises:
        FormatError: The file is no Parquet file, or a page of it is broken.
    """
    try:
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            line = 0
            for batch in file.iter_batches(batch_size=BATCH, use_threads=False):
                for index in range(batch.num_rows):
                    line += 1
                    yield _row(str(path), line, batch.slice(index, 1))
    except (pa.ArrowException, OSError) as error:
        raise FormatError(
            f"{path}: not a readable Parquet file: {error}",
            hint="Check that the file is whole; a compressed Parquet file must be unpacked first.",
        ) from error


def _row(name: str, line: int, one: Any) -> Row | Reject:  # noqa: ANN401 - pyarrow ships no types
    """Return the only row of the record batch ``one``."""
    try:
        fields: dict[str, Any] = one.to_pylist(maps_as_pydicts="lossy")[0]
    except UnicodeDecodeError as error:
        return Reject(name, line, f"not UTF-8: {error.reason}", _bytes_of(one))
    return Row(line, fields, json.dumps(fields, ensure_ascii=False, default=str).encode())


def _bytes_of(one: Any) -> bytes:  # noqa: ANN401 - pyarrow ships no types
    """Return the text columns of a row as they lie in the file, one a line."""
    parts = [
        column.cast(pa.binary())[0].as_py() or b""
        for column in one.columns
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ]
    return b"\n".join(parts)
