from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, inspect
from sqlalchemy.exc import DBAPIError

from metavox_collector.errors import StoreUnavailable, WrongDatabase
from metavox_collector.store import Database
from metavox_collector.store.tables import tables_of
from metavox_privacy.schema import SCHEMA
from tests.spans import WEEK, example_report
from tests.unit.collector.releases import CAP, everything

RELEASE = {"week", "purpose"}
COLUMNS = {
    "collector": {"id", "sandbox", "yearly_cap", "schema_version", "schema_fingerprint"},
    "staged_report": {"report_id", "week", "schema_version", "improve", "publish", "synthetic"},
    "staged_cell": {"report_id", "position", "histograms", *SCHEMA.dimension},
    "staged_report_2": {"report_id", "week", "schema_version", "improve", "publish", "synthetic"},
    "staged_cell_2": {"report_id", "position", "histograms", *SCHEMA.dimension},
    "rewriting": {"id", "receiving", "due"},
    "deleted_report": {"tombstone", "week"},
    "ledger": {
        *(*RELEASE, "sequence", "schema_version", "nano_rho", "yearly_cap", "sandbox", "release"),
        *("previous", "hash"),
    },
    "release": {*RELEASE, "schema_version", "nano_rho", "synthetic"},
    "released_table": {*RELEASE, "table_name", "position", "keys", "count_scale", "histogram_scale", "threshold"},
    "released_cell": {*RELEASE, "table_name", "position", "key", "contributors", "histograms"},
}


def test_no_table_holds_anything_beside_these_columns():
    tables = tables_of(SCHEMA).metadata.tables
    assert {name: {column.name for column in table.columns} for name, table in tables.items()} == COLUMNS


@pytest.mark.parametrize(("born", "opened", "words"), [(True, False, "is a sandbox"), (False, True, "production")])
def test_a_database_stays_what_it_was_born_as(url, schema, born, opened, words):
    Database.create(url, schema, sandbox=born, yearly_cap=CAP).dispose()
    with pytest.raises(WrongDatabase, match=words):
        Database.create(url, schema, sandbox=opened, yearly_cap=CAP)
    again = Database.existing(url, schema)
    assert again.sandbox is born
    again.dispose()


def test_looking_for_a_database_does_not_make_one(tmp_path, schema):
    with pytest.raises(WrongDatabase, match="there is no collector's database"):
        Database.existing(f"sqlite:///{tmp_path}/none.db", schema)
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_not_taken_for_ours(tmp_path, schema):
    (tmp_path / "empty.db").touch()
    with pytest.raises(WrongDatabase, match="there is no collector's database"):
        Database.existing(f"sqlite:///{tmp_path}/empty.db", schema)


