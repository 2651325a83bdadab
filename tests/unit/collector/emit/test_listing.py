"""The listing: each marketplace would take its form of it, and none is written that one would refuse."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from metavox_collector.dataset.checks import listing as check
from metavox_collector.dataset.emit import listing
from metavox_collector.dataset.emit.marketplaces import (
    AWS,
    DATABRICKS,
    GOOGLE,
    MARKETPLACES,
    SNOWFLAKE,
    Marketplace,
    Rule,
    refusals,
)
from metavox_collector.dataset.emit.queries import queries
from metavox_collector.dataset.model import Dataset, dataset_of
from metavox_collector.errors import ListingRefused, NotAllowed
from metavox_collector.simulate.fleet import fleet
from metavox_collector.store import LabelledRelease
from metavox_privacy.budget import authorize
from metavox_privacy.cells import fold
from metavox_privacy.release import make_release
from metavox_privacy.schema import SCHEMA
from tests.unit.collector.emit.datasets import CODE, PUBLISHER, WEEK, example_dataset
from tests.unit.collector.emit.offers import offer_of, rewritten
from tests.unit.collector.emit.packs import Pack, edited, replaced, written

LISTING, QUERIES, SAMPLE = "listing/listing.yaml", "listing/queries.sql", "listing/sample.csv"


@pytest.fixture(scope="module")
def offer(dataset: Dataset) -> Pack:
    return offer_of(dataset)


def document_of(offer: Pack, market: Marketplace) -> dict[str, Any]:
    read = yaml.safe_load if market.path.endswith(".yaml") else json.loads
    return dict(read(offer[market.path]))


@pytest.mark.parametrize(
    "kind", [{"scope": "coarse", "cells": 3}, {"weeks": 4, "cells": 2}, {"synthetic": False, "cells": 0}], ids=str
)
def test_every_kind_of_dataset_passes(kind: dict[str, object]) -> None:
    assert check.validate(offer_of(example_dataset(**kind))) == []  # type: ignore[arg-type]


def test_the_limits_are_those_that_the_marketplaces_state() -> None:
    """Typed anew from their documents, so that a slip in either place is seen."""
    stated = {
        SNOWFLAKE: {"title": 110, "subtitle": 110, "description": 7500, "usage_examples.*.query": 30_000},
        AWS: {"Product.Title": 72, "Product.ShortDescription": 500, "Product.FullDescription": 30_000},
        DATABRICKS: {"listing.summary.name": 100},
        GOOGLE: {"displayName": 63, "description": 2000, "primaryContact": 1000, "categories": 2},
    }
    for market, limits in stated.items():
        assert {rule.path: rule.most for rule in market.rules if rule.path in limits} == limits


def replace_at(document: dict[str, Any], path: str, change: Callable[[Any, Any], object]) -> dict[str, Any]:
    """A copy with whatever stands at a path changed; a star stands for every entry."""
    changed = copy.deepcopy(document)
    *above, last = path.split(".")
    inner: list[Any] = [changed]
    for step in above:
        inner = [each for part in inner for each in (part if step == "*" else [part[step]])]
    for part in inner:
        for key in range(len(part)) if last == "*" else (last,):
            change(part, key)
    return changed


def long(rule: Rule, value: Any, size: int) -> Any:
    if rule.unit == "entries":
        return [value[0]] * size
    if rule.unit == "bytes":  # two bytes a letter, so that counting letters would not do
        return "é" * (size // 2) + "a" * (size % 2)
    return (str(value) + "a" * size)[:size]


LIMITED = [(market, rule) for market in MARKETPLACES for rule in market.rules if rule.most is not None]


@pytest.mark.parametrize(("market", "rule"), LIMITED, ids=lambda each: each.path)
def test_a_field_may_reach_its_limit_and_not_pass_it(offer: Pack, market: Marketplace, rule: Rule) -> None:
    assert rule.most is not None
    document = document_of(offer, market)
    for size, refused in ((rule.most, False), (rule.most + 1, True)):
        grown = replace_at(
            document, rule.path, lambda inner, key, n=size: inner.update({key: long(rule, inner[key], n)})
        )
        found = [reason for reason in refusals(market, grown) if f"has {size} {rule.unit}" in reason]
        assert bool(found) == refused, found
        if refused:
            assert str(rule.most) in found[0]
            assert rule.path.replace("*", "0") in found[0]
        else:
            assert list(refusals(market, grown)) == []


REQUIRED = [(market, rule) for market in MARKETPLACES for rule in market.rules if rule.required]


@pytest.mark.parametrize(("market", "rule"), REQUIRED, ids=lambda each: each.path)
def test_a_field_that_is_required_must_be_there_and_not_be_empty(
    offer: Pack, market: Marketplace, rule: Rule
) -> None:
    document = document_of(offer, market)
    emptied = replace_at(document, rule.path, lambda inner, key: inner.__setitem__(key, ""))
    assert any("is empty" in reason for reason in refusals(market, emptied))
    if not rule.path.endswith("*"):
        gone = replace_at(document, rule.path, lambda inner, key: inner.pop(key))
        assert f"{market.name}: {rule.path} is missing" in refusals(market, gone)


WORDED = [(market, rule) for market in MARKETPLACES for rule in market.rules if rule.values or rule.pattern]


@pytest.mark.parametrize(("market", "rule"), WORDED, ids=lambda each: each.path)
def test_a_word_or_form_that_is_not_taken_is_refused(offer: Pack, market: Marketplace, rule: Rule) -> None:
    nonsense = replace_at(
        document_of(offer, market), rule.path, lambda inner, key: inner.__setitem__(key, "!\n\x00")
    )
    assert any(rule.path.split(".")[-1] in reason or ".0" in reason for reason in refusals(market, nonsense))


def test_nothing_is_written_that_would_be_refused_and_every_reason_is_said(dataset: Dataset, offer: Pack) -> None:
    endless = replace(dataset, publisher=replace(PUBLISHER, email=f"{'a' * 990}@example.org"))
    with pytest.raises(ListingRefused) as refused:
        listing.emit(endless, offer)
    said = str(refused.value)
    assert "primaryContact has 1002 bytes, and at most 1000 are taken" in said
    assert "dataProvider.primaryContact has 1002 bytes" in said


def test_without_a_website_those_that_ask_for_one_are_left_out_and_that_is_said(dataset: Dataset) -> None:
    pack = offer_of(replace(dataset, publisher=replace(PUBLISHER, url=None)))
    assert {market.path for market in MARKETPLACES if market.path in pack} == {AWS.path, GOOGLE.path}
    said = {each["name"]: each["file"] for each in yaml.safe_load(pack[LISTING])["marketplaces"]}
    assert "set controller_url" in said[SNOWFLAKE.name]
    assert "set controller_url" in said[DATABRICKS.name]
    assert said[GOOGLE.name] == GOOGLE.path
    assert check.validate(pack) == []


def test_what_is_synthetic_is_listed_as_such_and_kept_private(offer: Pack) -> None:
    titles = (
        document_of(offer, SNOWFLAKE)["title"],
        document_of(offer, AWS)["Product"]["Title"],
        document_of(offer, DATABRICKS)["listing"]["summary"]["name"],
        document_of(offer, GOOGLE)["displayName"],
    )
    assert all("synthetic" in each for each in titles)
    assert document_of(offer, GOOGLE)["discoveryType"] == "DISCOVERY_TYPE_PRIVATE"
    assert document_of(offer, AWS)["Product"]["FullDescription"].startswith("Synthetic: ")


def test_times_and_sizes_are_the_releases(offer: Pack) -> None:
    detail = document_of(offer, DATABRICKS)["listing"]["detail"]
    assert (detail["collection_date_start"], detail["collection_date_end"]) == (1794787200000, 1795391999999)
    assert detail["update_frequency"] == {"interval": 1, "unit": "WEEKLY"}
    assert detail["size"] == sum(len(v) for k, v in offer.items() if k.startswith("data/")) / 1e9
    time = document_of(offer, SNOWFLAKE)["data_attributes"]["geography"]["time"]["time_range"]
    assert (time["start_time"], time["end_time"]) == ("11-16-2026", "11-22-2026")


def test_the_sample_is_the_first_rows_of_the_table(offer: Pack) -> None:
    sample = list(csv.reader(io.StringIO(offer[SAMPLE].decode(), newline="")))
    whole = list(csv.reader(io.StringIO(offer["csv/performance.csv"].decode(), newline="")))
    assert len(sample) == 1 + listing.SAMPLE_ROWS < len(whole)
    assert sample == whole[: len(sample)]


@pytest.mark.parametrize("scope", ["full", "coarse"])
def test_the_queries_answer_something_where_they_are_said_to_run(
    scope: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = example_dataset(scope=scope)
    monkeypatch.chdir(written(offer_of(dataset), tmp_path / "pack"))
    statements = duckdb.extract_statements(Path(QUERIES).read_text(encoding="utf-8"))
    answers = [duckdb.sql(statement.query).fetchall() for statement in statements]
    assert [bool(answer) for answer in answers] == [True, True, True]
    assert answers[0] == sorted(answers[0], key=lambda row: 1 / row[-1])
    assert all(times > 1 for *_, times in answers[1])


def test_the_queries_answer_the_same_over_a_warehouses_tables(
    dataset: Dataset, offer: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(written(offer, tmp_path / "pack"))
    with duckdb.connect() as warehouse:
        for table in dataset.tables:
            warehouse.execute(f"CREATE TABLE {table.name} AS FROM 'data/{table.name}.parquet'")
        for query in queries(dataset):
            over_tables = warehouse.sql(query.over_tables).fetchall()
            assert over_tables == warehouse.sql(query.over_files).fetchall()


def test_the_queries_answer_something_of_a_simulated_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From requests to rows: a fleet's own reports, summed, and given the shipped mechanism's noise, for more ρ."""
    reports = list(fleet(400, WEEK, SCHEMA, seed=1))
    authorization = authorize(
        (),
        week=WEEK,
        weeks=1,
        purpose="publish",
        scope="coarse",
        schema_version=SCHEMA.version,
        nano_rho=10**11,
        yearly_cap=10**12,
        sandbox=True,
    )
    release = make_release(fold(reports, SCHEMA, SCHEMA.coarse_tables), SCHEMA, authorization)
    dataset = dataset_of(
        LabelledRelease(release, synthetic=True),
        (authorization.settle(release.sha256),),
        SCHEMA,
        publisher=PUBLISHER,
        issued=WEEK.end.date(),
        code=CODE,
    )
    pack = offer_of(dataset)
    assert check.validate(pack) == []
    monkeypatch.chdir(written(pack, tmp_path / "pack"))
    for statement in duckdb.extract_statements(Path(QUERIES).read_text(encoding="utf-8")):
        assert duckdb.sql(statement.query).fetchall(), statement.query


