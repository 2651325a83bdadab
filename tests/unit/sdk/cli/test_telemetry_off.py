from __future__ import annotations

import errno
import json
import os
import socket
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import tried_reports
from metavox_privacy.consent import DEPLOYMENT_LASTS, Answer
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import format_receipt, parse_receipt
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.cli.shared import LAST_WEEK, LONG_AGO, Collector, collecting, count_last_week, run

BOTH_FORMS = pytest.mark.parametrize("delete", [[], ["--delete"]], ids=["off", "off --delete"])


def sent_to(collector: Collector, home: Path) -> None:
    """A report of last week that the collector has."""
    count_last_week(home)
    assert run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url).exit_code == 0
    assert len(collector.held) == 1


@BOTH_FORMS
def test_off_records_the_no_and_deletes_what_could_only_be_sent_under_a_yes(home: Path, delete: list[str]):
    count_last_week(home)
    result = run(home, "telemetry", "off", *delete)
    given = parse_receipt((home / "consent.json").read_text())

    assert result.exit_code == 0
    assert "Contributions are off." in result.stdout
    assert [path.name for path in home.iterdir()] == ["consent.json"]
    assert given is not None
    assert given.purposes == frozenset()


def test_plain_off_opens_no_connection_and_keeps_the_tokens(home: Path, monkeypatch: pytest.MonkeyPatch):
    with collecting() as collector:
        sent_to(collector, home)
        tokens = [report.token for report in tried_reports(home / "journal.sqlite3")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a connection"))
        result = run(home, "telemetry", "off", METAVOX_COLLECTOR_URL=collector.url)

    assert result.exit_code == 0
    assert "The tokens of reports that were sent, or may have been, stay in" in result.stdout
    assert collector.asked == ["POST /v1/traces"]
    assert [report.token for report in tried_reports(home / "journal.sqlite3")] == tokens
    assert b"metavox/tiny" not in (home / "journal.sqlite3").read_bytes()


@pytest.mark.parametrize("environment", [{}, {"METAVOX_COLLECTOR_URL": "https://another.example"}], ids=str)
def test_off_delete_has_the_report_deleted_where_it_went(home: Path, environment: dict[str, str]):
    with collecting() as collector:
        sent_to(collector, home)
        result = run(home, "telemetry", "off", "--delete", **environment)

    assert result.exit_code == 0
    assert f"{LAST_WEEK}: deleted at {collector.url}." in result.stdout
    assert collector.held == set()
    assert [path.name for path in home.iterdir()] == ["consent.json"]


def test_off_delete_works_after_a_plain_off_too(home: Path):
    with collecting() as collector:
        sent_to(collector, home)
        run(home, "telemetry", "off")
        result = run(home, "telemetry", "off", "--delete", "--json")

    assert json.loads(result.stdout) == {
        "on": False,
        "rule": "the answer was no",
        "recorded": True,
        "reports": {str(LAST_WEEK): "deleted"},
        "problems": [],
    }
    assert collector.held == set()


def test_off_delete_says_what_can_no_longer_be_deleted(home: Path):
    with collecting() as collector:
        sent_to(collector, home)
        collector.held.clear()  # its week was closed
        result = run(home, "telemetry", "off", "--delete")

    assert result.exit_code == 0
    assert f"{LAST_WEEK}: no longer at {collector.url}." in result.stdout
    assert "what is published of it are sums with noise" in result.stdout
    assert [path.name for path in home.iterdir()] == ["consent.json"]


def test_off_delete_keeps_the_token_of_a_report_that_was_not_deleted_and_can_be_run_again(home: Path):
    with collecting() as collector:
        sent_to(collector, home)
        collector.status = 503
        result = run(home, "telemetry", "off", "--delete")

        assert result.exit_code == 1
        assert "Contributions are off." in result.stdout
        assert f"{LAST_WEEK}: {collector.url} answered 503, so the report's token is kept" in result.stderr
        assert len(tried_reports(home / "journal.sqlite3")) == 1
        assert b"metavox/tiny" not in (home / "journal.sqlite3").read_bytes()
        collector.status = None
        assert run(home, "telemetry", "off", "--delete").exit_code == 0
        assert collector.held == set()


def test_off_delete_without_the_collector_says_that_it_could_not_be_reached(home: Path):
    with collecting() as collector:
        sent_to(collector, home)
    result = run(home, "telemetry", "off", "--delete")

    assert result.exit_code == 1
    assert f"{LAST_WEEK}: {collector.url} could not be reached, so the report's token is kept" in result.stderr
    assert len(tried_reports(home / "journal.sqlite3")) == 1


def test_what_the_collector_deleted_is_told_even_where_the_journal_takes_no_note(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with collecting() as collector:
        sent_to(collector, home)
        monkeypatch.setattr("metavox.telemetry.upload.weekly.forget", full)
        result = run(home, "telemetry", "off", "--delete")

    assert result.exit_code == 1
    assert f"{LAST_WEEK}: deleted at {collector.url}." in result.stdout
    assert "No space left on device" in result.stderr


@BOTH_FORMS
def test_off_on_a_full_disk_is_off_and_deletes_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch, delete: list[str]
):
    count_last_week(home)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = run(home, "telemetry", "off", *delete)

    assert result.exit_code == 0
    assert "The no could not be written (No space left on device)" in result.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("earlier", ["a no", "garbage"])
def test_off_on_a_full_disk_leaves_what_is_off_already(home: Path, monkeypatch: pytest.MonkeyPatch, earlier: str):
    run(home, "telemetry", "off")
    if earlier == "garbage":
        (home / "consent.json").write_text(earlier)
    before = (home / "consent.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = run(home, "telemetry", "off")

    assert (home / "consent.json").read_bytes() == before
    assert result.exit_code == 1
    assert "Contributions are off" in result.stdout
    assert "No space left on device" in result.stderr


def test_off_says_when_it_is_still_on_by_a_deployments_receipt(home: Path, monkeypatch: pytest.MonkeyPatch):
    count_last_week(home)
    given = Answer(frozenset({"improve"}), LONG_AGO, notice_hash(SCHEMA), SCHEMA.version)
    minted = datetime.now(timezone.utc)
    receipt = home.parent / "receipt.json"
    receipt.write_text(
        format_receipt(
            replace(given, answered_at=minted, scope="deployment", expires_at=minted + DEPLOYMENT_LASTS)
        ),
        encoding="utf-8",
    )

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = run(home, "telemetry", "off", METAVOX_TELEMETRY="on", METAVOX_TELEMETRY_RECEIPT=str(receipt))

    assert result.exit_code == 1
    assert "Contributions are off" not in result.stdout
    assert "contributions are still on: the receipt that METAVOX_TELEMETRY_RECEIPT names" in result.stderr


def test_the_journal_is_deleted_even_where_the_yes_cannot_be_taken_away(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    count_last_week(home)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Home, "record", refused)
    real = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda path, **k: refused() if path.name == "consent.json" else real(path, **k)
    )
    result = run(home, "telemetry", "off", "--delete")

    assert result.exit_code == 1
    assert "Read-only file system" in result.stderr
    assert "are off" not in result.stdout
    assert [path.name for path in home.iterdir()] == ["consent.json"]


@BOTH_FORMS
def test_off_deletes_a_damaged_journal_and_one_that_was_set_aside(home: Path, delete: list[str]):
    count_last_week(home)
    (home / "journal.sqlite3").write_bytes(b"garbage" * 1000)
    (home / "journal.sqlite3.damaged").write_bytes(b"garbage")
    result = run(home, "telemetry", "off", *delete)

    assert result.exit_code == 0
    assert "The damaged journal is deleted" in result.stdout
    assert [path.name for path in home.iterdir()] == ["consent.json"]


def test_off_in_a_home_that_cannot_be_written_says_so_in_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file" / "home", "telemetry", "off")

    assert result.exit_code == 1
    assert result.stderr.startswith("metavox: ")
    assert result.stderr.count("\n") == 1
    assert "Contributions are off." in result.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's folder")
def test_the_superuser_can_say_no_in_somebody_elses_home_and_the_file_stays_theirs(home: Path):
    home.mkdir()
    os.chown(home, 12345, 12345)
    result = run(home, "telemetry", "off")

    assert result.exit_code == 0
    assert (home / "consent.json").stat().st_uid == 12345


@pytest.mark.parametrize("options", [[], ["--delete"]], ids=str)
def test_without_a_home_folder_the_one_problem_is_told_once(options: list[str]):
    result = run(Path("relative"), "telemetry", "off", *options)

    assert result.exit_code == 1
    assert result.stdout == "Contributions are off. Nothing more is kept or sent.\n"
    assert result.stderr.count("no home folder") == 1
    assert "journal" not in result.stderr
