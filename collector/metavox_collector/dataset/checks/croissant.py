"""Croissant: what the specification requires, which mlcroissant does not all ask for, and agreement with the data.

mlcroissant 1.1 loads a record whose name and licence were removed, and a column that no field names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, document, telling
from metavox_collector.dataset.emit.croissant import CONTEXT
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY
from metavox_collector.dataset.paths import CROISSANT

_TYPES = {  # written a second time, so that it can disagree with what emits it
    "string": "sc:Text",
    "int64": "cr:Int64",
    "double": "cr:Float64",
    "bool": "sc:Boolean",
    "list<int64>": "cr:Int64",
    "list<double>": "cr:Float64",
}


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with ``croissant.json``, a line each."""
    record = document(pack, CROISSANT, "croissant")
    described = dictionary(pack)
    return [f"{CROISSANT}: {problem}" for problem in _problems(record, described, pack)]


def _problems(record: dict[str, Any], described: dict[str, Any], pack: Pack) -> Iterator[str]:
    yield from _facts(record, described)
    yield from _files(record, described, pack)
    tables = {table["name"]: table for table in described["tables"]}
    names = [record_set["@id"] for record_set in record["recordSet"]]
    yield from (f"recordSet: no table is called {name}" for name in names if name not in tables)
    yield from (f"recordSet: {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1}))
    yield from (f"recordSet: table {name} is missing" for name in tables if name not in names)
    for record_set in record["recordSet"]:
        if record_set["@id"] in tables:
            yield from _record_set(record_set, tables[record_set["@id"]])


def _facts(record: dict[str, Any], described: dict[str, Any]) -> Iterator[str]:
    if record["@context"] != CONTEXT:  # another one could make every name mean nothing
        yield "@context is not the one of the specification's appendix over schema.org"
    expected = {
        "name": described["name"],
        "version": described["version"],
        "datePublished": described["issued"],
    }
    for key, value in expected.items():
        if record[key] != value:
            yield f"{key} is {record[key]!r}, in the data dictionary {value!r}"
    licences = [one if isinstance(one, str) else one["url"] for one in record["license"]]
    yield from (f"license: {url} is missing" for url in (COMMUNITY.url, COMMERCIAL.path) if url not in licences)
    for role in ("creator", "publisher"):
        if record[role]["name"] != described["publisher"]["name"]:
            yield f"{role} is not the publisher"
    if described["privacy"]["release_sha256"] not in record["citeAs"]:
        yield "citeAs does not hold the release's SHA-256"
    if described["release"]["synthetic"] != record["description"].startswith("Synthetic"):
        yield "description does not say whether the release is synthetic"


def _files(record: dict[str, Any], described: dict[str, Any], pack: Pack) -> Iterator[str]:
    stated = [file["contentUrl"] for file in record["distribution"]]
    expected = {table[kind] for table in described["tables"] for kind in ("file", "csv")}
    yield from (f"distribution: {path} is missing" for path in sorted(expected - set(stated)))
    for file in record["distribution"]:
        path = file["contentUrl"]
        if path not in expected or stated.count(path) > 1 or file["@id"] != path:
            yield f"distribution: {path} is no file of a table, there twice, or not its own @id"
        elif path in pack:
            if file["sha256"] != hashlib.sha256(pack[path]).hexdigest():
                yield f"distribution: {path} has another sha256"
            if file["contentSize"] != f"{len(pack[path])} B":
                yield f"distribution: {path} has another contentSize"
        else:
            yield f"distribution: {path} is not in the pack"


def _record_set(record_set: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    where = f"recordSet {table['name']}"
    columns = {column["name"]: column for column in table["columns"]}
    fields = [field["name"] for field in record_set["field"]]
    yield from (f"{where}: no column is called {name}" for name in fields if name not in columns)
    yield from (
        f"{where}: field {name} is there twice" for name in sorted({n for n in fields if fields.count(n) > 1})
    )
    yield from (f"{where}: column {name} has no field" for name in columns if name not in fields)
    if [key["@id"] for key in record_set["key"]] != [f"{table['name']}/{name}" for name in table["primary_key"]]:
        yield f"{where}: key is not {', '.join(table['primary_key'])}"
    for field in record_set["field"]:
        if field["name"] in columns:
            for problem in _field(field, columns[field["name"]], table):
                yield f"{where}: field {field['name']} {problem}"


def _field(field: dict[str, Any], column: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    if field["@id"] != f"{table['name']}/{column['name']}":
        yield f"has the @id {field['@id']}"
    if field["description"] != column["description"]:
        yield "has another description than the column"
    if field["dataType"] != _TYPES[column["type"]]:
        yield f"has the type {field['dataType']}, the column {column['type']}"
    if field.get("isArray", False) != column["type"].startswith("list<"):
        yield "does not say whether it is an array"
    if not _from(field["source"], table, column["name"]):
        yield "is not read from its column of the Parquet file"
    yield from _unit(field.get("annotation"), column, table)


def _unit(unit: dict[str, Any] | None, column: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    if unit is None or column["unit"] is None:
        if unit is not None or column["unit"] is not None:
            yield "has a unit and the column none, or the other way round"
    elif unit["equivalentProperty"] != "sc:unitText":
        yield "has an annotation that is no unit"
    elif column["unit"] == "unit":
        if "source" not in unit or not _from(unit["source"], table, "unit"):
            yield "does not take its unit from the row"
    elif unit.get("value") != column["unit"]:
        yield f"has the unit {unit.get('value')}, the column {column['unit']}"


def _from(source: dict[str, Any], table: dict[str, Any], column: str) -> bool:
    return bool(source["fileObject"]["@id"] == table["file"] and source["extract"]["column"] == column)
