"""The verbs of ``db`` and ``doctor`` as an operator types them."""

from __future__ import annotations

import json
import sys

import pytest

from metavox_collector.cli import main
from metavox_collector.store import Database, migrations
from metavox_privacy.budget import GENESIS
from metavox_privacy.schema import SCHEMA
from tests.unit.collector.releases import stage_fleet

CAP = 901_000_000
SECRET = "a:secret"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the program; its exit status, and what it said on each stream."""

    def do(*words):
        monkeypatch.setattr(sys, "argv", ["metavox-collector", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        return status, *capsys.readouterr()

    return do


@pytest.fixture
def made(sqlite_url):
    """A production database under the schema that the program ships with."""
    database = Database.create(sqlite_url, SCHEMA, sandbox=False, yearly_cap=CAP)
    stage_fleet(database, 3)
    database.dispose()
    return sqlite_url


def test_a_backup_goes_into_another_database_by_what_the_program_says_itself(made, run, tmp_path):
    status, out, _ = run("db", "backup", "--db", made, "--out", tmp_path / "backup")
    assert status == 0
    assert out.splitlines() == [
        f"wrote {tmp_path}/backup; its ledger ends at {GENESIS}",
        "staged reports are not in it, for they must die with their week",
    ]
    again = f"sqlite:///{tmp_path}/again.db"
    assert run("db", "restore", tmp_path / "backup", "--ledger-head", GENESIS, "--db", again)[0] == 0
    status, out, _ = run("db", "check", "--db", again, "--json")
    assert status == 0
    assert {finding["level"] for finding in json.loads(out)} == {"ok"}


def test_a_backup_with_reports_says_until_when_it_may_be_kept(made, run, tmp_path):
    out = run("db", "backup", "--db", made, "--out", tmp_path / "backup", "--with-staged")[1]
    assert out.splitlines()[1] == (
        "it holds people's reports of 2026-W47: destroy it when the first of these weeks is closed, and before "
        "2026-12-21 00:00 UTC whatever happens"
    )


def test_what_is_refused_is_one_line_and_status_1(made, run, tmp_path):
    run("db", "backup", "--db", made, "--out", tmp_path / "backup")
    for words in (
        ("db", "backup", "--db", made, "--out", tmp_path / "backup"),
        ("db", "restore", tmp_path / "backup", "--ledger-head", "f" * 64, "--db", f"sqlite:///{tmp_path}/again.db"),
        ("db", "restore", tmp_path / "backup", "--ledger-head", GENESIS, "--db", made),
        ("db", "check", "--db", f"sqlite:///{tmp_path}/none.db"),
        ("db", "upgrade", "--db", f"sqlite:///{tmp_path}/none.db"),
    ):
        status, out, err = run(*words)
        assert (status, out, len(err.splitlines())) == (1, "", 1), words
    assert not (tmp_path / "again.db").exists()


def test_a_restore_that_does_not_say_where_the_ledger_ended_is_not_understood(made, run, tmp_path):
    assert run("db", "restore", tmp_path / "backup", "--db", made)[0] == 2
    status, _, err = run("db", "restore", tmp_path / "backup", "--ledger-head", "beef", "--db", made)
    assert status == 2
    assert "64 hexadecimal digits" in " ".join(err.replace("│", " ").split())


def test_an_upgrade_of_what_is_up_to_date_says_so(made, run):
    assert run("db", "upgrade", "--db", made)[:2] == (0, f"the database is at revision {migrations.HEAD}\n")


def test_doctor_ends_with_status_1_when_something_must_not_stay_so(made, run, tmp_path):
    assert run("doctor", "--db", made)[0] == 0
    (tmp_path / "collector.db").chmod(0o644)
    status, out, _ = run("doctor", "--db", made)
    assert status == 1
    assert f"ERROR   permissions: others may read {tmp_path}/collector.db" in out


@pytest.mark.parametrize("verb", ["serve", "doctor"])
def test_the_effective_configuration_is_printed_without_its_secrets(run, tmp_path, monkeypatch, verb):
    (tmp_path / "password").write_text(SECRET, encoding="utf-8")
    (tmp_path / "password").chmod(0o600)
    config = tmp_path / "collector.toml"
    config.write_text(
        f'db = "postgresql://metavox@db.example/metavox"\ndb_password_file = "{tmp_path}/password"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("METAVOX_COLLECTOR_GRACE_DAYS", "11")
    status, out, _ = run(verb, "--config", config, "--print-config")
    assert status == 0
    assert f'db = "postgresql://metavox:***@db.example/metavox"  # {config}' in out.splitlines()
    assert "grace_days = 11  # METAVOX_COLLECTOR_GRACE_DAYS" in out.splitlines()
    assert "accept_weeks = 4  # default" in out.splitlines()
    assert SECRET not in out


def test_serve_does_not_start_with_what_is_unsafe(run, tmp_path):
    status, out, err = run("serve", "--db", f"sqlite:///{tmp_path}/none.db", "--trusted-proxies", "0.0.0.0/0")
    assert (status, out) == (1, "")
    assert "name the proxies' own addresses" in err
    assert not (tmp_path / "none.db").exists()
