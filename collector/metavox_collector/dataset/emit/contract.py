"""The Open Data Contract Standard 3.1 document: what a buyer's pipeline may rely on, in YAML.

https://bitol-io.github.io/open-data-contract-standard/v3.1.0/. The quality rules are SQL that DuckDB runs in the
pack's directory; each counts rows that break a promise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

from metavox_collector.dataset.columns import Column
from metavox_collector.dataset.emit import yaml_text
from metavox_collector.dataset.emit.licences import offered
from metavox_collector.dataset.facts import first_day, last_day, primary_key
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY, EXPRESSION
from metavox_collector.dataset.model import FIGURES, Dataset, DatasetTable
from metavox_collector.dataset.paths import DATASHEET, DICTIONARY, csv_path, parquet_path
from metavox_collector.dataset.series import SERIES, cadence, latency_days
from metavox_collector.dataset.words import limitations, summary, uses
from metavox_collector.estimate import QUANTILES

PATH: Final = "contract.odcs.yaml"
API_VERSION: Final = "v3.1.0"
IDENTIFIER: Final = "metavox-llm-inference-performance"
"""The contract's, which stays while its version changes with every release."""

LOGICAL: Final = {
    "string": ("string", "VARCHAR", {}),
    "int64": ("integer", "BIGINT", {"format": "i64"}),
    "double": ("number", "DOUBLE", {"format": "f64"}),
    "bool": ("boolean", "BOOLEAN", {}),
    "list<int64>": ("array", "BIGINT[]", {}),
    "list<double>": ("array", "DOUBLE[]", {}),
}
"""By a column's type: the standard's logical type, DuckDB's type, and what else the standard asks."""

