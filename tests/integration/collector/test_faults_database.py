"""The database dies, fills up, is locked or stands still: nothing acknowledged is lost, nothing is there twice.

One service on each database goes through all of it, one fault after the other, and has to be well again after each.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import (
    PATIENCE,
    Collector,
    assert_all_are_staged_once,
    collector,
    get,
    senders,
    staged,
)
from tests.postgres import Server, server
from tests.spans import example_report

REPORTS = 1200
SOME = 200


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """One whose commits are on the disk, as an operator's are, for here it is killed."""
    with server(durable=True) as started:
        yield started


@pytest.fixture(scope="module")
def on_postgres(postgres: Server) -> Iterator[Collector]:
    with collector(postgres.new_database(), "--workers", "2") as running:
        yield running
        status, said = running.stop()
    assert status == 0
    assert "token" not in said  # a report's, which its name is made from, or the database's password
    assert postgres.password not in said


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collector(f"sqlite:///{tmp_path_factory.mktemp('faults')}/collector.db") as running:
        yield running
        assert running.stop()[0] == 0


def body(token: bytes) -> bytes:
    return encode([example_report(token=token, synthetic=True)], SCHEMA)


def assert_retryable(answer: httpx.Response) -> None:
    assert answer.status_code in (429, 503)
    assert int(answer.headers["retry-after"]) >= 1


def wait_until_taken(running: Collector, token: bytes) -> None:
    deadline = time.monotonic() + PATIENCE
    while (answer := running.post(body(token))).status_code != 200:
        assert_retryable(answer)
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_postgresql_is_killed_under_load_and_comes_back(postgres, on_postgres):
    with senders(on_postgres.url, REPORTS, half_waits=True) as going:
        going.wait_for(SOME)
        postgres.kill()
        going.go_on()
        time.sleep(0.5)  # for so long it is away
        postgres.start()
    assert set(going.outcome.statuses) <= {200, 429, 503}
    assert going.outcome.statuses[503] > 0
    assert going.outcome.unanswered == 0
    assert_all_are_staged_once(on_postgres.db, going)


def test_while_postgresql_is_away_senders_are_told_when_to_come_back_and_the_process_lives(postgres, on_postgres):
    before = len(staged(on_postgres.db))
    assert on_postgres.post(body(b"before")).status_code == 200
    postgres.stop()
    assert_retryable(on_postgres.post(body(b"during")))
    assert get(f"{on_postgres.url}/health").status_code == 200
    postgres.start()
    wait_until_taken(on_postgres, b"after")
    assert len(staged(on_postgres.db)) == before + 2


def test_a_table_that_somebody_locks_is_told_and_taken_afterwards(on_postgres):
    with psycopg.connect(on_postgres.db) as other:
        other.execute("LOCK TABLE staged_cell IN ACCESS EXCLUSIVE MODE")
        assert_retryable(on_postgres.post(body(b"locked")))
    wait_until_taken(on_postgres, b"locked")


def test_a_postgresql_that_stands_still_makes_senders_wait_and_loses_nothing(postgres, on_postgres):
    with senders(on_postgres.url, REPORTS, half_waits=True) as going:
        going.wait_for(SOME)
        with standing_still(postgres):
            going.go_on()
            time.sleep(1)  # for so long it stands still
            assert get(f"{on_postgres.url}/health").status_code == 200
            assert going.outcome is None
    assert_all_are_staged_once(on_postgres.db, going)


@contextmanager
def standing_still(postgres: Server) -> Iterator[None]:
    postgres.pause()
    try:
        yield
    finally:
        postgres.resume()


def test_an_sqlite_that_another_process_locks_is_told_and_taken_afterwards(on_sqlite):
    with senders(on_sqlite.url, REPORTS, half_waits=True) as going:
        going.wait_for(SOME)
        with closing(sqlite3.connect(on_sqlite.file, isolation_level=None, timeout=PATIENCE)) as other:
            other.execute("BEGIN IMMEDIATE")
            going.go_on()
            assert_retryable(on_sqlite.post(body(b"locked")))
            other.execute("ROLLBACK")
    assert_all_are_staged_once(on_sqlite.db, going)


def test_files_that_may_not_grow_are_told_and_reports_taken_once_they_may(on_sqlite):
    """What a quota does: a write beyond it fails. The limit is the worker's own, so nobody need be root."""
    (worker,) = on_sqlite.workers()
    with senders(on_sqlite.url, REPORTS) as going:
        going.wait_for(SOME)
        size = on_sqlite.file.stat().st_size  # not the log's, which is larger and begins anew when it is full
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        deadline = time.monotonic() + PATIENCE
        while (answer := on_sqlite.post(body(os.urandom(8)))).status_code == 200:
            assert time.monotonic() < deadline
        assert_retryable(answer)
        assert on_sqlite.workers() == [worker]
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert_all_are_staged_once(on_sqlite.db, going)


@contextmanager
def little_disk(folder: Path, mebibytes: int) -> Iterator[None]:
    """A small file system, for whoever owns the folder."""
    owner = folder.stat()
    options = f"size={mebibytes}m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system; a limit on files is tested for everybody")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def fill_and_make_room(running: Collector, filler: Path) -> None:
    """Send until the disk is full; then there is room again, and everything that was sent is taken."""
    with senders(running.url, 2000, together=10) as going:
        deadline = time.monotonic() + PATIENCE
        while (answer := running.post(body(os.urandom(8)))).status_code == 200:
            assert time.monotonic() < deadline
        assert_retryable(answer)
        filler.unlink()
    assert_all_are_staged_once(running.db, going)


def test_a_full_disk_under_sqlite_is_told_and_reports_taken_once_there_is_room(tmp_path):
    with little_disk(tmp_path, 16):
        (tmp_path / "filler").write_bytes(bytes(14 * 2**20))
        with collector(f"sqlite:///{tmp_path}/collector.db") as running:
            fill_and_make_room(running, tmp_path / "filler")


def test_a_full_disk_under_postgresql_is_told_and_reports_taken_once_there_is_room(postgres):
    """Of its tables; where its own log has no room it ends itself, which is the same as being killed."""
    disk = postgres.folder / "disk"
    disk.mkdir()
    shutil.chown(disk, *[getattr((postgres.folder / "data").stat(), name) for name in ("st_uid", "st_gid")])
    with little_disk(disk, 24), psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute(f"CREATE TABLESPACE little LOCATION '{disk}'".encode())
        admin.execute("CREATE DATABASE on_little_disk TABLESPACE little")
        with collector(postgres.url("on_little_disk")) as running:
            admin.execute("CHECKPOINT")  # what a new database takes is on the disk only then
            (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 2**19))
            fill_and_make_room(running, disk / "filler")
        admin.execute("DROP DATABASE on_little_disk WITH (FORCE)")
        admin.execute("DROP TABLESPACE little")
