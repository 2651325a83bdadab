"""A week on a real Spark master with two workers and a real PostgreSQL, as an operator's cluster sums it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from metavox_collector.settings import Settings
from metavox_collector.store import Database, StagedRow, week_number
from metavox_collector.store.staged import staging
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.bench import staged_week
from tests.postgres import Server, server
from tests.spark import Standalone, jdbc_jar, missing, standalone

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(600),  # the folds take 60 s on two cores
]

WHOLE, ALTERED, NOBODY = Week(2026, 47), Week(2026, 46), Week(2026, 45)
REPORTS = 3000
ROOT = Path(__file__).resolve().parents[3]
READER = "what-only-executors-know"
OPTIONS = (
    # So that rows would be seen on the disks, if they were there.
    "spark.io.encryption.enabled=false",
    "spark.shuffle.compress=false",
    "spark.shuffle.spill.compress=false",
    "spark.rdd.compress=false",
    "spark.cleaner.referenceTracking=false",  # and would stay, whenever a JVM collects its garbage
    # So that what fails on purpose has soon failed for good.
    "spark.task.maxFailures=2",
    "spark.shuffle.io.retryWait=1s",
)


@dataclass(frozen=True)
class Staged:
    """A database with a week of reports.

    Attributes:
        url: Its URL.
        ids: Names of some of the reports.
    """

    url: str
    ids: list[bytes]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as started:
        yield started


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    passwords = tmp_path_factory.mktemp("executors") / "pgpass"
    passwords.write_text(f"*:*:*:reader:{READER}\n")
    passwords.chmod(0o600)
    with standalone(PGPASSFILE=str(passwords)) as started:
        yield started


@pytest.fixture(scope="module")
def staged(postgres: Server) -> Staged:
    url = postgres.new_database()
    Database.create(url, SCHEMA, sandbox=True, yearly_cap=Settings().yearly_cap_nano_rho).dispose()
    rows = list(staged_week.rows(REPORTS, staged_week.habits(SCHEMA, number=20)))
    stage(url, rows, WHOLE)
    stage(url, rows[:10], ALTERED)
    with psycopg.connect(url) as connection:
        connection.execute(f"UPDATE staged_cell_{week_number(ALTERED)} SET position = position + 4")  # noqa: S608
        connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{READER}'")
        connection.execute(f"GRANT SELECT ON staged_cell_{week_number(WHOLE)} TO reader")
    return Staged(url, [one[0].report_id for one in rows[::100]])


def stage(url: str, reports: Sequence[list[StagedRow]], week: Week) -> None:
    database = Database.existing(url, SCHEMA)
    with database.staging([week]) as transaction:
        by_name = {rows[0].report_id: rows for rows in reports}
        staging(transaction.connection).add(transaction.connection, week_number(week), by_name)
    database.dispose()


@pytest.fixture(scope="module")
def seen(cluster: Standalone, staged: Staged, postgres: Server) -> dict[str, Any]:
    address = urlsplit(staged.url)
    given = {
        "week": str(WHOLE),
        "altered": str(ALTERED),
        "nobody": str(NOBODY),
        "folder": str(cluster.folder),
        "needles": [name.hex() for name in staged.ids],
        "db": staged.url,
        "password": postgres.password,
        "reader": f"postgresql://reader@{address.hostname}:{address.port}{address.path}",
        "master": cluster.master,
        "workers": [worker.pid for worker in cluster.workers],
        "jar": str(jdbc_jar()),
        "more": {"spark_partitions": 5, "spark_conf": OPTIONS},
    }
    program = [sys.executable, "-m", "tests.integration.collector.spark_folds", json.dumps(given)]
    ended = subprocess.run(program, cwd=ROOT, env=cluster.environment, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_the_sums_are_those_of_sql_bit_for_bit(seen):
    assert seen["spark"] == seen["sql"]


def test_a_coarse_release_is_summed_so_too(seen):
    assert seen["coarse"] == seen["sql_coarse"] != seen["sql"]


def test_an_executor_that_dies_in_the_midst_changes_nothing(seen):
    assert seen["after_a_death"] == seen["sql"]


def test_no_report_is_left_on_the_executors_disks(seen):
    assert seen["written"] > 0
    assert seen["on_disk"] == []
    assert seen["on_disk_when_cached"] != []  # the search would have found them


def test_the_databases_password_is_in_no_command_line_log_or_event_log(seen, cluster):
    assert seen["password"] == []
    assert any(path.stat().st_size for path in (cluster.folder / "events").rglob("events_*"))


def test_a_row_that_is_no_cell_is_told_as_the_fold_in_sql_tells_it(seen):
    assert seen["altered"] == "ValueError: what is staged holds a report of more than 4 cells"


def test_a_week_that_nobody_reported_sums_to_nothing(seen):
    assert seen["nobody"] == 0


def test_a_cluster_that_is_not_done_in_time_is_given_up(seen):
    assert seen["late"].startswith("FoldFailed: the Spark cluster was not done in 1 s")


def test_reports_that_spark_does_not_see_are_missed(seen):
    assert seen["uncommitted"].startswith(
        f"FoldFailed: Spark has read {4 * REPORTS} rows and the database holds {4 * REPORTS + 1};"
    )


def test_a_week_is_closed_by_a_role_that_only_reads_and_a_password_that_spark_never_sees(seen, staged):
    assert set(seen["released"]) == {"improve", "publish"}
    assert seen["released"]["publish"] > 0
    with psycopg.connect(staged.url) as connection:
        assert connection.execute("SELECT count(*) FROM ledger").fetchone() == (2,)
        query = "SELECT FROM staged_cell WHERE week = %s"
        assert connection.execute(query, (week_number(WHOLE),)).fetchone() is None
