"""Several processes on one PostgreSQL: what one does at the wrong moment for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from metavox_collector.errors import BeingClosed, StoreUnavailable
from metavox_collector.store import Database, postgres
from metavox_privacy.week import Week
from tests.postgres import Server, server
from tests.spans import WEEK
from tests.unit.collector.deletions import TOKEN, delete, fill, report, stage, staged
from tests.unit.collector.releases import CAP, NEXT
from tests.unit.collector.test_rewriting import files
from tests.waiting import FOR_EVER, PATIENCE, waits


@pytest.fixture
def database(postgres_url, schema) -> Iterator[Database]:
    opened = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_close_sees_what_was_committed_while_it_waited_whatever_the_servers_default_is(
    database, postgres_url, schema, level
):
    stage(database, report())
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = postgres_url.rpartition("/")[2]
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    closer, seen = Database.existing(postgres_url, schema), []

    def close() -> None:
        with closer.closing(WEEK) as transaction:
            seen.append(transaction.count_staged(WEEK))

    with database.staging({WEEK}) as transaction:
        transaction.add_reports([report(b"another")])
        late = threading.Thread(target=close)
        late.start()
        assert waits(late, postgres_url)
    late.join()
    assert seen == [2]
    closer.dispose()


def test_a_week_that_expires_while_it_is_closed_is_left_to_the_close_and_others_expire(database):
    stage(database, report(), report(b"another", week=NEXT))
    newest = Week.of(NEXT.end)
    with database.closing(WEEK) as transaction:
        assert database.keep_weeks(newest, newest) == 1
        assert transaction.count_staged(WEEK) == 1
    assert staged(database) == {report().report_id}
    assert database.keep_weeks(newest, newest) == 1
    assert staged(database) == set()


def test_a_deleted_row_that_an_older_transaction_sees_is_due_until_it_is_gone(database, postgres, postgres_url):
    fill(database)
    stage(database, report())
    with psycopg.connect(postgres_url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1 FROM ledger")  # a snapshot, and no lock on what is staged
        assert delete(database, TOKEN)
        with pytest.raises(StoreUnavailable, match="older transaction") as told:
            database.rewrite_a_piece()
    assert told.value.kind == "an older transaction"
    assert database.rewrite_a_piece() is False
    assert bytes.fromhex(report().report_id) not in files(postgres, postgres_url)


def test_a_week_that_is_destroyed_while_somebody_reads_is_empty_to_them_and_the_next_can_be_read(database):
    stage(database, report(), report(b"another", week=NEXT))
    with database.read() as transaction:
        assert transaction.staged_weeks() == [WEEK, NEXT]
        with database.closing(WEEK) as closing:
            closing.destroy_staged(WEEK)
        assert list(transaction.staged_rows(WEEK)) == []
        assert transaction.count_staged(WEEK) == 0
        assert transaction.count_staged(NEXT) == 1


def test_who_deletes_while_a_week_is_written_anew_is_told_at_once_and_keeps_no_sender_waiting(
    database, postgres_url, schema
):
    stage(database, report())
    patient = Database.existing(postgres_url, schema, busy_timeout=FOR_EVER)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE staged_cell_202647 IN ACCESS EXCLUSIVE MODE")  # as CLUSTER does
        began = time.monotonic()
        with pytest.raises(BeingClosed):
            delete(patient, TOKEN)
        assert time.monotonic() - began < PATIENCE  # and not for as long as a lock is waited for
        assert stage(database, report(b"another", week=NEXT)) == []
    assert delete(patient, TOKEN)
    patient.dispose()


@pytest.fixture
def frozen() -> Iterator[Server]:
    """A server of its own, which may stand still."""
    with server() as started:
        yield started
        started.resume()


def test_a_server_that_stands_still_is_told_in_time_and_reports_are_taken_once_it_goes_on(
    monkeypatch, frozen, schema
):
    monkeypatch.setattr(postgres, "STATEMENT_S", 0.5)
    monkeypatch.setattr(postgres, "_GRACE_S", 0.1)
    database = Database.create(frozen.url(), schema, sandbox=False, yearly_cap=CAP, busy_timeout=0.5)
    stage(database, report())
    frozen.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        stage(database, report(b"another"))
    with pytest.raises(StoreUnavailable), database.read() as transaction:
        transaction.closed_weeks()
    assert time.monotonic() - began < PATIENCE  # it takes 5; else there would be no end
    frozen.resume()
    assert stage(database, report(b"another")) == []
    assert len(staged(database)) == 2
    database.dispose()


def test_a_statement_that_takes_too_long_is_told_but_a_closes_may_take_its_time(monkeypatch, postgres_url, schema):
    monkeypatch.setattr(postgres, "STATEMENT_S", 0.5)
    database = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP, busy_timeout=0)
    slow = "SELECT pg_sleep(0.7)"
    with pytest.raises(StoreUnavailable) as told, database.staging({WEEK}) as transaction:
        transaction.connection.exec_driver_sql(slow)
    assert told.value.kind == "QueryCanceled 57014"
    with database.closing(WEEK) as transaction:
        transaction.connection.exec_driver_sql(slow)
    with database.deleting(takes_time=True) as transaction:
        transaction.connection.exec_driver_sql(slow)
    with pytest.raises(StoreUnavailable), database.deleting() as transaction:
        transaction.connection.exec_driver_sql(slow)
    database.dispose()
