"""The Data Package: what the standard requires and we ask beside, and agreement with the data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, document, telling
from metavox_collector.dataset.licences import LICENCES
from metavox_collector.dataset.paths import DATA_PACKAGE

_TYPES = {  # written a second time, so that it can disagree with what emits it
    "string": "string",
    "int64": "integer",
    "double": "number",
    "bool": "boolean",
    "list<int64>": "array",
    "list<double>": "array",
}


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with ``datapackage.json``, a line each."""
    package = document(pack, DATA_PACKAGE, "datapackage")
    described = dictionary(pack)
    return [f"{DATA_PACKAGE}: {problem}" for problem in _problems(package, described, pack)]


def _problems(package: dict[str, Any], described: dict[str, Any], pack: Pack) -> Iterator[str]:
    yield from _facts(package, described)
    tables = {table[kind]: table for table in described["tables"] for kind in ("file", "csv")}
    resources = package["resources"]
    for key in ("name", "path"):
        said = [resource[key] for resource in resources]
        yield from (
            f"resources: the {key} {one} is there twice" for one in sorted({o for o in said if said.count(o) > 1})
        )
    paths = {resource["path"] for resource in resources}
    yield from (f"resources: {path} is missing" for path in tables if path not in paths)
    for resource in resources:
        table = tables.get(resource["path"])
        if table is None:
            yield f"resources: {resource['path']} is no file of a table"
            continue
        yield from _content(resource, pack)
        if resource["path"] == table["csv"]:
            yield from _table(resource, table)


def _facts(package: dict[str, Any], described: dict[str, Any]) -> Iterator[str]:
    expected = {
        "name": described["name"].lower(),
        "title": described["title"],
        "version": described["version"],
        "created": f"{described['issued']}T00:00:00Z",
    }
    for key, value in expected.items():
        if package[key] != value:
            yield f"{key} is {package[key]!r}, the data dictionary says {value!r}"
    stated = [(licence["name"], licence["path"]) for licence in package["licenses"]]
    if stated != [(licence.identifier, licence.path) for licence in LICENCES]:
        yield f"licenses are not {' and '.join(licence.identifier for licence in LICENCES)}"
    if described["publisher"]["name"] not in [one["title"] for one in package["contributors"]]:
        yield "contributors do not name the publisher"
    if described["release"]["synthetic"] != package["description"].startswith("Synthetic"):
        yield "description does not say whether the release is synthetic"


def _content(resource: dict[str, Any], pack: Pack) -> Iterator[str]:
    path = resource["path"]
    if path not in pack:
        yield f"resources: {path} is not in the pack"
        return
    if resource["bytes"] != len(pack[path]):
        yield f"resources: {path} has {len(pack[path])} bytes, stated {resource['bytes']}"
    if resource["hash"] != f"sha256:{hashlib.sha256(pack[path]).hexdigest()}":
        yield f"resources: {path} has another hash"


def _table(resource: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    where = f"resource {resource['name']}"
    if "schema" not in resource:
        yield f"{where}: is no table with a schema"
        return
    fields = {field["name"]: field for field in resource["schema"]["fields"]}
    columns = {column["name"]: column for column in table["columns"]}
    if [field["name"] for field in resource["schema"]["fields"]] != list(columns):
        yield from (f"{where}: no column is called {name}" for name in fields if name not in columns)
        yield from (f"{where}: column {name} has no field" for name in columns if name not in fields)
        yield f"{where}: its fields are not the table's columns, one for one and in order"
    if resource["schema"]["primaryKey"] != table["primary_key"]:
        yield f"{where}: primaryKey is not {', '.join(table['primary_key'])}"
    for name, field in fields.items():
        if name in columns:
            yield from (f"{where}: field {name} {problem}" for problem in _field(field, columns[name]))


def _field(field: dict[str, Any], column: dict[str, Any]) -> Iterator[str]:
    constraints = field.get("constraints", {})
    if field["type"] != _TYPES[column["type"]]:
        yield f"has the type {field['type']}, the column {column['type']}"
    if (field["description"], field.get("unit")) != (column["description"], column["unit"]):
        yield "has another description or unit than the column"
    if constraints.get("required", False) == column["nullable"]:
        yield "does not say rightly whether it may be empty"
    if constraints.get("enum") != column.get("vocabulary"):
        yield "has another vocabulary than the column"