def test_the_same_dataset_gives_the_same_bytes(dataset: Dataset, offer: Pack) -> None:
    data = {path: content for path, content in offer.items() if path.startswith(("data/", "csv/"))}
    again = listing.emit(dataset, data)
    assert again == {path: offer[path] for path in again}
    assert {path for path in offer if path.startswith("listing/")} == set(again)


def test_a_release_for_the_maintainers_is_not_listed() -> None:
    with pytest.raises(NotAllowed):
        listing.emit(example_dataset(purpose="improve", cells=0), {})


def changed(change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    return lambda pack: rewritten(pack, LISTING, change)


def gone(path: str) -> Callable[[Pack], Pack]:
    return lambda pack: {name: content for name, content in pack.items() if name != path}


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (gone(LISTING), f"{LISTING}: missing"),
    "no YAML": (lambda p: {**p, LISTING: b"\t: ["}, "no YAML"),
    "no licence": (changed(lambda d: d.pop("licences")), "'licences' is a required"),
    "one licence": (changed(lambda d: d["licences"].pop()), "$.licences"),
    "another licence": (changed(lambda d: d["licences"][0].update(id="MIT")), "its licences are not the two"),
    "no cadence": (changed(lambda d: d.pop("refresh")), "'refresh' is a required"),
    "another cadence": (changed(lambda d: d["refresh"].update(weeks=4)), "refresh.weeks is not"),
    "no dictionary": (changed(lambda d: d.pop("dictionary")), "'dictionary' is a required"),
    "a dictionary that is not there": (changed(lambda d: d.update(dictionary="x.json")), "it names x.json"),
    "two queries": (changed(lambda d: d["queries"].pop()), "$.queries"),
    "another query": (changed(lambda d: d["queries"][0].update(sql="SELECT 1")), f"{QUERIES}: query 1"),
    "another release": (changed(lambda d: d["release"].update(version="1.0.0")), "release.version is '1.0.0'"),
    "not said to be synthetic": (changed(lambda d: d.update(synthetic=False)), "rightly whether the figures are"),
    "a title without it": (changed(lambda d: d.update(product="MetaVox")), "rightly whether the figures are"),
    "a table more": (
        changed(lambda d: d["tables"].append({"name": "x", "question": "?", "rows": 1})),
        "its tables are not those",
    ),
    "no sample": (gone(SAMPLE), f"{SAMPLE}: missing"),
    "another sample": (lambda p: replaced(p, SAMPLE, "2026-W47", "2026-W46"), f"{SAMPLE}: not the first rows"),
    "a shorter sample": (
        lambda p: {**p, SAMPLE: b"".join(p[SAMPLE].splitlines(keepends=True)[:3])},
        f"{SAMPLE}: 2 rows",
    ),
    "no queries": (gone(QUERIES), f"{QUERIES}: missing"),
    "a marketplace missing": (gone(SNOWFLAKE.path), f"{SNOWFLAKE.path}: missing"),
    "a marketplace unnamed": (
        changed(lambda d: d["marketplaces"][0].update(file="none")),
        f"{SNOWFLAKE.path}: not named",
    ),
    "no JSON": (lambda p: {**p, GOOGLE.path: b"{"}, f"{GOOGLE.path}: no JSON"),
    "no object": (lambda p: {**p, AWS.path: b"[]"}, f"{AWS.path}: not an object"),
    "too long": (
        lambda p: edited(p, GOOGLE.path, lambda d: d.update(displayName="a" * 64)),
        "displayName has 64 bytes, and at most 63",
    ),
    "a category of nobody's": (
        lambda p: rewritten(p, SNOWFLAKE.path, lambda d: d.update(categories=["SPACE"])),
        "categories.0 is 'SPACE'",
    ),
    "another description": (
        lambda p: edited(p, GOOGLE.path, lambda d: d.update(documentation="All is well.")),
        "documentation is not the description",
    ),
    "not said to be anonymised": (
        lambda p: edited(p, AWS.path, lambda d: d["Product"].update(FullDescription="Data.")),
        "Product.FullDescription is 'Data.'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found_and_named(offer: Pack, name: str) -> None:
    change, expected = BROKEN[name]
    problems = check.validate(change(offer))
    assert any(expected in problem for problem in problems), problems
