from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from metavox_collector.dataset.checks import croissant as check
from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.packs import Pack, edited, written

CROISSANT = "croissant.json"

# What mlcroissant 1.1 asks of rdflib 7.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def directory(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(pack, tmp_path_factory.mktemp("pack"))


def plain(value: Any) -> Any:
    """What mlcroissant reads, without numpy's types, bytes as text and NaN as None."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if hasattr(value, "item") else value


def test_mlcroissant_finds_nothing_wrong(directory: Path) -> None:
    record = mlcroissant.Dataset(directory / CROISSANT)
    assert not record.metadata.ctx.issues.errors
    assert not record.metadata.ctx.issues.warnings
    assert record.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"


def test_mlcroissant_reads_every_row_of_every_table(dataset: Dataset, directory: Path) -> None:
    record = mlcroissant.Dataset(directory / CROISSANT)
    for table in dataset.tables:
        read = [{name: plain(value) for name, value in row.items()} for row in record.records(table.name)]
        assert read == [{f"{table.name}/{name}": value for name, value in row.items()} for row in expected(table)]
        assert read


def expected(table: Any) -> list[dict[str, Any]]:
    return [{column.name: row[column.name] for column in table.columns} for row in table.rows]


def test_mlcroissant_reads_what_the_responsible_use_vocabulary_says(directory: Path) -> None:
    metadata = mlcroissant.Dataset(directory / CROISSANT).metadata
    assert "never by default" in metadata.data_collection
    assert any("Self-selection" in one for one in metadata.data_biases)
    assert any("Phantoms" in one for one in metadata.data_limitations)
    assert metadata.data_use_cases
    assert metadata.personal_sensitive_information
    assert metadata.data_social_impact
    assert metadata.data_release_maintenance_plan


def test_a_unit_is_an_annotation_of_its_field(directory: Path) -> None:
    metadata = mlcroissant.Dataset(directory / CROISSANT).metadata
    fields = {field.id: field for record_set in metadata.record_sets for field in record_set.fields}
    [unit] = fields["performance/p50"].annotations
    assert unit.source.extract.column == "unit"
    [unit] = fields["performance/contributors"].annotations
    assert unit.value == "1"


def test_mlcroissant_takes_a_record_without_name_and_licence_and_we_do_not(pack: Pack, tmp_path: Path) -> None:
    def remove(record: dict[str, Any]) -> None:
        for key in ("name", "license"):
            del record[key]

    broken = edited(pack, CROISSANT, remove)
    mlcroissant.Dataset(written(broken, tmp_path) / CROISSANT)
    problems = check.validate(broken)
    assert any("'license' is a required property" in problem for problem in problems)
    assert any("'name' is a required property" in problem for problem in problems)


def cause_of(directory: Path) -> str:
    """Why mlcroissant cannot read the performance table."""
    with pytest.raises(mlcroissant.GenerationError) as caught:
        list(mlcroissant.Dataset(directory / CROISSANT).records("performance"))
    cause: BaseException = caught.value
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause)


def test_mlcroissant_and_we_find_a_wrong_hash(pack: Pack, tmp_path: Path) -> None:
    broken = edited(pack, CROISSANT, lambda record: record["distribution"][0].update(sha256="0" * 64))
    assert "0" * 64 in cause_of(written(broken, tmp_path))
    assert f"{CROISSANT}: distribution: data/performance.parquet has another sha256" in check.validate(broken)


def test_mlcroissant_and_we_find_a_field_that_is_no_column(pack: Pack, tmp_path: Path) -> None:
    broken = edited(pack, CROISSANT, lambda record: record["recordSet"][0]["field"].append(no_column()))
    assert "salary" in cause_of(written(broken, tmp_path))
    assert f"{CROISSANT}: recordSet performance: no column is called salary" in check.validate(broken)


def no_column() -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": "performance/salary",
        "name": "salary",
        "description": "of nobody",
        "dataType": "sc:Text",
        "source": {"fileObject": {"@id": "data/performance.parquet"}, "extract": {"column": "salary"}},
    }


def test_what_was_emitted_passes(pack: Pack) -> None:
    assert check.validate(pack) == []


def changed(change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    return lambda pack: edited(pack, CROISSANT, change)


REQUIRED = (
    *("@context", "@type", "conformsTo", "name", "description", "version", "datePublished", "url", "license"),
    *("creator", "publisher", "citeAs", "distribution", "recordSet", "rai:dataCollection", "rai:dataBiases"),
    *("rai:dataLimitations", "rai:dataUseCases", "rai:personalSensitiveInformation"),
)


@pytest.mark.parametrize("key", REQUIRED)
def test_nothing_required_may_be_left_out(pack: Pack, key: str) -> None:
    problems = check.validate(edited(pack, CROISSANT, lambda record: record.pop(key)))
    assert f"{CROISSANT}: $: '{key}' is a required property" in problems


def field(name: str, change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    """Another field of the performance table."""

    def other(record: Any) -> None:
        [found] = [one for one in record["recordSet"][0]["field"] if one["name"] == name]
        change(found)

    return changed(other)


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != CROISSANT}, "missing"),
    "older standard": (
        changed(lambda r: r.update(conformsTo=["http://mlcommons.org/croissant/1.0"])),
        "conformsTo",
    ),
    "a licence that means nothing": (
        changed(lambda r: r["@context"].update(license=None)),
        "@context is not the one",
    ),
    "one licence": (changed(lambda r: r["license"].pop()), "$.license"),
    "other licence": (changed(lambda r: r["license"].__setitem__(0, "https://x.org")), "cdla.dev"),
    "other publisher": (changed(lambda r: r["creator"].update(name="Somebody")), "creator is not the publisher"),
    "other version": (changed(lambda r: r.update(version="9.9.9")), "version is '9.9.9'"),
    "another day": (changed(lambda r: r.update(datePublished="2020-01-01")), "datePublished is '2020-01-01'"),
    "no measurement": (
        changed(lambda r: r.update(description=r["description"].removeprefix("Synthetic"))),
        "description does not say whether the release is synthetic",
    ),
    "cites another": (changed(lambda r: r.update(citeAs="@misc{x}")), "citeAs does not hold the release's SHA-256"),
    "wrong size": (changed(lambda r: r["distribution"][1].update(contentSize="1 B")), "another contentSize"),
    "data changed": (lambda p: {**p, "csv/models.csv": b"week\r\n"}, "csv/models.csv has another sha256"),
    "no hash": (changed(lambda r: r["distribution"][0].pop("sha256")), "'sha256' is a required property"),
    "file not stated": (changed(lambda r: r["distribution"].pop(0)), "data/performance.parquet is missing"),
    "another file": (
        changed(lambda r: r["distribution"][0].update(contentUrl="/etc/passwd")),
        "/etc/passwd is no file",
    ),
    "table gone": (changed(lambda r: r["recordSet"].pop()), "table workload is missing"),
    "table twice": (changed(lambda r: r["recordSet"].append(r["recordSet"][0])), "performance is there twice"),
    "table of nothing": (changed(lambda r: r["recordSet"][0].update({"@id": "x"})), "no table is called x"),
    "column without a field": (
        changed(lambda r: r["recordSet"][0]["field"].pop()),
        "column synthetic has no field",
    ),
    "field twice": (
        changed(lambda r: r["recordSet"][0]["field"].append(r["recordSet"][0]["field"][0])),
        "field week is there twice",
    ),
    "another key": (changed(lambda r: r["recordSet"][0]["key"].pop()), "key is not week, accelerator"),
    "wrong type": (field("p50", lambda f: f.update(dataType="sc:Text")), "field p50 has the type sc:Text"),
    "no array": (field("noisy", lambda f: f.pop("isArray")), "field noisy does not say whether it is an array"),
    "another column": (
        field("p50", lambda f: f["source"]["extract"].update(column="p99")),
        "field p50 is not read from its column",
    ),
    "another description": (field("p50", lambda f: f.update(description="the best")), "another description"),
    "no unit": (field("p50", lambda f: f.pop("annotation")), "field p50 has a unit and the column none"),
    "another unit": (field("share", lambda f: f["annotation"].update(value="%")), "field share has the unit %"),
    "constant unit": (
        field("p50", lambda f: f["annotation"].update(value=f["annotation"].pop("source") and "s")),
        "field p50 does not take its unit from the row",
    ),
    "dictionary wrong": (
        lambda p: edited(p, "data_dictionary.json", lambda d: d.pop("tables")),
        "data_dictionary.json: wrong in itself",
    ),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_was_changed_is_named(pack: Pack, which: str) -> None:
    change, said = BROKEN[which]
    problems = check.validate(change(pack))
    assert any(said in problem for problem in problems), problems
