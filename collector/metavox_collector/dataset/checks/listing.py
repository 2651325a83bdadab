"""The listing: whole, at one with the dictionary, and such that each marketplace would take its form of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from metavox_collector.dataset.checks.contract import yaml_value
from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, Unusable, formed, telling, text
from metavox_collector.dataset.emit.exports import SAMPLE
from metavox_collector.dataset.emit.listing import PATH
from metavox_collector.dataset.emit.marketplaces import (
    AWS,
    DATABRICKS,
    GOOGLE,
    MARKETPLACES,
    SNOWFLAKE,
    Marketplace,
    refusals,
    values_at,
)
from metavox_collector.dataset.emit.queries import PATH as QUERIES
from metavox_collector.dataset.licences import LICENCES
from metavox_collector.dataset.paths import csv_path

_SAME: Final = {
    SNOWFLAKE: {"title": "product", "description": "description"},
    AWS: {"Product.Title": "product", "Product.FullDescription": "description"},
    DATABRICKS: {"listing.summary.name": "product", "listing.detail.description": "description"},
    GOOGLE: {"displayName": "product", "documentation": "description"},
}
"""Where a marketplace's form says what the listing says."""


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the listing and what comes with it, a line each."""
    described = dictionary(pack)
    listed = formed(PATH, yaml_value(pack, PATH), "listing")
    found = [f"{PATH}: {problem}" for problem in _listed(listed, described, pack)]
    found += _beside(listed, pack)
    for market in MARKETPLACES:
        found += _market(market, listed, pack)
    return found


def _listed(listed: dict[str, Any], described: dict[str, Any], pack: Pack) -> Iterator[str]:
    for name in ("name", "version", "issued"):
        if listed["release"][name] != described[name]:
            yield f"release.{name} is {listed['release'][name]!r}, not {described[name]!r}"
    synthetic = described["release"]["synthetic"]
    if listed["synthetic"] != synthetic or ("synthetic" in listed["product"].lower()) != synthetic:
        yield "it does not say rightly whether the figures are synthetic"
    if listed["refresh"]["weeks"] != described["release"]["weeks"]:
        yield "refresh.weeks is not the release's number of weeks"
    if [each["id"] for each in listed["licences"]] != [licence.identifier for licence in LICENCES]:
        yield "its licences are not the two of the pack"
    rows = {table["name"]: table["rows"] for table in described["tables"]}
    if {table["name"]: table["rows"] for table in listed["tables"]} != rows:
        yield "its tables are not those of the dictionary"
    for path in (listed["dictionary"], listed["sample"]["file"], *(each["text"] for each in listed["licences"])):
        if path not in pack:
            yield f"it names {path}, which is missing"


def _beside(listed: dict[str, Any], pack: Pack) -> list[str]:
    try:
        return [*_sample(listed, pack), *_queries(listed, pack)]
    except Unusable as error:
        return error.problems


def _sample(listed: dict[str, Any], pack: Pack) -> list[str]:
    sample, whole = text(pack, SAMPLE), text(pack, csv_path("performance"))
    if not whole.startswith(sample):
        return [f"{SAMPLE}: not the first rows of {csv_path('performance')}"]
    rows = sample.count("\r\n") - 1
    return (
        [] if rows == listed["sample"]["rows"] else [f"{SAMPLE}: {rows} rows, and not {listed['sample']['rows']}"]
    )


def _queries(listed: dict[str, Any], pack: Pack) -> list[str]:
    written = text(pack, QUERIES)
    queries = [each["sql"] for each in listed["queries"]]
    return [
        f"{QUERIES}: query {n} of {PATH} is missing" for n, sql in enumerate(queries, 1) if f"{sql};" not in written
    ]


def _market(market: Marketplace, listed: dict[str, Any], pack: Pack) -> list[str]:
    named = any(each["file"] == market.path for each in listed["marketplaces"])
    if named != (market.path in pack):
        return [f"{market.path}: {'missing' if named else f'not named in {PATH}'}"]
    if not named:
        return []
    try:
        document = yaml_value(pack, market.path) if market.path.endswith(".yaml") else _json(pack, market.path)
    except Unusable as error:
        return error.problems
    if not isinstance(document, Mapping):
        return [f"{market.path}: not an object"]
    reasons = [*refusals(market, document), *_otherwise(market, document, listed)]
    return [f"{market.path}: {reason}" for reason in reasons]


def _otherwise(market: Marketplace, document: Mapping[str, Any], listed: dict[str, Any]) -> Iterator[str]:
    for path, name in _SAME[market].items():
        if any(value != listed[name] for _, value in values_at(document, path)):
            yield f"{path} is not the {name} of {PATH}"


def _json(pack: Pack, path: str) -> Any:
    try:
        return json.loads(text(pack, path))
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path}: no JSON: {error}") from None
