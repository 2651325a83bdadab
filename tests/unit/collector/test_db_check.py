"""What ``db check`` finds, and what it takes for sound."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text

from metavox_collector.errors import StoreUnavailable
from metavox_collector.operate.check import check, discretion, durability
from metavox_collector.operate.findings import any_error
from metavox_collector.store import Database, inspection, week_number
from tests.spans import WEEK
from tests.unit.collector.releases import AFTER, CAP, NEXT, generous, released, stage_fleet, staged


@pytest.fixture
def found(database, url):
    """The findings, without those on how durable a server for tests is."""

    def look(now=AFTER):
        every = list(check(database, generous(url), now))
        return [finding for finding in every if finding.about not in ("durability", "checksums")]

    return look


@pytest.fixture
def alter(database):
    """Does what nobody should; STAGED stands for the table of a week's reports."""

    def do(statement, **parameters):
        with database.write() as transaction:
            named = statement.replace("STAGED", f"staged_cell_{week_number(WEEK)}")
            transaction.connection.execute(text(named), parameters)

    return do


def errors(findings):
    return [finding.says for finding in findings if finding.level == "error"]


def test_a_database_in_order_is_said_to_be(database, url, found):
    released(database, url)
    stage_fleet(database, 3, week=NEXT)
    findings = found()
    assert not any_error(findings)
    with database.read() as transaction:
        head = transaction.ledger()[-1].hash
    assert [finding.says for finding in findings if finding.about == "ledger"] == [
        f"2 entries, each with what was released; the head is {head}"
    ]
    assert [finding.says for finding in findings if finding.about == "staged"] == [f"{NEXT}: 3 reports, 3 cells"]


def test_a_ledger_that_was_altered_is_found(database, url, found, alter):
    released(database, url)
    alter("UPDATE ledger SET nano_rho = 1 WHERE sequence = 1")
    assert "does not follow" in errors(found())[0]


def test_a_release_that_was_altered_is_found(database, url, found, alter):
    released(database, url)
    alter("UPDATE released_table SET threshold = threshold + 1")
    assert "is not what was released" in errors(found())[0]


def test_a_row_that_is_no_cell_of_the_schema_is_found(database, found, alter):
    stage_fleet(database, 3)
    alter("UPDATE STAGED SET histograms = :nothing", nothing=b"\0")
    assert errors(found(now=WEEK.end)) == [
        f"{WEEK}: 3 of 3 reports are none of this schema; the database was altered"
    ]


def test_a_report_that_lost_a_cell_is_found(database, found, alter):
    stage_fleet(database, 3)
    alter("UPDATE STAGED SET position = 1")
    assert "3 of 3 reports" in errors(found(now=WEEK.end))[0]


def test_reports_that_should_be_gone_are_found(database, found):
    stage_fleet(database, 3)
    assert errors(found(now=WEEK.end + timedelta(weeks=6))) == [
        f"{WEEK} is older than what may be kept; start the service, which destroys it"
    ]


def test_reports_of_a_week_that_was_released_are_found(database, url, found):
    released(database, url)
    stage_fleet(database, 3)
    assert "was released and reports of it are there still" in errors(found())[0]


def test_a_file_with_a_broken_page_is_found(sqlite_url, schema, tmp_path):
    made = Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP)
    stage_fleet(made, 300)
    name = staged(made)[150].report_id
    made.scrub()
    made.dispose()
    file = tmp_path / "collector.db"
    content = bytearray(file.read_bytes())
    page = content.index(name) // 4096 * 4096
    content[page + 8 : page + 16] = b"\xff" * 8  # where the first rows of the page lie
    file.write_bytes(content)
    again = Database.existing(sqlite_url, schema)
    found = []
    with suppress(StoreUnavailable), again.read() as transaction:  # its end may fail as well
        found = inspection.damages(transaction)
    again.dispose()
    assert found


def test_a_file_that_others_may_read_is_found(sqlite_url, schema, tmp_path):
    made = Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP)
    (tmp_path / "collector.db-wal").chmod(0o640)
    assert errors(check(made, generous(sqlite_url), AFTER)) == [
        f"others may read {tmp_path}/collector.db-wal; run: chmod 600 {tmp_path}/collector.db-wal"
    ]
    made.dispose()


@pytest.mark.parametrize(
    ("held", "wrong"),
    [
        ({"synchronous": "full", "journal_mode": "wal"}, None),
        ({"synchronous": "normal", "journal_mode": "wal"}, "synchronous is normal"),
        ({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "remote_apply"}, None),
        ({"fsync": "off", "full_page_writes": "on", "synchronous_commit": "on"}, "fsync is off"),
        ({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "off"}, "synchronous_commit is off"),
    ],
)
def test_a_commit_that_a_power_cut_could_undo_is_an_error(held, wrong):
    findings = list(durability(inspection.Server("any", 16, None, held, {})))
    assert any_error(findings) == (wrong is not None)
    assert wrong is None or wrong in findings[0].says


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({}, None),
        ({"track_commit_timestamp": "on"}, "it tells when each report came"),
        ({"log_statement": "all"}, "by log_statement it can hold reports"),
        ({"log_min_duration_statement": "250ms"}, "by log_min_duration_statement it can hold reports"),
        ({"log_min_duration_statement": "250ms", "log_parameter_max_length": "0"}, None),
        ({"log_parameter_max_length_on_error": "64B"}, "log_parameter_max_length_on_error is not 0"),
    ],
)
def test_a_server_that_would_keep_more_of_a_report_than_it_is_given_is_an_error(postgres_url, schema, told, wrong):
    made = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    with made.read() as transaction:
        server = inspection.server(transaction)
    made.dispose()
    says = errors(discretion(replace(server, telling={**server.telling, **told})))
    assert says == [] if wrong is None else wrong in says[0]


@pytest.mark.parametrize(("verbosity", "levels"), [("terse", []), ("default", ["warning"])])
def test_a_server_that_quotes_rows_where_a_statement_fails_is_warned_of(postgres, schema, verbosity, levels):
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET log_error_verbosity = '{verbosity}'")
    made = Database.create(url, schema, sandbox=False, yearly_cap=CAP)
    with made.read() as transaction:
        found = list(discretion(inspection.server(transaction)))
    made.dispose()
    postgres.drop(url)
    assert [finding.level for finding in found] == levels


def test_what_the_database_says_of_its_durability_is_read(database):
    with database.read() as transaction:
        held = inspection.server(transaction).durability
    assert held == {"synchronous": "full", "journal_mode": "wal"} or held["synchronous_commit"] == "on"
