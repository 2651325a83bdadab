from __future__ import annotations

import hashlib
import itertools
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from metavox_collector.errors import StoreUnavailable, WrongDatabase
from metavox_collector.store import Database, sqlite_staged
from tests.spans import WEEK, example_report, example_span
from tests.unit.collector.releases import CAP, NEXT, everything
from tests.waiting import FOR_EVER, waits

RELEASE = {"week", "purpose"}
STAGED = {"report_id", "position", "flags", "cell", "histograms"}
COLUMNS = {
    "alembic_version": {"version_num"},
    "collector": {"id", "sandbox", "yearly_cap", "schema_version", "schema_fingerprint"},
    "deleted_report": {"tombstone", "week", "due"},
    "ledger": {
        *(*RELEASE, "sequence", "weeks", "scope", "schema_version", "nano_rho", "yearly_cap", "sandbox"),
        *("reason", "release", "previous", "hash"),
    },
    "release": {*RELEASE, "weeks", "scope", "schema_version", "nano_rho", "synthetic", "sequence"},
    "released_table": {
        *(*RELEASE, "table_name", "position", "dimensions", "keys", "count_scale", "histogram_scales"),
        "threshold",
    },
    "newest_file": {*RELEASE, "schema_version", "zipped"},
    "released_cell": {*RELEASE, "table_name", "position", "key", "contributors", "histograms"},
}
STAGED_COLUMNS = {
    "sqlite": {"staged_cell_202647": STAGED},
    "postgresql": {name: {"week", *STAGED} for name in ("staged_cell", "staged_cell_202647")},
}


def stage(database, *reports):
    with database.staging({report.week for report in reports}) as transaction:
        return transaction.add_reports(reports)


def columns(database):
    with database.read() as transaction:
        look = inspect(transaction.connection)
        return {name: {column["name"] for column in look.get_columns(name)} for name in look.get_table_names()}


def numbered(number, **changes):
    return replace(example_report(), **{"report_id": f"{number:064x}", **changes})


def test_no_table_holds_anything_beside_these_columns(database, schema):
    stage(database, example_report(schema=schema))
    assert columns(database) == COLUMNS | STAGED_COLUMNS[database.dialect]


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
        *("postgresql+psycopg2://localhost/db", "sqlite+aiosqlite:///a.db"),
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
    changed = replace(schema, version=schema.version + 1, dimensions=schema.dimensions[:-1])
    adopted = Database.existing(url, changed)
    assert everything(adopted)["collector"] == [(1, False, CAP, changed.version, changed.fingerprint)]
    adopted.dispose()


def test_a_changed_schema_is_refused_while_reports_are_staged(database, url, schema):
    stage(database, example_report(schema=schema))
    with pytest.raises(WrongDatabase, match="staged under schema version 2"):
        Database.existing(url, replace(schema, version=schema.version + 1))


def test_nothing_is_staged_under_a_schema_that_the_database_has_left(database, url, schema):
    Database.existing(url, replace(schema, version=schema.version + 1)).dispose()
    for transaction in (database.write(), database.staging({WEEK}), database.deleting(), database.closing(WEEK)):
        with pytest.raises(StoreUnavailable, match="software with another schema has adopted"), transaction:
            pytest.fail("the transaction began")


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


def test_a_new_database_is_its_owners_alone(sqlite_url, schema, tmp_path):
    before = os.umask(0o022)
    try:
        opened = Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP)
        with opened.turn() as is_mine:
            assert is_mine
    finally:
        os.umask(before)
    modes = {path.name.removeprefix("collector.db"): path.stat().st_mode for path in tmp_path.iterdir()}
    private = stat.S_IFREG | 0o600
    assert modes == dict.fromkeys(("", "-wal", "-shm", "-housekeeping"), private)
    opened.dispose()


def test_a_week_that_is_moving_is_read_in_order_without_sorting_it(sqlite_database):
    stage(sqlite_database, *(numbered(number) for number in range(20)))
    statements = []
    with sqlite_database.write() as transaction:
        connection = transaction.connection
        sqlite_staged.begin_to_move(connection, 202647)
        connection.connection.driver_connection.set_trace_callback(statements.append)
        assert len(list(transaction.staged_reports(WEEK, "publish"))) == 20
        connection.connection.driver_connection.set_trace_callback(None)
        (reading,) = [statement for statement in statements if "UNION ALL" in statement]
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {reading}").all()
    assert "MERGE (UNION ALL)" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


@pytest.fixture
def sqlite_database(sqlite_url, schema) -> Iterator[Database]:
    opened = Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


def test_sqlite_keeps_the_order_of_arrival_nowhere(sqlite_database):
    stage(sqlite_database, example_report())
    with sqlite_database.read() as transaction, pytest.raises(DBAPIError, match="no such column: rowid"):
        transaction.connection.exec_driver_sql("SELECT rowid FROM staged_cell_202647")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 sets no limits")
