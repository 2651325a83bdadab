from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from metavox_collector.dataset.checks import dictionary as check
from metavox_collector.dataset.model import Dataset
from metavox_privacy.smoothing import KERNEL
from tests.unit.collector.emit.packs import Pack, edited

DICTIONARY = "data_dictionary.json"


def test_every_column_metric_and_fact_is_described(dataset: Dataset, pack: Pack) -> None:
    described = json.loads(pack[DICTIONARY])
    assert described["release"]["week"] == "2026-W47"
    assert described["privacy"]["release_sha256"] == dataset.release.sha256
    assert described["privacy"]["ledger_head"] == dataset.history[-1].hash
    for table, said in zip(dataset.tables, described["tables"], strict=True):
        assert [column["name"] for column in said["columns"]] == [column.name for column in table.columns]
        assert said["threshold"] == table.released.threshold
        assert said["histogram_noise_scales"] == table.released.histogram_scales
    ttft, *_, errors = described["metrics"]
    assert (ttft["buckets"], ttft["spread_buckets"], ttft["kernel"]) == (64, 72, list(KERNEL))
    assert (errors["buckets"], errors["spread_buckets"], errors["kernel"]) == (2, 2, [1])


def test_what_was_emitted_passes(pack: Pack) -> None:
    assert check.validate(pack) == []


def changed(change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    return lambda pack: edited(pack, DICTIONARY, change)


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != DICTIONARY}, "missing"),
    "no JSON": (lambda p: {**p, DICTIONARY: b"{"}, "no JSON"),
    "a name twice": (
        lambda p: {**p, DICTIONARY: p[DICTIONARY].replace(b'"rho": 0', b'"rho": 1, "rho": 0', 1)},
        "a name is there twice",
    ),
    "not a number": (
        lambda p: {**p, DICTIONARY: p[DICTIONARY].replace(b'"rho": 0', b'"rho": NaN, "x": 0', 1)},
        "NaN",
    ),
    "no licence": (changed(lambda d: d.pop("licence")), "'licence' is a required property"),
    "other licence": (changed(lambda d: d.update(licence="MIT")), "licence is 'MIT'"),
    "other type": (changed(lambda d: d["tables"][0].update(rows="24")), "$.tables[0].rows"),
    "no description": (
        changed(lambda d: d["tables"][0]["columns"][0].pop("description")),
        "'description' is a req",
    ),
    "a column gone": (changed(lambda d: d["tables"][0]["columns"].pop()), "no column synthetic of type bool"),
    "a figure gone": (changed(lambda d: d["tables"][0]["columns"].pop(9)), "of type double"),
    "a column twice": (
        changed(lambda d: d["tables"][0]["columns"].append(d["tables"][0]["columns"][0])),
        "a column is there twice",
    ),
    "a table twice": (changed(lambda d: d["tables"].append(d["tables"][0])), "a table is there twice"),
    "a table gone": (changed(lambda d: d["tables"].pop()), "is in the pack and in no table"),
    "a file gone": (lambda p: {k: v for k, v in p.items() if k != "csv/models.csv"}, "csv/models.csv is missing"),
    "a file too many": (lambda p: {**p, "data/secret.parquet": b""}, "data/secret.parquet is in the pack"),
    "another file": (changed(lambda d: d["tables"][0].update(file="../x.parquet")), "file and csv are not"),
    "a cheaper ε": (changed(lambda d: d["release"].update(epsilon=0.1)), "epsilon is 0.1, where ρ implies"),
    "another ρ": (changed(lambda d: d["privacy"].update(rho=0.001)), "differ from release.rho"),
    "more than the cap": (changed(lambda d: d["privacy"].update(rho_yearly_cap=0.001)), "than the cap permits"),
    "no sum": (changed(lambda d: d["privacy"].update(rho_together=1.0)), "rho_together is not the sum"),
    "no synthetic": (
        changed(lambda d: d["release"].update(synthetic=False)),
        "does not say whether the release is",
    ),
    "another week": (
        changed(lambda d: d["release"].update(week="2026-W48")),
        "name does not hold the release's week",
    ),
    "edges": (changed(lambda d: d["metrics"][0]["bucket_edges"].reverse()), "bucket_edges do not ascend"),
    "an edge gone": (changed(lambda d: d["metrics"][0]["bucket_edges"].pop()), "64 buckets do not go with"),
    "the kernel": (changed(lambda d: d["metrics"][0].update(kernel=[1])), "spread_buckets do not go with"),
    "a metric gone": (changed(lambda d: d["metrics"].pop(0)), "metric time_to_first_token is not described"),
    "rows": (changed(lambda d: d["tables"][0].update(rows=7)), "7 rows do not go with"),
    "a key of numbers": (
        changed(lambda d: d["tables"][0].update(primary_key=["p50"])),
        "key p50 is no column of type",
    ),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_was_changed_is_named(pack: Pack, which: str) -> None:
    change, said = BROKEN[which]
    problems = check.validate(change(pack))
    assert any(said in problem and problem.startswith(DICTIONARY) for problem in problems), problems
