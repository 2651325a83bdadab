"""The data contract: of the standard's form, true of the data, and able to notice when it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import yaml

from metavox_collector.dataset.checks import contract as check
from metavox_collector.dataset.emit import contract
from metavox_collector.dataset.model import Dataset
from metavox_collector.errors import NotAllowed
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.emit.offers import offer_of, rewritten
from tests.unit.collector.emit.packs import Pack, edited, written

CONTRACT = "contract.odcs.yaml"
PERFORMANCE = "data/performance.parquet"


@pytest.fixture(scope="module")
def offer(dataset: Dataset) -> Pack:
    return offer_of(dataset)


@pytest.fixture
def directory(offer: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pack as files, and the working directory, as a reader would have it."""
    monkeypatch.chdir(written(offer, tmp_path / "pack"))
    return tmp_path / "pack"


def rules(offer: Pack, table: str) -> dict[str, str]:
    """The SQL rules of a table by what they promise."""
    stated = next(each for each in yaml.safe_load(offer[CONTRACT])["schema"] if each["name"] == table)
    return {rule["description"]: rule["query"] for rule in stated["quality"] if rule["type"] == "sql"}


def broken_rows(query: str) -> int:
    return int(duckdb.sql(query).fetchall()[0][0])


@pytest.mark.parametrize(
    "kind", [{"scope": "coarse", "cells": 3}, {"weeks": 4, "cells": 2}, {"synthetic": False, "cells": 0}], ids=str
)
def test_every_kind_of_dataset_passes(kind: dict[str, object]) -> None:
    assert check.validate(offer_of(example_dataset(**kind))) == []  # type: ignore[arg-type]


def test_the_promises_hold_for_the_data(offer: Pack, directory: Path) -> None:
    for table in ("performance", "hardware", "models", "software", "workload"):
        kept = {words: broken_rows(query) for words, query in rules(offer, table).items()}
        assert len(kept) >= 4
        assert set(kept.values()) == {0}, kept


def cell(column: str, value: object) -> Callable[[list[dict[str, Any]]], object]:
    return lambda rows: rows[0].update({column: value})


BREACHES: Mapping[str, Callable[[list[dict[str, Any]]], object]] = {
    "no two rows have the same key": lambda rows: rows.append(rows[0]),
    "no cell is below the threshold": cell("contributors", 3),
    "all rows are of one period": cell("week", "2026-W46"),
    "measured and simulated rows are never mixed": cell("synthetic", False),
    "quantiles ascend": lambda rows: rows[0].update(p50=rows[0]["p75"] * 2),
    "every figure lies within its interval": lambda rows: rows[0].update(p50=rows[0]["p50_high"] * 1.01),
    "no figure is given without its interval": cell("p50_low", None),
    "a share is between 0 and 1": cell("share", 1.5),
    "an estimated histogram sums to 1": cell("histogram", [0.5, 0.4]),
    "all histograms of a metric have the same number of buckets": cell("noisy", [1, 2, 3]),
}


@pytest.mark.parametrize("promise", BREACHES)
def test_each_promise_notices_its_breach(offer: Pack, directory: Path, promise: str) -> None:
    table = pq.read_table(PERFORMANCE)
    rows = table.to_pylist()
    BREACHES[promise](rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), PERFORMANCE)
    assert broken_rows(rules(offer, "performance")[promise]) >= 1


def test_no_promise_is_without_a_test_of_its_breach(offer: Pack) -> None:
    assert set(rules(offer, "performance")) == set(BREACHES)


def test_words_outside_of_the_vocabulary_are_listed_as_invalid(offer: Pack, dataset: Dataset) -> None:
    stated = yaml.safe_load(offer[CONTRACT])["schema"][0]["properties"]
    named = {each["name"]: each["quality"][0]["arguments"]["validValues"] for each in stated if "quality" in each}
    assert named["quantization"] == list(dataset.schema.dimension["quantization"].vocabulary)
    assert named["metric"] == list(dataset.table("performance").declared.metrics)


def test_service_levels_are_the_releases(offer: Pack) -> None:
    levels = {each["property"]: each["value"] for each in yaml.safe_load(offer[CONTRACT])["slaProperties"]}
    assert (levels["frequency"], levels["latency"], levels["retention"]) == (1, 11, "unlimited")
    four = yaml.safe_load(offer_of(example_dataset(weeks=4, cells=0))[CONTRACT])["slaProperties"]
    assert {each["property"]: each["value"] for each in four}["frequency"] == 4