def test_a_group_of_any_size_asks_for_no_more_variables_than_every_sqlite_has(sqlite_database):
    reports = [numbered(number) for number in range(2500)]
    with sqlite_database.write() as transaction:
        driver = transaction.connection.connection.driver_connection
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766 // 20)
        assert transaction.deleted_among([report.report_id for report in reports]) == frozenset()
        assert transaction.add_reports(reports[:1200]) == 1200
        assert transaction.add_reports(reports) == 1300
        with pytest.raises(sqlite3.OperationalError, match="too many SQL variables"):
            driver.execute(f"SELECT {', '.join('?' * 1639)}", [1] * 1639)


def test_a_log_that_a_reader_holds_is_not_said_to_be_empty(sqlite_database, sqlite_url, schema):
    impatient = Database.existing(sqlite_url, schema, busy_timeout=0.01)
    with sqlite_database.read() as reader:
        assert list(reader.staged_reports(WEEK, "publish")) == []
        stage(impatient, example_report(schema=schema))
        assert impatient.scrub() is False
    assert impatient.scrub() is True
    impatient.dispose()


def test_a_weeks_rows_come_by_report_and_position_and_whole_reports_together(database, schema):
    reports = [
        replace(example_report(*spans[: 1 + number % 2], schema=schema), report_id=report_id(number))
        for number in range(50)
    ]
    for start in range(0, 50, 7):
        stage(database, *reports[start : start + 7])
    with database.read() as transaction:
        batches = list(transaction.staged_rows(WEEK, batch=5))
        assert sorted(transaction.staged_reports(WEEK, "publish"), key=by_id) == sorted(reports, key=by_id)
    rows = [row for batch in batches for row in batch]
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)
    assert len(batches) > 5
    ends = [(one[-1].report_id, other[0].report_id) for one, other in itertools.pairwise(batches)]
    assert not [pair for pair in ends if pair[0] == pair[1]]


def by_id(report):
    return report.report_id


def report_id(number):
    return hashlib.sha256(b"%d" % number).hexdigest()


spans = [example_span(), example_span(metavox__request__concurrency=1)]


def test_of_two_deliveries_of_one_name_the_first_is_kept_whole(database, schema):
    long, short = example_report(*spans, schema=schema), example_report(schema=schema)
    assert [stage(database, long), stage(database, short)] == [1, 0]
    assert stage(database, replace(short, report_id=report_id(1)), replace(long, report_id=report_id(1))) == 1
    with database.read() as transaction:
        kept = {report.report_id: len(report.cells) for report in transaction.staged_reports(WEEK, "publish")}
    assert kept == {long.report_id: 2, report_id(1): 1}


@pytest.mark.parametrize("kept", [True, False])
def test_of_two_contents_of_one_name_at_the_same_moment_one_is_stored_whole(database, url, schema, kept):
    long, short = example_report(*spans, schema=schema), example_report(schema=schema)
    patient, stored = Database.existing(url, schema, busy_timeout=FOR_EVER), []
    with suppress(KeyError), database.staging({WEEK}) as transaction:
        transaction.add_reports([short])
        second = threading.Thread(target=lambda: stored.append(stage(patient, long)))
        second.start()
        assert waits(second, url)
        if not kept:
            raise KeyError
    second.join()
    patient.dispose()
    with database.read() as transaction:
        assert list(transaction.staged_reports(WEEK, "publish")) == [short if kept else long]
    assert stored == [0 if kept else 1]


def test_the_same_name_may_be_of_two_weeks(database):
    assert stage(database, numbered(1), numbered(1, week=NEXT)) == 2
    with database.read() as transaction:
        assert transaction.staged_weeks() == [WEEK, NEXT]


def test_weeks_that_are_accepted_no_more_are_destroyed_with_their_tombstones(database):
    stage(database, numbered(1), numbered(2, week=NEXT))
    with database.deleting() as transaction:
        assert transaction.delete_report(report_id(3), until=WEEK) is False
        assert transaction.delete_report(report_id(4), until=NEXT) is False
    assert database.keep_weeks(oldest=NEXT, newest=NEXT) == 1
    rows = everything(database)
    assert [row.report_id.hex() for row in rows["staged_cell"]] == [numbered(2).report_id]
    assert [row.week for row in rows["deleted_report"]] == [202648]


def test_one_process_at_a_time_has_the_turn_to_keep_house(database, url, schema):
    other = Database.existing(url, schema)
    with database.turn() as mine, other.turn() as others:
        assert (mine, others) == (True, False)
    with other.turn() as others:
        assert others is True
    other.dispose()


def test_who_reads_sees_one_state_of_the_database(database, url, schema):
    other = Database.existing(url, schema)
    with database.read() as transaction:
        assert transaction.count_staged(WEEK) == 0
        with other.staging({WEEK}) as writer:
            writer.add_reports([example_report()])
        assert transaction.count_staged(WEEK) == 0
    with database.read() as transaction:
        assert transaction.count_staged(WEEK) == 1
    other.dispose()
