"""Backups and restores: what is in them, what is not, and which are refused."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from datetime import timedelta

import pytest
from sqlalchemy import inspect, text

from metavox_collector.close import close_week
from metavox_collector.errors import CollectorError, NotAllowed, StoreUnavailable, TargetExists
from metavox_collector.operate import pg_tools
from metavox_collector.operate.backup import back_up
from metavox_collector.operate.restore import restore
from metavox_collector.store import Database, copies
from metavox_collector.store.engine import connected, open_engine
from metavox_collector.store.staged import tombstone
from metavox_privacy.budget import GENESIS
from metavox_privacy.report import report_id_of
from tests.postgres import binaries
from tests.unit.collector.releases import AFTER, CAP, NEXT, everything, generous, released, stage_fleet, staged

SOON = NEXT.end + timedelta(days=3)
LATE = NEXT.end + timedelta(weeks=5)


@pytest.fixture(autouse=True)
def _programs(monkeypatch):
    """PostgreSQL's programs are of the server's version."""
    monkeypatch.setenv("PATH", f"{binaries()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def target(url, request, tmp_path):
    """Settings for a database of the same kind that is not there yet."""
    if url.startswith("sqlite"):
        yield generous(f"sqlite:///{tmp_path}/restored.db")
        return
    server = request.getfixturevalue("postgres")
    made = server.new_database()
    yield generous(made)
    server.drop(made)


@pytest.fixture
def restored(target, schema):
    """Restores a backup, and closes what it opened."""
    opened = []

    def do(made, *, head=None, with_staged=False, now=SOON):
        options = {"head": head or made.ledger_head, "with_staged": with_staged, "now": now}
        opened.append(restore(target, schema, made.file, **options))
        return opened[-1]

    yield do
    for database in opened:
        database.dispose()


def without_staged(tables):
    return {name: rows for name, rows in tables.items() if name not in ("staged_cell", "deleted_report")}


def test_the_ledger_and_the_releases_come_back_and_no_report_does(database, url, tmp_path, restored):
    released(database, url)
    stage_fleet(database, 3, week=NEXT)
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=False)
    again = restored(made)
    assert without_staged(everything(again)) == without_staged(everything(database))
    assert staged(again) == []
    assert len(staged(database)) > 0
    assert (made.staged, made.destroy_before) == ((), None)


def test_no_byte_of_a_report_or_of_a_deletion_is_in_a_backup(database, url, tmp_path):
    stage_fleet(database, 20, week=NEXT)
    deleted = report_id_of(f"{NEXT} 1".encode())
    with database.deleting() as transaction:
        assert transaction.delete_report(deleted, NEXT)
    names = {row.report_id for row in staged(database)} | {tombstone(deleted)}
    file = tmp_path / "backup"
    back_up(database, generous(url), file, with_staged=False)
    back_up(database, generous(url), tmp_path / "with", with_staged=True)
    assert len(names) == 20
    assert not any(held(name, file) for name in names)
    assert all(held(name, tmp_path / "with") for name in names)


def held(name, file):
    """Whether a file holds a report's name; of a dump of PostgreSQL's, what a restore of it would write."""
    if file.read_bytes().startswith(b"PGDMP"):
        script = ["pg_restore", "--file=-", str(file)]
        return name.hex().encode() in subprocess.run(script, capture_output=True, check=True).stdout
    return name in file.read_bytes()


def test_a_backup_is_its_owners_alone_and_nothing_is_left_beside_it(database, url, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    back_up(database, generous(url), folder / "one", with_staged=False)
    assert [path.name for path in folder.iterdir()] == ["one"]
    assert stat.S_IMODE((folder / "one").stat().st_mode) == 0o600


def test_a_backup_overwrites_nothing(database, url, tmp_path):
    (tmp_path / "backup").write_text("precious", encoding="utf-8")
    with pytest.raises(TargetExists, match="nothing is overwritten"):
        back_up(database, generous(url), tmp_path / "backup", with_staged=False)
    assert (tmp_path / "backup").read_text(encoding="utf-8") == "precious"


def test_reports_in_a_backup_come_back_when_they_are_asked_for(database, url, tmp_path, restored):
    released(database, url)
    stage_fleet(database, 3, week=NEXT)
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=True)
    assert made.staged == (NEXT,)
    assert made.destroy_before == NEXT.end + timedelta(weeks=4)
    assert everything(restored(made, with_staged=True)) == everything(database)


def test_reports_in_a_backup_stay_out_when_they_are_not_asked_for(database, url, tmp_path, restored):
    stage_fleet(database, 3, week=NEXT)
    with database.deleting() as transaction:
        transaction.delete_report(report_id_of(f"{NEXT} 1".encode()), NEXT)
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=True)
    again = everything(restored(made))
    assert (again["staged_cell"], again["deleted_report"]) == ([], [])


def test_reports_that_are_too_old_by_now_do_not_come_back(database, url, tmp_path, restored):
    stage_fleet(database, 3, week=NEXT)
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=True)
    assert staged(restored(made, with_staged=True, now=LATE)) == []


@pytest.mark.parametrize("with_staged", [True, False])
def test_what_keeps_a_deleted_report_out_goes_where_the_reports_go(database, url, tmp_path, restored, with_staged):
    stage_fleet(database, 3, week=NEXT)
    name = report_id_of(f"{NEXT} 1".encode())
    with database.deleting() as transaction:
        assert transaction.delete_report(name, NEXT)
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=with_staged)
    with restored(made, with_staged=with_staged).read() as transaction:
        assert transaction.deleted_among([name]) == ({name} if with_staged else set())


def test_a_backup_that_is_older_than_the_last_close_is_refused(database, url, schema, tmp_path, restored, target):
    old = back_up(database, generous(url), tmp_path / "backup", with_staged=False)
    assert old.ledger_head == GENESIS
    released(database, url)
    with database.read() as transaction:
        head = transaction.ledger()[-1].hash
    with pytest.raises(NotAllowed, match="weeks were closed since it was made"):
        restored(old, head=head)
    # Nothing was left: the same target takes the right one.
    new = back_up(database, generous(url), tmp_path / "newer", with_staged=False)
    assert new.ledger_head == head
    assert without_staged(everything(restored(new))) == without_staged(everything(database))


def test_a_backup_of_a_later_version_is_refused_and_leaves_nothing(database, url, schema, tmp_path, target):
    engine = open_engine(url, 5)
    with connected(engine, writes=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=False)
    with pytest.raises(NotAllowed, match="a later version"):
        restore(target, schema, made.file, head=GENESIS, with_staged=False, now=SOON)
    Database.create(target.db, schema, sandbox=False, yearly_cap=CAP).dispose()  # it is as empty as before


def test_what_was_restored_goes_on_where_the_ledger_ended(database, url, schema, tmp_path, restored, target):
    released(database, url)
    again = restored(back_up(database, generous(url), tmp_path / "backup", with_staged=False))
    stage_fleet(again, 3, week=NEXT)
    close_week(again, NEXT, target, now=AFTER + timedelta(weeks=1))
    with again.read() as transaction, database.read() as before:
        assert transaction.ledger()[:2] == before.ledger()
        assert len(transaction.ledger()) == 4


def test_a_restore_overwrites_no_database(database, url, schema, tmp_path):
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=False)
    before = everything(database)
    with pytest.raises(TargetExists, match="nothing is overwritten"):
        restore(generous(url), schema, made.file, head=made.ledger_head, with_staged=False, now=SOON)
    assert everything(database) == before


@pytest.mark.parametrize("content", [b"", b"these are just words" * 100, None])
def test_what_is_no_backup_is_refused(url, target, schema, tmp_path, content):
    file = tmp_path / "backup"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CollectorError):
        restore(target, schema, file, head=GENESIS, with_staged=False, now=SOON)
    assert not (tmp_path / "restored.db").exists()
    if url.startswith("postgresql"):
        Database.create(target.db, schema, sandbox=False, yearly_cap=CAP).dispose()  # it is as empty as before


def test_a_backup_that_was_cut_off_is_refused_and_leaves_nothing(database, url, schema, tmp_path, target):
    released(database, url)
    made = back_up(database, generous(url), tmp_path / "backup", with_staged=False)
    whole = made.file.read_bytes()
    made.file.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(CollectorError):
        restore(target, schema, made.file, head=made.ledger_head, with_staged=False, now=SOON)
    assert not (tmp_path / "restored.db").exists()
    if url.startswith("postgresql"):
        with pytest.raises(CollectorError, match="no collector's database"):
            Database.existing(target.db, schema)


def test_a_program_that_fails_between_two_statements_leaves_nothing(postgres_url, tmp_path, monkeypatch):
    program = tmp_path / "pg_restore"
    program.write_text("#!/bin/sh\necho 'CREATE TABLE half (a integer);'\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(CollectorError, match="nothing was restored"):
        pg_tools.restore(pg_tools.Target.of(postgres_url), tmp_path / "dump", [], pg_tools.Wanted(None, ["0001"]))
    engine = open_engine(postgres_url, 5)
    with connected(engine, writes=False) as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


def test_a_copy_is_on_the_disk_before_it_has_its_name(sqlite_url, schema, tmp_path, monkeypatch):
    database = Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP)
    flushed, real = [], os.fsync

    def fsync(descriptor):
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "backup").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    back_up(database, generous(sqlite_url), tmp_path / "backup", with_staged=False)
    database.dispose()
    assert flushed == [(f"{tmp_path}/.backup.part", False), (str(tmp_path), True)]


def test_a_close_while_a_backup_is_made_leaves_no_backup(database, url, tmp_path, monkeypatch):
    stage_fleet(database)
    module, name = (copies, "copy") if url.startswith("sqlite") else (pg_tools, "dump")
    real = getattr(module, name)

    def slow(*args, **options):
        real(*args, **options)
        released(database, url)

    monkeypatch.setattr(module, name, slow)
    with pytest.raises(CollectorError, match="make it again"):
        back_up(database, generous(url), tmp_path / "backup", with_staged=False)
    assert not (tmp_path / "backup").exists()


def test_a_program_that_is_not_there_or_too_old_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotAllowed, match="pg_dump is not installed"):
        pg_tools.require("pg_dump", 16)
    old = tmp_path / "pg_dump"
    old.write_text(f"#!{shutil.which('sh', path='/bin')}\necho 'pg_dump (PostgreSQL) 13.2'\n", encoding="utf-8")
    old.chmod(0o755)
    with pytest.raises(NotAllowed, match="install postgresql-client-16"):
        pg_tools.require("pg_dump", 16)


def test_the_password_is_on_no_command_line():
    target = pg_tools.Target.of("postgresql+psycopg://metavox:a%3Ab@db.example:5432/metavox?sslmode=verify-full")
    assert target.uri == "postgresql://metavox@db.example:5432/metavox?sslmode=verify-full"
    assert target.environment["PGPASSWORD"] == "a:b"
    assert "a:b" not in repr(target)


def test_a_database_that_cannot_be_reached_leaves_no_file(tmp_path, schema):
    gone = generous("postgresql://metavox@127.0.0.1:9/metavox", busy_timeout_s=1)
    with pytest.raises(StoreUnavailable):
        restore(gone, schema, make_file(tmp_path), head=GENESIS, with_staged=False, now=SOON)


def make_file(tmp_path):
    (tmp_path / "backup").touch()
    return tmp_path / "backup"
