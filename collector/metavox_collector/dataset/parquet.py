"""The Parquet emitter: one file for each table, with the release's facts in the file's own metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from metavox_collector.dataset.columns import Column, columns_of
from metavox_collector.dataset.dictionary import costs, facts
from metavox_collector.dataset.figures import rows_of
from metavox_collector.dataset.statement import Statement
from metavox_collector.store import LabelledRelease
from metavox_privacy.schema import Schema

_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "list<int64>": pa.list_(pa.int64()),
}


def write(labelled: LabelledRelease, statement: Statement, schema: Schema, directory: Path) -> None:
    """Write every table of a release; one that published nothing is an empty file with its columns."""
    declared = {table.name: table for table in schema.tables}
    stated = {**facts(labelled.release, synthetic=labelled.synthetic), **costs(statement)}
    metadata = {key: json.dumps(value) for key, value in stated.items()}
    for released in labelled.release.tables:
        arrow = arrow_schema(columns_of(declared[released.name], schema)).with_metadata(metadata)
        rows = pa.Table.from_pylist(list(rows_of(labelled, released, schema)), schema=arrow)
        pq.write_table(rows, directory / f"{released.name}.parquet", compression="zstd")


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of declared columns."""
    return pa.schema(
        [
            pa.field(c.name, _TYPES[c.type], nullable=c.nullable, metadata={"description": c.description})
            for c in columns
        ]
    )
