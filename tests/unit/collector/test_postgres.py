from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from metavox_collector.errors import StoreUnavailable, WrongDatabase
from metavox_collector.store import Database, week_number
from metavox_collector.store.postgres_staged import query
from tests.spans import WEEK
from tests.unit.collector.deletions import fill, report, stage, staged
from tests.unit.collector.releases import CAP, NEXT
from tests.waiting import waits


@pytest.fixture
def database(postgres_url, schema) -> Iterator[Database]:
    opened = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


def setting(database: Database, name: str) -> str:
    with database.read() as transaction:
        return str(transaction.connection.exec_driver_sql(f"SHOW {name}").scalar_one())


def test_a_commit_is_on_the_disk_when_it_is_answered_whatever_the_servers_default_is(database, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    assert setting(database, "synchronous_commit") == "on"


def test_a_stricter_commit_of_the_operators_is_left_as_it_is(postgres_url, schema):
    strict = f"{postgres_url}?options=-csynchronous_commit%3Dremote_apply"
    opened = Database.create(strict, schema, sandbox=False, yearly_cap=CAP)
    assert setting(opened, "synchronous_commit") == "remote_apply"
    opened.dispose()


@pytest.mark.parametrize(("seconds", "shown"), [(0, "1ms"), (0.25, "250ms"), (5, "5s")])
def test_nobody_waits_longer_for_a_lock_than_was_said(postgres_url, schema, seconds, shown):
    opened = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP, busy_timeout=seconds)
    assert setting(opened, "lock_timeout") == shown
    opened.dispose()


def test_a_connection_that_the_server_has_cut_is_replaced(database, postgres_url):
    stage(database, report())
    ended = "SELECT count(pg_terminate_backend(pid, 30000))"  # which waits: one that still ends would answer
    others = f"{ended} FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(f"{others} AND pid <> pg_backend_pid()").fetchone() != (0,)
    assert stage(database, report(b"another")) == []
    assert len(staged(database)) == 2


def test_a_connection_that_is_cut_in_a_transaction_stores_nothing_and_is_told(database, postgres_url):
    def cut() -> None:
        with database.staging({WEEK}) as transaction:
            transaction.add_reports([report()])
            pid = transaction.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with psycopg.connect(postgres_url) as connection:
                connection.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])
            transaction.add_reports([report(b"another")])

    with pytest.raises(StoreUnavailable, match="cannot be used now"):
        cut()
    assert staged(database) == set()


def test_a_server_that_is_away_is_told_without_the_password(schema):
    with pytest.raises(StoreUnavailable) as told:
        Database.create("postgresql://me:secret@127.0.0.1:1/none", schema, sandbox=False, yearly_cap=CAP)
    assert "secret" not in str(told.value)
    assert "127.0.0.1" in str(told.value)


def test_what_a_row_holds_is_in_no_message(database):
    def repeat() -> None:
        with database.staging({WEEK}) as transaction:
            transaction.add_reports([report()])
            again = "INSERT INTO staged_cell_202647 SELECT * FROM staged_cell_202647"
            transaction.connection.exec_driver_sql(again)

    with pytest.raises(StoreUnavailable) as told:
        repeat()
    assert report().report_id not in f"{told.value} {told.value.kind} {told.value.__cause__}"
    assert told.value.kind == "UniqueViolation 23505"


def test_another_programs_database_is_not_taken_for_ours(postgres_url, schema):
    with pytest.raises(WrongDatabase, match="there is no collector's database"):
        Database.existing(postgres_url, schema)


def test_two_that_make_a_weeks_partition_at_the_same_time_both_stage(database, postgres_url, schema):
    other, done = Database.existing(postgres_url, schema), []
    with database.staging({NEXT}) as transaction:
        transaction.add_reports([report(week=NEXT)])
        late = threading.Thread(target=lambda: done.append(stage(other, report(b"another", week=NEXT))))
        late.start()
        assert waits(late, postgres_url)
    late.join()
    assert done == [[]]
    assert len(staged(database)) == 2
    other.dispose()


def test_a_week_is_read_without_sorting_it_which_would_leave_a_copy_on_the_disk(postgres_url, schema):
    prefers = f"{postgres_url}?options=-crandom_page_cost%3D1000%20-cseq_page_cost%3D0.01"
    opened = Database.create(prefers, schema, sandbox=False, yearly_cap=CAP)
    fill(opened)
    how = f"EXPLAIN {query(week_number(WEEK))}"
    with opened.read() as transaction:
        connection = transaction.connection
        assert "Sort" in str(connection.exec_driver_sql(how).all())
        assert sum(map(len, transaction.staged_rows(WEEK))) == 1500
        assert "Sort" not in str(connection.exec_driver_sql(how).all())
    opened.dispose()
