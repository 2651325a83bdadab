"""The CSV files: RFC 4180, and the same rows as the Parquet files, value by value."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.parquet import read
from metavox_collector.dataset.checks.reading import Pack, Unusable, telling, text

_MOST = 5
"""Differences that are named in one file; a file of another week would differ everywhere."""


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the CSV files, a line each."""
    described = dictionary(pack)
    return [problem for table in described["tables"] for problem in _of_table(pack, table)]


def _of_table(pack: Pack, table: dict[str, Any]) -> list[str]:
    path = table["csv"]
    try:
        written, parquet = text(pack, path), read(pack, table["file"])
    except Unusable as error:
        return error.problems
    return [f"{path}: {problem}" for problem in _problems(written, parquet.to_pylist(), table)]


def _problems(written: str, expected: list[dict[str, Any]], table: dict[str, Any]) -> Iterator[str]:
    if "\n" in written.replace("\r\n", "") or "\r" in written.replace("\r\n", "") or not written.endswith("\r\n"):
        yield "its lines do not end in CR LF"
    try:
        header, *rows = csv.reader(io.StringIO(written, newline=""), strict=True)
    except (csv.Error, ValueError) as error:
        yield f"no CSV: {error}"
        return
    names = [column["name"] for column in table["columns"]]
    if header != names:
        yield f"its header is not {','.join(names)}"
    elif len(rows) != len(expected):
        yield f"{len(rows)} rows, {len(expected)} in {table['file']}"
    else:
        differences = list(_differences(rows, expected, table))
        yield from differences[:_MOST]
        if len(differences) > _MOST:
            yield f"and {len(differences) - _MOST} more values differ from {table['file']}"


def _differences(rows: list[list[str]], expected: list[dict[str, Any]], table: dict[str, Any]) -> Iterator[str]:
    for number, (cells, row) in enumerate(zip(rows, expected, strict=True), 1):
        if len(cells) != len(table["columns"]):
            yield f"row {number} has {len(cells)} cells"
            continue
        for written, column in zip(cells, table["columns"], strict=True):
            name = column["name"]
            if name not in row or not _same(written, row[name], column["type"]):
                yield f"row {number}: {name} is {written[:40]!r}, not as in {table['file']}"


def _same(written: str, value: Any, kind: str) -> bool:
    """Whether a cell says the value; numbers to the last digit."""
    if value is None or written == "":
        return value is None and written == ""
    try:
        read_back: Any = _READERS[kind](written)
    except ValueError:
        return False
    return type(read_back) is type(value) and bool(read_back == value)


def _boolean(written: str) -> bool:
    if written not in ("true", "false"):
        raise ValueError(f"{written!r} is neither true nor false")
    return written == "true"


def _list(written: str) -> list[Any]:
    value = json.loads(written)
    if not isinstance(value, list):
        raise ValueError(f"{written!r} is no list")
    return value


_READERS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "int64": int,
    "double": float,
    "bool": _boolean,
    "list<int64>": _list,
    "list<double>": _list,
}