_SHORT_VOCABULARY: Final = 40
"""Longer ones stand in the data dictionary alone."""


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write the contract; raises NotAllowed for a release that was not made to be published."""
    offered(dataset)
    return {PATH: yaml_text.encode(contract(dataset))}


def contract(dataset: Dataset) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": IDENTIFIER,
        "name": SERIES,
        "version": dataset.version,
        "status": "draft" if dataset.synthetic else "active",
        "domain": "llm-inference",
        "dataProduct": SERIES,
        "tenant": dataset.publisher.name,
        "tags": ["differential-privacy", *(["synthetic"] if dataset.synthetic else [])],
        "description": {
            "purpose": summary(dataset),
            "usage": " ".join(uses()),
            "limitations": " ".join(limitations(dataset)),
            "authoritativeDefinitions": [
                {"type": "businessDefinition", "url": DICTIONARY},
                {"type": "implementation", "url": DATASHEET},
            ],
        },
        "servers": [_server("parquet", parquet_path("*")), _server("csv", csv_path("*"))],
        "schema": [_object(dataset, table) for table in dataset.tables],
        "price": {"priceAmount": 0, "priceCurrency": "EUR", "priceUnit": f"release under {COMMUNITY.identifier}"},
        "team": _team(dataset),
        "roles": [
            {"role": "reader", "access": "read", "description": "whoever holds the pack; nothing can be written"}
        ],
        "support": _support(dataset),
        "slaProperties": _service_levels(dataset),
        "contractCreatedTs": f"{dataset.issued.isoformat()}T00:00:00Z",
        "customProperties": [
            {"property": "licence", "value": EXPRESSION},
            {"property": "commercialPrice", "value": f"by contract; see {COMMERCIAL.path}"},
            {"property": "synthetic", "value": dataset.synthetic},
            {"property": "releaseSha256", "value": dataset.statement.release},
        ],
    }


def _server(name: str, path: str) -> dict[str, Any]:
    words = f"the {name} files, relative to the pack's directory"
    return {"server": name, "type": "local", "path": path, "format": name, "description": words}


def _object(dataset: Dataset, table: DatasetTable) -> dict[str, Any]:
    key = primary_key(table)
    grain = "one cell and metric" if table.declared.metrics else "one cell"
    return {
        "name": table.name,
        "logicalType": "object",
        "physicalName": parquet_path(table.name),
        "physicalType": "table",
        "description": table.question,
        "dataGranularityDescription": f"One row is {grain} of {dataset.week}.",
        "properties": [_property(column, key) for column in table.columns],
        "quality": list(_rules(dataset, table)),
    }


def _property(column: Column, key: tuple[str, ...]) -> dict[str, Any]:
    logical, physical, options = LOGICAL[column.type]
    stated: dict[str, Any] = {
        "name": column.name,
        "logicalType": logical,
        "physicalType": physical,
        "description": column.description,
        "required": not column.nullable,
        "primaryKey": column.name in key,
        "classification": "public",
    }
    if column.name in key:
        stated["primaryKeyPosition"] = key.index(column.name) + 1
    if options:
        stated["logicalTypeOptions"] = dict(options)
    if logical == "array":
        inner, type_, more = LOGICAL[column.type.removeprefix("list<").removesuffix(">")]
        stated["items"] = {"logicalType": inner, "physicalType": type_, "logicalTypeOptions": dict(more)}
    if column.unit is not None:
        stated["customProperties"] = [{"property": "unit", "value": column.unit}]
    if 0 < len(column.vocabulary) <= _SHORT_VOCABULARY:
        stated["quality"] = [_vocabulary(column)]
    return stated


def _vocabulary(column: Column) -> dict[str, Any]:
    return {
        "type": "library",
        "metric": "invalidValues",
        "arguments": {"validValues": list(column.vocabulary)},
        "mustBe": 0,
        "dimension": "conformity",
        "description": "only words of the public vocabulary occur",
    }


def _rules(dataset: Dataset, table: DatasetTable) -> Iterator[dict[str, Any]]:
    file = f"'{parquet_path(table.name)}'"
    key = ", ".join(primary_key(table))
    yield {
        "type": "library",
        "metric": "rowCount",
        "mustBe": len(table.rows),
        "dimension": "completeness",
        "description": "a release never changes",
    }
    yield _none(
        "uniqueness",
        "no two rows have the same key",
        _count(_groups(file, key, "count(*) > 1")),
    )
    yield _where("conformity", "no cell is below the threshold", file, f"contributors < {table.released.threshold}")
    yield _where("consistency", "all rows are of one period", file, f"week <> '{dataset.week}'")
    is_said = f"synthetic <> {str(dataset.synthetic).lower()}"
    yield _where("consistency", "measured and simulated rows are never mixed", file, is_said)
    if table.declared.metrics:
        yield from _figure_rules(file)


def _figure_rules(file: str) -> Iterator[dict[str, Any]]:
    names = list(QUANTILES)
    unordered = " OR ".join(f"{a} > {b}" for a, b in itertools.pairwise(names))
    yield _where("consistency", "quantiles ascend", file, unordered)
    outside = " OR ".join(f"{n} < {n}_low OR {n} > {n}_high" for n in FIGURES)
    yield _where("accuracy", "every figure lies within its interval", file, outside)
    halves = " OR ".join(f"({n} IS NULL) <> ({n}_low IS NULL)" for n in FIGURES)
    yield _where("completeness", "no figure is given without its interval", file, halves)
    yield _where("conformity", "a share is between 0 and 1", file, "share < 0 OR share > 1")
    sums = "abs(list_sum(histogram) - 1) > 1e-4"
    yield _where("consistency", "an estimated histogram sums to 1", file, sums)
    yield _none(
        "conformity",
        "all histograms of a metric have the same number of buckets",
        _count(_groups(file, "metric", "count(DISTINCT len(noisy)) > 1")),
    )


def _where(dimension: str, words: str, file: str, condition: str) -> dict[str, Any]:
    return _none(dimension, words, _count(f"{file} WHERE {condition}"))


def _groups(file: str, key: str, having: str) -> str:
    return f"(SELECT {key} FROM {file} GROUP BY {key} HAVING {having})"  # noqa: S608  # as below


def _count(rows: str) -> str:
    return f"SELECT count(*) FROM {rows}"  # noqa: S608  # of our own names alone, and run by the reader


def _none(dimension: str, words: str, query: str) -> dict[str, Any]:
    stated = {"type": "sql", "query": query, "mustBe": 0, "dimension": dimension, "description": words}
    return {**stated, "severity": "error"}


def _team(dataset: Dataset) -> dict[str, Any]:
    publisher = dataset.publisher
    members = [{"username": publisher.email, "name": publisher.name, "role": "owner"}]
    if publisher.dpo:
        members.append({"username": publisher.dpo, "role": "data protection officer"})
    return {"name": publisher.name, "members": members}


def _support(dataset: Dataset) -> list[dict[str, Any]]:
    publisher = dataset.publisher
    mail = {"channel": "mail", "tool": "email", "scope": "issues", "url": f"mailto:{publisher.email}"}
    if not publisher.url:
        return [mail]
    return [mail, {"channel": "website", "tool": "other", "scope": "announcements", "url": publisher.url}]


def _service_levels(dataset: Dataset) -> list[dict[str, Any]]:
    weeks = dataset.release.weeks
    return [
        {
            "property": "frequency",
            "value": weeks,
            "unit": "wk",
            "description": f"a new release comes {cadence(dataset)}",
        },
        {
            "property": "latency",
            "value": latency_days(dataset),
            "unit": "d",
            "description": "from the end of this period to its publication; a grace period lets late reports in",
        },
        {"property": "retention", "value": "unlimited", "description": "a release is never changed or replaced"},
        {"property": "generalAvailability", "value": dataset.issued.isoformat(), "description": "the day of issue"},
        {
            "property": "timeCoverage",
            "value": first_day(dataset.week, weeks),
            "valueExt": last_day(dataset.week),
            "description": "first and last day of the period, UTC",
        },
    ]
