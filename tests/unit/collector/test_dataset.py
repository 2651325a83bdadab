from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from metavox_collector.close import close_week
from metavox_collector.dataset import parquet
from metavox_collector.dataset.columns import columns_of
from metavox_collector.dataset.export import export
from metavox_collector.dataset.listing import listing
from metavox_collector.errors import NotReleased, TargetExists
from metavox_collector.store import Database
from metavox_privacy.budget import LedgerBroken, epsilon
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.spans import WEEK
from tests.unit.collector.releases import AFTER, CAP, PLENTY, generous, released


@pytest.fixture
def dataset(database, url, tmp_path) -> Path:
    released(database, url)
    return export(database, WEEK, "publish", tmp_path / "out")


def described(dataset: Path) -> dict:
    return json.loads((dataset / "data_dictionary.json").read_text(encoding="utf-8"))


def test_every_column_is_in_the_dictionary_and_every_entry_is_a_column(dataset):
    tables = described(dataset)["tables"]
    assert {table["file"] for table in tables} == {path.name for path in dataset.glob("*.parquet")}
    for table in tables:
        names = pq.read_schema(dataset / table["file"]).names
        assert names == [column["name"] for column in table["columns"]]


def test_the_dictionary_derives_from_the_schema(dataset, schema):
    about = described(dataset)
    assert [table["name"] for table in about["tables"]] == [table.name for table in schema.tables]
    for table, declared in zip(about["tables"], schema.tables, strict=True):
        vocabularies = {c["name"]: tuple(c["vocabulary"]) for c in table["columns"] if "vocabulary" in c}
        expected = {name: schema.dimension[name].vocabulary for name in declared.dimensions}
        assert vocabularies == expected | ({"metric": declared.metrics} if declared.metrics else {})
    edges = {metric["name"]: tuple(metric["bucket_edges"]) for metric in about["metrics"]}
    assert edges == {metric.name: metric.edges for metric in schema.metrics}


def test_the_files_hold_the_fleets_figures(dataset):
    rows = pq.read_table(dataset / "performance.parquet").to_pylist()
    by_metric = {row["metric"]: row for row in rows}
    first = by_metric["time_to_first_token"]
    assert (first["model"], first["contributors"], first["unit"]) == ("metavox/tiny", 60, "s")
    assert 0.02 < first["p50"] <= first["p99"] < 0.045
    assert first["p50"] <= first["mean"] * 1.5
    assert first["share"] is None
    assert by_metric["error_rate"]["p50"] is None
    assert by_metric["error_rate"]["share"] == pytest.approx(1 / 3, abs=0.02)
    assert sum(first["histogram"]) == pytest.approx(60 * 256, rel=0.01)
    shares = pq.read_table(dataset / "software.parquet").to_pylist()
    assert [(row["engine"], row["contributors"]) for row in shares] == [("metavox", 60)]


def test_the_files_say_what_they_are(dataset):
    for path in dataset.glob("*.parquet"):
        metadata = {key.decode(): json.loads(value) for key, value in pq.read_schema(path).metadata.items()}
        assert metadata["week"] == "2026-W47"
        assert metadata["purpose"] == "publish"
        assert metadata["schema_version"] == 1
        assert metadata["rho"] > 0
        assert metadata["synthetic"] is False


def test_the_facts_of_privacy_are_in_the_dictionary_and_the_readme(dataset, schema):
    about = described(dataset)
    assert about["release"]["delta"] == 1e-8
    assert about["release"]["epsilon"] > about["release"]["rho"]
    assert about["privacy"]["cells_per_installation"] == schema.cells_per_report
    assert about["privacy"]["unit"] == "one installation in one ISO week"
    assert all(table["threshold"] >= 20 for table in about["tables"])
    readme = (dataset / "README.md").read_text(encoding="utf-8")
    assert "Synthetic" not in readme
    assert all(f"`{table.name}.parquet`" in readme for table in schema.tables)


