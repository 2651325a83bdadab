"""The data contract: of the standard's form, and the same tables and columns as the dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, Unusable, formed, telling, text
from metavox_collector.dataset.emit.contract import LOGICAL, PATH
from metavox_collector.dataset.licences import EXPRESSION


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the contract, a line each."""
    described, agreed = dictionary(pack), contract(pack)
    return [f"{PATH}: {problem}" for problem in (*_whole(agreed, described), *_tables(agreed, described, pack))]


def contract(pack: Pack) -> dict[str, Any]:
    """The contract; raises Unusable if it is missing or has another form."""
    return formed(PATH, yaml_value(pack, PATH), "odcs-3.1")


class _Plain(yaml.SafeLoader):
    """Plain values, and no aliases: a few lines of those can stand for more than a machine can hold."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which no file of a pack has")
        return super().compose_node(parent, index)


def yaml_value(pack: Pack, path: str) -> Any:
    """A YAML file's value, of plain types alone; raises Unusable if it is missing or no YAML."""
    try:
        return yaml.load(text(pack, path), Loader=_Plain)  # noqa: S506  # a safe loader, made safer
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unusable(f"{path}: no YAML: {' '.join(str(error).split())}") from None


def _whole(agreed: dict[str, Any], described: dict[str, Any]) -> Iterator[str]:
    stated = {item["property"]: item["value"] for item in agreed["customProperties"]}
    synthetic = described["release"]["synthetic"]
    expected = {
        "licence": EXPRESSION,
        "synthetic": synthetic,
        "releaseSha256": described["privacy"]["release_sha256"],
    }
    for name, value in expected.items():
        if stated.get(name) != value:
            yield f"customProperties.{name} is {stated.get(name)!r}, not {value!r}"
    if agreed["version"] != described["version"]:
        yield f"version is {agreed['version']!r}, not {described['version']!r}"
    if agreed["status"] != ("draft" if synthetic else "active"):
        yield f"status is {agreed['status']!r}, which only {'measured' if synthetic else 'synthetic'} data have"
    levels = {item["property"]: item["value"] for item in agreed["slaProperties"]}
    if levels.get("frequency") != described["release"]["weeks"]:
        yield "slaProperties.frequency is not the release's number of weeks"
    for name in ("latency", "retention"):
        if name not in levels:
            yield f"slaProperties has no {name}"


def _tables(agreed: dict[str, Any], described: dict[str, Any], pack: Pack) -> Iterator[str]:
    objects, tables = ({each["name"]: each for each in part} for part in (agreed["schema"], described["tables"]))
    for name in sorted(objects.keys() | tables.keys()):
        if name not in objects or name not in tables:
            yield f"{name} is in {'the dictionary' if name in tables else 'the contract'} alone"
        else:
            yield from (f"{name}: {problem}" for problem in _table(objects[name], tables[name], pack))


def _table(stated: dict[str, Any], table: dict[str, Any], pack: Pack) -> Iterator[str]:
    if stated["physicalName"] != table["file"] or table["file"] not in pack:
        yield f"physicalName is {stated['physicalName']!r}, not a file of the pack"
    names = [column["name"] for column in table["columns"]]
    if [each["name"] for each in stated["properties"]] != names:
        yield f"its properties are not the columns {', '.join(names)}"
        return
    for each, column in zip(stated["properties"], table["columns"], strict=True):
        logical, physical, _ = LOGICAL[column["type"]]
        if (each["logicalType"], each["physicalType"]) != (logical, physical):
            yield f"{column['name']} is of type {each['physicalType']}, and the column of {column['type']}"
        if each["required"] == column["nullable"]:
            yield f"{column['name']}: required and nullable say the same"
    keyed = [each for each in stated["properties"] if each["primaryKey"]]
    key = [each["name"] for each in sorted(keyed, key=lambda each: each.get("primaryKeyPosition", 0))]
    if key != table["primary_key"]:
        yield f"its primary key is {', '.join(key)}, not {', '.join(table['primary_key'])}"
    counts = [rule["mustBe"] for rule in stated["quality"] if rule.get("metric") == "rowCount"]
    if counts != [table["rows"]]:
        yield f"it promises {counts} rows, and there are {table['rows']}"
    if not any(rule["type"] == "sql" for rule in stated["quality"]):
        yield "it has no quality rule in SQL"