def test_it_reads_back_as_it_was_meant_and_the_same_each_time(offer: Pack, dataset: Dataset) -> None:
    assert yaml.safe_load(offer[CONTRACT]) == json.loads(json.dumps(contract.contract(dataset)))
    assert contract.emit(dataset)[CONTRACT] == offer[CONTRACT]


def test_a_release_for_the_maintainers_is_promised_to_nobody() -> None:
    with pytest.raises(NotAllowed):
        contract.emit(example_dataset(purpose="improve", cells=0))


def changed(change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    return lambda pack: rewritten(pack, CONTRACT, change)


def column(position: int, **values: object) -> Callable[[Pack], Pack]:
    return changed(lambda c: c["schema"][0]["properties"][position].update(values))


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != CONTRACT}, f"{CONTRACT}: missing"),
    "no YAML": (lambda p: {**p, CONTRACT: b"a: [b"}, "no YAML"),
    "an object in it": (lambda p: {**p, CONTRACT: b"a: !!python/object:os.system {}"}, "no YAML"),
    "an alias": (lambda p: {**p, CONTRACT: b"a: &a [1]\nb: [*a, *a]"}, "an alias, which no file of a pack has"),
    "a list": (lambda p: {**p, CONTRACT: b"- a"}, "is not of type 'object'"),
    "no version of the standard": (changed(lambda c: c.pop("apiVersion")), "'apiVersion' is a required"),
    "an older standard": (changed(lambda c: c.update(apiVersion="v2.2.2")), "'v3.1.0' was expected"),
    "another kind": (changed(lambda c: c.update(kind="Recipe")), "'DataContract' was expected"),
    "an unknown field": (changed(lambda c: c.update(owner="me")), "'owner'"),
    "no price": (changed(lambda c: c.pop("price")), "'price' is a required"),
    "no role": (changed(lambda c: c["roles"].clear()), "$.roles"),
    "no support": (changed(lambda c: c["support"][0].pop("url")), "'url' is a required"),
    "no server's path": (changed(lambda c: c["servers"][0].pop("path")), "'path' is a required"),
    "no licence": (
        changed(lambda c: c.update(customProperties=c["customProperties"][1:])),
        "customProperties.licence is None",
    ),
    "another licence": (changed(lambda c: c["customProperties"][0].update(value="MIT")), "licence is 'MIT'"),
    "active though synthetic": (changed(lambda c: c.update(status="active")), "status is 'active'"),
    "another version": (changed(lambda c: c.update(version="1.0.0")), "version is '1.0.0'"),
    "no latency": (
        changed(lambda c: c.update(slaProperties=c["slaProperties"][:1])),
        "slaProperties has no latency",
    ),
    "another frequency": (changed(lambda c: c["slaProperties"][0].update(value=4)), "slaProperties.frequency"),
    "a column gone": (changed(lambda c: c["schema"][0]["properties"].pop()), "its properties are not the columns"),
    "a column not in the data": (column(1, name="price"), "its properties are not the columns"),
    "another type": (column(1, logicalType="integer", physicalType="BIGINT"), "accelerator is of type BIGINT"),
    "an unknown type": (column(1, logicalType="text"), "'text' is not one of"),
    "nullable": (column(1, required=False), "accelerator: required and nullable"),
    "another key": (
        changed(lambda c: c["schema"][0]["properties"][0].update(primaryKeyPosition=9)),
        "its primary key is",
    ),
    "a key without a place": (
        changed(lambda c: c["schema"][0]["properties"][0].pop("primaryKeyPosition")),
        "'primaryKeyPosition' is a required",
    ),
    "an array of nothing": (
        changed(lambda c: [each.pop("items", None) for each in c["schema"][0]["properties"]]),
        "'items' is a required",
    ),
    "another count": (changed(lambda c: c["schema"][0]["quality"][0].update(mustBe=1)), "it promises [1] rows"),
    "a rule without a query": (
        changed(lambda c: c["schema"][0]["quality"][1].pop("query")),
        "$.schema[0].quality[1]",
    ),
    "a rule that writes": (
        changed(lambda c: c["schema"][0]["quality"][1].update(query="DROP TABLE a")),
        "does not match '^SELECT '",
    ),
    "another file": (changed(lambda c: c["schema"][0].update(physicalName="data/x.parquet")), "physicalName is"),
    "a table gone": (changed(lambda c: c["schema"].pop()), "workload is in the dictionary alone"),
    "a table more in the dictionary": (
        lambda p: edited(p, "data_dictionary.json", lambda d: d["tables"].pop()),
        "workload is in the contract alone",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found_and_named(offer: Pack, name: str) -> None:
    change, expected = BROKEN[name]
    problems = check.validate(change(offer))
    assert any(expected in problem for problem in problems), problems
