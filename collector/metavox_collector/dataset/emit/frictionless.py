"""Frictionless Data Package v2 (https://datapackage.org/standard/data-package/), as ``datapackage.json``.

Two resources for each table, both with their bytes and SHA-256: the CSV file, whose Table Schema says types,
constraints, units and key; and the Parquet file, which carries its own schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from metavox_collector.dataset import words
from metavox_collector.dataset.columns import Column
from metavox_collector.dataset.emit.licences import offered
from metavox_collector.dataset.facts import primary_key
from metavox_collector.dataset.json_text import legible
from metavox_collector.dataset.licences import LICENCES
from metavox_collector.dataset.model import Dataset, DatasetTable
from metavox_collector.dataset.paths import DATA_PACKAGE, csv_path, parquet_path

PROFILES = "https://datapackage.org/profiles/2.0"

TYPES = {
    "string": "string",
    "int64": "integer",
    "double": "number",
    "bool": "boolean",
    "list<int64>": "array",
    "list<double>": "array",
}
"""Table Schema's type for each type that a column can have."""


def emit(dataset: Dataset, data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Describe the data files of a pack, whose bytes are in ``data`` by path.

    Raises:
        NotAllowed: for a release that was not made to be published.
    """
    offered(dataset)
    described = {
        "$schema": f"{PROFILES}/datapackage.json",
        "name": dataset.name.lower(),
        "title": dataset.title,
        "description": f"{words.summary(dataset)}\n\n{words.price(dataset)}",
        "version": dataset.version,
        "created": f"{dataset.issued.isoformat()}T00:00:00Z",
        **({"homepage": dataset.publisher.url} if dataset.publisher.url else {}),
        "keywords": list(words.KEYWORDS),
        "licenses": [
            {"name": licence.identifier, "path": licence.path, "title": licence.name} for licence in LICENCES
        ],
        "sources": [{"title": words.RAW_DATA}],
        "contributors": [_publisher(dataset)],
        "resources": [one for table in dataset.tables for one in (_csv(table, data), _parquet(table, data))],
    }
    return {DATA_PACKAGE: legible(described)}


def _publisher(dataset: Dataset) -> dict[str, Any]:
    publisher = dataset.publisher
    path = {"path": publisher.url} if publisher.url else {}
    return {"title": publisher.name, **path, "email": publisher.email, "roles": ["publisher"]}


def _csv(table: DatasetTable, data: Mapping[str, bytes]) -> dict[str, Any]:
    path = csv_path(table.name)
    return {
        "$schema": f"{PROFILES}/dataresource.json",
        "name": table.name,
        "type": "table",
        "title": table.question,
        "path": path,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        **_content(data[path]),
        "schema": {
            "$schema": f"{PROFILES}/tableschema.json",
            "fields": [_field(column) for column in table.columns],
            "missingValues": [""],
            "primaryKey": list(primary_key(table)),
        },
    }


def _parquet(table: DatasetTable, data: Mapping[str, bytes]) -> dict[str, Any]:
    path = parquet_path(table.name)
    return {
        "$schema": f"{PROFILES}/dataresource.json",
        "name": f"{table.name}-parquet",
        "title": table.question,
        "description": "The same rows as Parquet, with the schema in the file.",
        "path": path,
        # By the name "parquet" frictionless-py would read it through pandas, where a column of lists stops it.
        "format": "apache-parquet",
        "mediatype": "application/vnd.apache.parquet",
        **_content(data[path]),
    }


def _content(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "hash": f"sha256:{hashlib.sha256(content).hexdigest()}"}


def _field(column: Column) -> dict[str, Any]:
    constraints: dict[str, Any] = {} if column.nullable else {"required": True}
    if column.vocabulary:
        constraints["enum"] = list(column.vocabulary)
    if column.name.split("_")[0] == "share":
        constraints |= {"minimum": 0, "maximum": 1}
    return {
        "name": column.name,
        "type": TYPES[column.type],
        "description": column.description,
        **({"unit": column.unit} if column.unit else {}),
        **({"constraints": constraints} if constraints else {}),
    }