def test_what_the_week_and_the_year_cost_is_stated_with_the_ledgers_head(dataset, database):
    with database.read() as transaction:
        improve, publish = transaction.ledger()
    stated = {
        "rho_by_purpose": {"improve": PLENTY / 1e9, "publish": PLENTY / 1e9},
        "rho_together": 2 * PLENTY / 1e9,
        "epsilon_together": epsilon(2 * PLENTY, 1e-8),
        "rho_yearly_cap": CAP / 1e9,
        "rho_spent_in_year": 2 * PLENTY / 1e9,
        "release_sha256": publish.release,
        "ledger_head": publish.hash,
    }
    assert publish.release != improve.release
    assert stated.items() <= described(dataset)["privacy"].items()
    for path in dataset.glob("*.parquet"):
        metadata = {key.decode(): json.loads(value) for key, value in pq.read_schema(path).metadata.items()}
        assert stated.items() <= metadata.items()
    readme = (dataset / "README.md").read_text(encoding="utf-8")
    assert f"ε = {stated['epsilon_together']:.3g}" in readme
    assert publish.release in readme
    assert publish.hash in readme


def test_a_release_is_stated_as_when_its_week_was_closed_however_late_it_is_exported(
    database, url, dataset, tmp_path
):
    close_week(database, Week(2026, 46), generous(url), now=AFTER)
    later = export(database, WEEK, "publish", tmp_path / "later")
    assert described(later) == described(dataset)


def test_a_release_that_is_not_what_was_paid_for_is_not_exported(database, url, tmp_path):
    released(database, url)
    with database.write() as transaction:
        transaction.connection.exec_driver_sql("UPDATE released_cell SET contributors = contributors + 1")
    with pytest.raises(LedgerBroken, match="is not what was released"):
        export(database, WEEK, "publish", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_sandbox_exports_says_so_everywhere(url, schema, tmp_path):
    sandbox = Database.create(url, schema, sandbox=True, yearly_cap=CAP)
    released(sandbox, url, synthetic=True)
    target = export(sandbox, WEEK, "publish", tmp_path / "out")
    with sandbox.read() as transaction:
        assert [entry["synthetic"] for entry in listing(transaction)] == [True]
    sandbox.dispose()
    assert target.name == "metavox-2026-W47-publish-synthetic"
    assert "**Synthetic.**" in (target / "README.md").read_text(encoding="utf-8")
    assert described(target)["release"]["synthetic"] is True
    for path in target.glob("*.parquet"):
        assert pq.read_schema(path).metadata[b"synthetic"] == b"true"
        assert set(pq.read_table(path)["synthetic"].to_pylist()) <= {True}


def test_nothing_is_overwritten(dataset, database):
    before = {path: path.stat().st_mtime_ns for path in dataset.iterdir()}
    with pytest.raises(TargetExists, match="nothing was written"):
        export(database, WEEK, "publish", dataset.parent)
    assert {path: path.stat().st_mtime_ns for path in dataset.iterdir()} == before


def test_an_export_that_fails_leaves_nothing(database, url, tmp_path, monkeypatch):
    released(database, url)

    def fail(*_arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(parquet, "write", fail)
    with pytest.raises(OSError, match="disk is full"):
        export(database, WEEK, "publish", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_week_without_a_release_is_not_exported(database, tmp_path):
    with pytest.raises(NotReleased, match="'metavox-collector close' makes one"):
        export(database, WEEK, "publish", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_listing_names_publish_releases_only_with_their_columns(database, url, schema):
    released(database, url)
    with database.read() as transaction:
        (entry,) = listing(transaction)
    assert (entry["week"], entry["purpose"], entry["synthetic"]) == ("2026-W47", "publish", False)
    assert [table["name"] for table in entry["tables"]] == [table.name for table in schema.tables]
    assert entry["tables"][0]["rows"] == len(schema.metrics)
    assert entry["tables"][0]["columns"][:2] == ["week", "accelerator"]


@pytest.mark.parametrize("table", SCHEMA.tables, ids=lambda table: table.name)
def test_every_column_is_described_and_named_once(table):
    columns = columns_of(table, SCHEMA)
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.description for column in columns)