@pytest.mark.parametrize(
    "url",
    [
        *("", "collector.db", "nosuch:///x", "sqlite://", "sqlite:///:memory:"),
        *("sqlite:///a.db?timeout=long", "sqlite:///a.db?other=word"),
    ],
)
def test_what_is_no_usable_url_is_said_to_be_none(url, schema):
    with pytest.raises(WrongDatabase, match=r"sqlite:///collector\.db"):
        Database.create(url, schema, sandbox=False, yearly_cap=CAP)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path, schema):
    (tmp_path / "a.db").write_bytes(b"these are just words" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        Database.create(f"sqlite:///{tmp_path}/a.db", schema, sandbox=False, yearly_cap=CAP)


def test_a_directory_that_is_not_there_is_said_to_be_so(tmp_path, schema):
    with pytest.raises(StoreUnavailable, match="unable to open"):
        Database.create(f"sqlite:///{tmp_path}/none/a.db", schema, sandbox=False, yearly_cap=CAP)


def test_a_changed_schema_is_adopted_when_nothing_is_staged(database, url, schema):
    changed = replace(schema, version=2, dimensions=schema.dimensions[:-1])
    adopted = Database.existing(url, changed)
    with adopted.read() as transaction:
        names = {column["name"] for column in columns(transaction, "staged_cell")}
    assert "streaming" not in names
    adopted.dispose()


def columns(transaction, table):
    return inspect(transaction.connection).get_columns(table)


def test_a_changed_schema_is_refused_while_reports_are_staged(database, url, schema):
    with database.write() as transaction:
        transaction.add_reports([example_report(schema=schema)])
    with pytest.raises(WrongDatabase, match="staged under schema version 1"):
        Database.existing(url, replace(schema, version=2))


def test_nothing_is_staged_under_a_schema_that_the_database_has_left(database, url, schema):
    Database.existing(url, replace(schema, version=2)).dispose()
    with pytest.raises(StoreUnavailable, match="software with another schema has adopted"), database.write():
        pytest.fail("the transaction began")
    assert everything(database)["staged_report"] == []


def test_an_exception_undoes_the_whole_transaction(database, schema):
    report = example_report(schema=schema)

    def fail() -> None:
        with database.write() as transaction:
            transaction.add_reports([report])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as transaction:
        assert list(transaction.staged_reports(report.week, "publish")) == []


def test_a_new_database_is_its_owners_alone(url, schema, tmp_path):
    before = os.umask(0o022)
    try:
        opened = Database.create(url, schema, sandbox=False, yearly_cap=CAP)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("collector.db", "collector.db-wal", "collector.db-shm"), 0o600)
    opened.dispose()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are read from /proc")
def test_destroying_a_large_week_leaves_no_list_of_its_reports_in_a_temporary_file(database, schema):
    report = example_report(schema=schema)
    opened: set[str] = set()

    def look() -> None:
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                opened.add(os.readlink(descriptor))

    with database.write() as transaction:
        into = transaction.tables.staging[0].report
        names = [{"report_id": f"{number:064x}"} for number in range(60_000)]  # 2 MB of names stay in memory
        row = {"week": str(WEEK), "schema_version": 1, "improve": True, "publish": True, "synthetic": False}
        transaction.connection.execute(into.insert(), [row | name for name in names])
        transaction.add_reports([report])
        driver = transaction.connection.connection.driver_connection
        driver.set_progress_handler(look, 20_000)
        transaction.destroy_staged(WEEK)
        driver.set_progress_handler(None, 0)
    assert any(name.endswith("collector.db") for name in opened)
    assert not [name for name in opened if "etilqs" in name]  # SQLite's name for its temporary files


def test_the_order_of_arrival_is_kept_nowhere(database, schema):
    with database.write() as transaction:
        transaction.add_reports([example_report(schema=schema)])
    for table in ("staged_report", "staged_cell", "staged_report_2", "staged_cell_2"):
        with database.read() as transaction, pytest.raises(DBAPIError, match="no such column: rowid"):
            transaction.connection.exec_driver_sql(f"SELECT rowid FROM {table}")  # noqa: S608


def test_a_group_of_any_size_asks_for_no_more_variables_than_every_sqlite_has(database, schema):
    most = 0

    def look(_connection, _cursor, _statement, parameters, _context, executemany):
        nonlocal most
        most = max(most, 0 if executemany else len(parameters))

    report = example_report(schema=schema)
    reports = [replace(report, report_id=f"{number:064x}") for number in range(2500)]
    with database.write() as transaction:
        event.listen(transaction.connection, "before_cursor_execute", look)
        assert transaction.add_reports(reports[:1200]) == 1200
        assert transaction.add_reports(reports) == 1300
    assert 0 < most <= 32_766 // 20


def test_a_log_that_a_reader_holds_is_not_said_to_be_empty(database, url, schema):
    impatient = Database.existing(url, schema, busy_timeout=0.01)
    with database.read() as reader:
        assert list(reader.staged_reports(WEEK, "publish")) == []
        with impatient.write() as transaction:
            transaction.add_reports([example_report(schema=schema)])
        assert impatient.scrub() is False
    assert impatient.scrub() is True
    impatient.dispose()
