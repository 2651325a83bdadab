"""CSV after RFC 4180: UTF-8, a header, lines that end in CR LF; the same rows and columns as the Parquet files.

An empty cell is null, lists are JSON, numbers are written with as many digits as give them back exactly.
"""

from __future__ import annotations

import csv
import io
import json

from metavox_collector.dataset.model import Dataset, DatasetTable, Value
from metavox_collector.dataset.paths import csv_path


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write every table; one that published nothing is a header."""
    return {csv_path(table.name): _file(table) for table in dataset.tables}


def cell(value: Value) -> str:
    """One value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return str(value)


def _file(table: DatasetTable) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    names = [column.name for column in table.columns]
    writer.writerow(names)
    writer.writerows([cell(row[name]) for name in names] for row in table.rows)
    return text.getvalue().encode()
