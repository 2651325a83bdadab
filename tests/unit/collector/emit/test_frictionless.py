from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import frictionless
import pytest

from metavox_collector.dataset.checks import frictionless as check
from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.packs import Pack, edited, replaced, written

PACKAGE = "datapackage.json"


def errors(pack: Pack, directory: Path) -> list[str]:
    """What frictionless says of a pack."""
    report = frictionless.validate(str(written(pack, directory) / PACKAGE))
    return [error.message for task in report.tasks for error in task.errors] + [e.message for e in report.errors]


def test_frictionless_finds_nothing_wrong(pack: Pack, tmp_path: Path) -> None:
    report = frictionless.validate(str(written(pack, tmp_path) / PACKAGE))
    assert report.valid, report.flatten(["title", "message"])
    assert sorted(task.type for task in report.tasks) == ["file"] * 5 + ["table"] * 5
    assert not any(task.warnings for task in report.tasks)


def test_frictionless_reads_the_rows(dataset: Dataset, pack: Pack, tmp_path: Path) -> None:
    package = frictionless.Package(str(written(pack, tmp_path) / PACKAGE))
    rows = package.get_resource("performance").read_rows()
    for read, row in zip(rows, dataset.table("performance").rows, strict=True):
        assert read["noisy"] == row["noisy"]
        assert read["contributors"] == row["contributors"]
        assert (None if read["p50"] is None else float(read["p50"])) == row["p50"]


def test_what_was_emitted_passes(pack: Pack) -> None:
    assert check.validate(pack) == []


def changed(change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    return lambda pack: edited(pack, PACKAGE, change)


def field(name: str, change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    """Another field of the performance table."""

    def other(package: Any) -> None:
        [found] = [one for one in package["resources"][0]["schema"]["fields"] if one["name"] == name]
        change(found)

    return changed(other)


def unlike(pack: Pack) -> Pack:
    """A figure in the CSV file that is a word."""
    return replaced(pack, "csv/performance.csv", ",s,", ",s,fast")


BOTH: Mapping[str, tuple[Callable[[Pack], Pack], str, str]] = {
    "wrong hash": (
        changed(lambda p: p["resources"][0].update(hash=f"sha256:{'0' * 64}")),
        "expected hash count",
        "csv/performance.csv has another hash",
    ),
    "wrong hash of Parquet": (
        changed(lambda p: p["resources"][1].update(hash=f"sha256:{'0' * 64}")),
        "expected hash count",
        "data/performance.parquet has another hash",
    ),
    "a column not in the data": (
        changed(lambda p: p["resources"][0]["schema"]["fields"].append({"name": "x", "type": "string"})),
        '"x"',
        "'description' is a required property",
    ),
    "wrong type": (
        field("quantization", lambda f: f.update(type="integer")),
        'type is "integer/default"',
        "field quantization has the type integer",
    ),
    "not in vocabulary": (
        field("quantization", lambda f: f["constraints"].update(enum=["gguf"])),
        'constraint "enum"',
        "field quantization has another vocabulary",
    ),
    "a value of another type": (unlike, 'type is "number/default"', "csv/performance.csv has another hash"),
    "a key twice": (
        changed(lambda p: p["resources"][0]["schema"].update(primaryKey=["week"])),
        "primary key",
        "primaryKey is not week, accelerator",
    ),
    "no resources": (changed(lambda p: p.pop("resources")), "resources", "'resources' is a required property"),
}


@pytest.mark.parametrize("which", BOTH)
def test_what_was_changed_is_found_by_frictionless_and_by_us(pack: Pack, tmp_path: Path, which: str) -> None:
    change, theirs, ours = BOTH[which]
    broken = change(pack)
    found = errors(broken, tmp_path)
    assert any(theirs.lower() in message.lower() for message in found), found
    problems = check.validate(broken)
    assert any(ours in problem and problem.startswith(PACKAGE) for problem in problems), problems


@pytest.mark.parametrize("key", ["licenses", "contributors", "sources", "version", "name", "title", "description"])
def test_frictionless_lets_these_be_left_out_and_we_do_not(pack: Pack, tmp_path: Path, key: str) -> None:
    broken = edited(pack, PACKAGE, lambda package: package.pop(key))
    assert errors(broken, tmp_path) == []
    assert f"{PACKAGE}: $: '{key}' is a required property" in check.validate(broken)


OURS: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != PACKAGE}, "missing"),
    "first version": (
        changed(lambda p: p.update({"$schema": "https://datapackage.org/profiles/1.0/datapackage.json"})),
        "'https://datapackage.org/profiles/2.0/datapackage.json' was expected",
    ),
    "other licence": (
        changed(lambda p: p["licenses"][0].update(name="MIT")),
        "licenses are not CDLA-Permissive-2.0",
    ),
    "other publisher": (changed(lambda p: p["contributors"][0].update(title="x")), "do not name the publisher"),
    "no measurement": (
        changed(lambda p: p.update(description="True.")),
        "does not say whether the release is synth",
    ),
    "another day": (
        changed(lambda p: p.update(created="2020-01-01T00:00:00Z")),
        "created is '2020-01-01T00:00:00Z'",
    ),
    "wrong size": (changed(lambda p: p["resources"][0].update(bytes=7)), "bytes, stated 7"),
    "outside": (changed(lambda p: p["resources"][0].update(path="../x.csv")), "$.resources[0].path"),
    "another file": (changed(lambda p: p["resources"][0].update(path="x.csv")), "x.csv is no file of a table"),
    "not in the pack": (
        lambda p: {k: v for k, v in p.items() if k != "csv/models.csv"},
        "csv/models.csv is not in",
    ),
    "a resource gone": (changed(lambda p: p["resources"].pop()), "data/workload.parquet is missing"),
    "a resource twice": (changed(lambda p: p["resources"].append(p["resources"][0])), "performance is there twice"),
    "no schema": (changed(lambda p: p["resources"][0].pop("schema")), "'schema' is a dependency of 'type'"),
    "no table": (
        changed(lambda p: [p["resources"][0].pop(key) for key in ("schema", "type", "encoding")]),
        "is no table with a schema",
    ),
    "a column without a field": (
        changed(lambda p: p["resources"][0]["schema"]["fields"].pop()),
        "column synthetic has no field",
    ),
    "a field too many": (
        changed(lambda p: p["resources"][0]["schema"]["fields"].append({**NAMED, "name": "salary"})),
        "no column is called salary",
    ),
    "may be empty": (field("contributors", lambda f: f.pop("constraints")), "contributors does not say rightly"),
    "another unit": (field("p50", lambda f: f.update(unit="ms")), "p50 has another description or unit"),
}

NAMED = {"type": "string", "description": "of nobody"}


@pytest.mark.parametrize("which", OURS)
def test_what_was_changed_is_named(pack: Pack, which: str) -> None:
    change, said = OURS[which]
    problems = check.validate(change(pack))
    assert any(said in problem and problem.startswith(PACKAGE) for problem in problems), problems
