"""Parquet: one file for each table, compressed by Zstandard, with the release's facts in the file's own metadata.

A file is sorted by contributors, most of them first, and then by key, and says so (``sorting_columns``). A column's
metadata holds its ``description`` and, where it has one, its UCUM ``unit``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from metavox_collector.dataset.columns import Column
from metavox_collector.dataset.facts import costs, facts, licence
from metavox_collector.dataset.model import Dataset, DatasetTable
from metavox_collector.dataset.paths import parquet_path

ARROW_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "list<int64>": pa.list_(pa.int64()),
    "list<double>": pa.list_(pa.float64()),
}
"""Arrow's type for each type that a column can have."""


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write every table; one that published nothing is an empty file with its columns."""
    return {parquet_path(table.name): _file(dataset, table) for table in dataset.tables}


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of declared columns."""
    return pa.schema([_field(column) for column in columns])


def metadata_of(dataset: Dataset, table: DatasetTable) -> dict[str, str]:
    """What a file says of itself, each value as JSON."""
    stated = {
        "dataset": dataset.name,
        "table": table.name,
        "question": table.question,
        "publisher": dataset.publisher.name,
        "issued": dataset.issued.isoformat(),
        "licence": licence(dataset.release),
        **facts(dataset.labelled.release, synthetic=dataset.synthetic),
        **costs(dataset.statement),
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in stated.items()}


def _field(column: Column) -> pa.Field:
    metadata = {"description": column.description, **({"unit": column.unit} if column.unit else {})}
    return pa.field(column.name, ARROW_TYPES[column.type], nullable=column.nullable, metadata=metadata)


def _file(dataset: Dataset, table: DatasetTable) -> bytes:
    schema = arrow_schema(table.columns).with_metadata(metadata_of(dataset, table))
    order = [("contributors", "descending"), *((name, "ascending") for name in table.released.dimensions)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pylist(list(table.rows), schema=schema),
        sink,
        compression="zstd",
        compression_level=9,
        sorting_columns=pq.SortingColumn.from_ordering(schema, order),
    )
    return bytes(sink.getvalue())
