"""Whether the data files hold what the raw release says, and no figure that does not follow from its noise."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from metavox_collector.dataset.emit.parquet import arrow_schema, metadata_of
from metavox_collector.dataset.model import Dataset, DatasetTable, Row, Value
from metavox_collector.dataset.paths import parquet_path
from metavox_collector.proof.problem import Problem

TOLERANCE = 1e-3
"""By what part a figure may differ from the one that is estimated again: least squares on another machine's linear
algebra end elsewhere in the last digits, and a forged figure of a part in a thousand deceives nobody."""

_MOST_BYTES = 2**30
"""Of a table when it is read; one of 2,000 cells and four metrics takes some 20 MB."""

_FEW = 5
"""How many rows of a file are named one by one."""


def check(dataset: Dataset, files: Mapping[str, bytes]) -> Iterator[Problem]:
    """Hold every Parquet file against the tables that were estimated again."""
    for table in dataset.tables:
        name = parquet_path(table.name)
        if name in files:
            yield from (Problem(name, words) for words in _file(dataset, table, files[name]))
        else:
            yield Problem(name, "it is missing")


def as_published(dataset: Dataset, files: Mapping[str, bytes]) -> Dataset:
    """The same dataset with the rows that its Parquet files hold, from which all other files were made.

    Raises:
        ValueError: if one of them cannot be read.
    """
    tables = tuple(replace(table, rows=_rows(files[parquet_path(table.name)])) for table in dataset.tables)
    return replace(dataset, tables=tables)


def _rows(content: bytes) -> tuple[Row, ...]:
    return tuple(_read(content).to_pylist())


def _read(content: bytes, rows: int | None = None) -> pa.Table:
    """Raises ValueError for what is no Parquet, however it fails to be, or would fill the memory."""
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        groups = (file.metadata.row_group(n) for n in range(file.metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) > _MOST_BYTES:
            raise ValueError("it would take more memory than a table of a release does, so it was not read")
        if rows is not None and file.metadata.num_rows != rows:
            raise ValueError(f"it has {file.metadata.num_rows} rows; the raw release makes {rows}")
        return file.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _file(dataset: Dataset, table: DatasetTable, content: bytes) -> Iterator[str]:
    try:
        found = _read(content, len(table.rows))
    except ValueError as error:
        yield str(error)
        return
    expected = arrow_schema(table.columns).with_metadata(metadata_of(dataset, table))
    if not found.schema.equals(expected, check_metadata=False):
        yield "its columns are not the declared ones, by name, order, type or whether they may be empty"
        return
    if _said(found.schema) != _said(expected):
        yield "what it says of itself and of its columns is not what belongs there"
    yield from _differences(found.to_pylist(), table)


def _said(schema: pa.Schema) -> list[Mapping[bytes, bytes] | None]:
    """What a file says of itself and of each of its columns; the name of a list's items is the library's."""
    return [schema.metadata, *(field.metadata for field in schema)]


def _differences(found: Sequence[Row], table: DatasetTable) -> Iterator[str]:
    wrong = [words for row, expected in zip(found, table.rows, strict=True) for words in _row(row, expected, table)]
    yield from wrong[:_FEW]
    if len(wrong) > _FEW:
        yield f"{len(wrong) - _FEW} more values do not follow from the raw release"


def _row(row: Row, expected: Row, table: DatasetTable) -> Iterator[str]:
    for column in table.columns:
        name = column.name
        if not _alike(row[name], expected[name]):
            parts = [part for part in (*table.released.dimensions, "metric") if part in expected]
            which = ", ".join(str(expected[part]) for part in parts)
            yield f"{name} of {which} is {_brief(row[name])}; the raw release makes it {_brief(expected[name])}"


def _alike(value: Value, expected: Value) -> bool:
    if isinstance(value, float) and isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE * 1e-3)
    if isinstance(value, list) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(_alike, value, expected))
    return type(value) is type(expected) and value == expected


def _brief(value: Value) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "empty" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
