"""The Parquet files: columns as the data dictionary declares them, and rows that are possible."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, Unusable, content, telling
from metavox_collector.dataset.model import FIGURES

Rows: TypeAlias = list[dict[str, Any]]

_QUANTILES = ("p50", "p75", "p90", "p95", "p99")
_TYPES = {  # as in croissant.py beside it, written a second time
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "list<int64>": pa.list_(pa.int64()),
    "list<double>": pa.list_(pa.float64()),
}


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the Parquet files, a line each."""
    described = dictionary(pack)
    return [problem for table in described["tables"] for problem in _of_table(pack, described, table)]


def read(pack: Pack, path: str) -> pa.Table:
    """A Parquet file; raises Unusable if it is missing or none."""
    try:
        return pq.ParquetFile(pa.BufferReader(content(pack, path))).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unusable(f"{path}: no Parquet: {str(error).splitlines()[0]}") from None


def _of_table(pack: Pack, described: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    path = table["file"]
    try:
        read_back = read(pack, path)
    except Unusable as error:
        yield from error.problems
        return
    wrong = [*_columns(read_back.schema, table), *_metadata(read_back.schema, described, table)]
    wrong += _compression(pack[path])
    if not wrong:  # else a value would be sought in a column that is not there
        wrong += _rows(read_back.to_pylist(), described, table)
    yield from (f"{path}: {problem}" for problem in wrong)


def _columns(schema: pa.Schema, table: dict[str, Any]) -> Iterator[str]:
    declared = {column["name"]: column for column in table["columns"]}
    yield from (f"column {name} is not declared" for name in schema.names if name not in declared)
    yield from (f"column {name} is missing" for name in declared if name not in schema.names)
    if sorted(schema.names) == sorted(declared) and list(schema.names) != list(declared):
        yield "columns are in another order than declared"
    for name in dict.fromkeys(name for name in schema.names if name in declared):
        if schema.names.count(name) > 1:
            yield f"column {name} is there twice"
            continue
        field, column = schema.field(name), declared[name]
        said = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        if not field.type.equals(_TYPES[column["type"]]):
            yield f"column {name} is {field.type}, declared {column['type']}"
        if field.nullable != column["nullable"]:
            yield f"column {name} is {'' if field.nullable else 'not '}nullable, declared otherwise"
        if (said.get("description"), said.get("unit")) != (column["description"], column["unit"]):
            yield f"column {name} has another description or unit than declared"


def _metadata(schema: pa.Schema, described: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    """The facts in the file against those in the dictionary."""
    expected = {
        **described["release"],
        **{key: described["privacy"][key] for key in ("rho_together", "release_sha256", "ledger_head")},
        "dataset": described["name"],
        "table": table["name"],
        "licence": described["licence"],
        "issued": described["issued"],
    }
    said = schema.metadata or {}
    for key, value in expected.items():
        try:
            stated = json.loads(said.get(key.encode(), b"null"))
        except ValueError:
            stated = None
        if stated != value:
            yield f"its metadata says {key} = {stated!r}, the data dictionary {value!r}"


def _compression(file: bytes) -> Iterator[str]:
    metadata = pq.ParquetFile(pa.BufferReader(file)).metadata
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    if any(group.column(i).compression != "ZSTD" for group in groups for i in range(group.num_columns)):
        yield "not compressed by Zstandard"


def _rows(rows: Rows, described: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    if len(rows) != table["rows"]:
        yield f"{len(rows)} rows, declared {table['rows']}"
    empty = list(_empty(rows, table))
    yield from empty
    if empty:
        return
    keys = [tuple(row[name] for name in table["primary_key"]) for row in rows]
    if len(set(keys)) != len(keys):
        yield "two rows have the same key"
    dimensions = [name for name in table["primary_key"] if name not in ("week", "metric")]
    order = [(-row["contributors"], *(row[name] for name in dimensions)) for row in rows]
    if any(a > b for a, b in itertools.pairwise(order)):
        yield "rows are not sorted by contributors and key"
    metrics = {metric["name"]: metric for metric in described["metrics"]}
    for number, row in enumerate(rows, 1):
        for problem in _row(row, described["release"], table, metrics):
            yield f"row {number}: {problem}"


def _empty(rows: Rows, table: dict[str, Any]) -> Iterator[str]:
    needed = [column["name"] for column in table["columns"] if not column["nullable"]]
    for number, row in enumerate(rows, 1):
        yield from (f"row {number}: {name} is empty" for name in needed if row[name] is None)


def _row(
    row: dict[str, Any], release: dict[str, Any], table: dict[str, Any], metrics: dict[str, Any]
) -> Iterator[str]:
    for column in table["columns"]:
        value = row[column["name"]]
        if "vocabulary" in column and value not in column["vocabulary"]:
            yield f"{column['name']} is {value!r}, which is not in its vocabulary"
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{column['name']} is {value}"
    if (row["week"], row["synthetic"]) != (release["week"], release["synthetic"]):
        yield f"week and synthetic are {row['week']!r} and {row['synthetic']}, not the release's"
    if row["contributors"] < table["threshold"]:
        yield f"contributors {row['contributors']} are below the threshold {table['threshold']}"
    if table["histogram_noise_scales"]:
        metric = metrics.get(row["metric"])
        yield from [f"metric is {row['metric']!r}"] if metric is None else _measured(row, metric)


def _measured(row: dict[str, Any], metric: dict[str, Any]) -> Iterator[str]:
    if row["unit"] != metric["unit"]:
        yield f"unit is {row['unit']!r}, that of {metric['name']} {metric['unit']!r}"
    numbers = sum(number is not None for number in row["noisy"])
    if (numbers, len(row["noisy"])) != (metric["spread_buckets"], metric["spread_buckets"]):
        yield f"noisy has {numbers} numbers, {metric['name']} {metric['spread_buckets']}"
    yield from _histogram(row["histogram"], metric)
    for name in FIGURES:
        yield from _interval(row, name, possible=(name == "share") == metric["rate"])
    given = [row[name] for name in _QUANTILES if row[name] is not None]
    if any(a > b for a, b in itertools.pairwise(given)):
        yield "quantiles do not ascend"
    if any(row[name] is not None and not 0 <= row[name] <= 1 for name in ("share", "share_low", "share_high")):
        yield "share is not between 0 and 1"


def _histogram(shares: Sequence[float | None] | None, metric: dict[str, Any]) -> Iterator[str]:
    if shares is None:
        return
    if len(shares) != metric["buckets"]:
        yield f"histogram has {len(shares)} buckets, {metric['name']} {metric['buckets']}"
    elif any(share is None or not 0 <= share <= 1 for share in shares) or not math.isclose(
        math.fsum(filter(None, shares)), 1, abs_tol=1e-4
    ):
        yield "histogram is not of shares that add up to 1"


def _interval(row: dict[str, Any], name: str, *, possible: bool) -> Iterator[str]:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    given = [one for one in (value, low, high) if one is not None]
    if not given:
        return
    if not possible:
        yield f"{name} is given, which {row['metric']} has not"
    elif len(given) != 3:
        yield f"{name} and its interval are not given together"
    elif not low <= value <= high:
        yield f"{name} is outside of its interval"
