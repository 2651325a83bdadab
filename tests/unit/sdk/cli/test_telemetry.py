from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metavox.cli import console
from metavox.telemetry.home import Home
from metavox.telemetry.journal import Journal, tried_reports
from metavox_privacy.anonymize import Record
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.unit.sdk.cli.shared import SILENT, run
from tests.unit.sdk.telemetry.shared import agree, record_of, tally_of
from tests.unit.sdk.telemetry.test_uploader import Server, serving

LONG_AGO = datetime.now(timezone.utc) - timedelta(days=30)
LAST_WEEK = Week.of(datetime.now(timezone.utc) - timedelta(days=7))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def count_last_week(folder: Path) -> None:
    """A yes of last month, and a request of last week."""
    home = Home(folder, folder)
    agree(home, since=LONG_AGO)
    consent = home.consent({})
    record = record_of()
    journal = Journal(home.journal_file, consent, SCHEMA, datetime.now(timezone.utc))
    journal.add(tally_of([Record(LAST_WEEK, record.cell, record.buckets)]))


def test_looking_makes_no_file(home: Path):
    for arguments in (["status"], ["status", "--json"], ["preview"], ["preview", "--raw"], ["upload"]):
        assert run(home, "telemetry", *arguments).exit_code == 0
    assert not home.exists()


def test_status_says_what_decided_and_where_the_files_would_be(home: Path):
    said = run(home, "telemetry", "status").stdout

    assert "Contributions are off: nobody has been asked, or answered." in said
    assert f"none (would be {home / 'consent.json'})" in said
    assert "DO_NOT_TRACK is set" in run(home, "telemetry", "status", DO_NOT_TRACK="1").stdout


def test_status_tells_of_weeks_that_are_kept_while_the_environment_says_off(home: Path):
    count_last_week(home)

    assert f"Weeks:        {LAST_WEEK} kept" in run(home, "telemetry", "status", DO_NOT_TRACK="1").stdout


def test_status_says_off_where_it_may_not_look(home: Path, monkeypatch: pytest.MonkeyPatch):
    def closed(path: Path) -> bool:  # as Python 3.11 answers, where a folder on the way cannot be entered
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", closed)
    result = run(home, "telemetry", "status")

    assert result.exit_code == 0
    assert "Contributions are off" in result.stdout


def test_status_lists_the_weeks(home: Path):
    count_last_week(home)
    said = run(home, "telemetry", "status").stdout
    facts = json.loads(run(home, "telemetry", "status", "--json").stdout)

    assert "Contributions are on: the recorded consent." in said
    assert f"{LAST_WEEK} due" in said
    assert facts["on"] is True
    assert facts["purposes"] == ["improve", "publish"]
    assert facts["weeks"] == {str(LAST_WEEK): "due"}
    assert facts["journal_file"] == str(home / "journal.sqlite3")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sits there."""
    monkeypatch.setattr(console, "on_terminals", lambda: True)


@pytest.mark.parametrize("arguments", [[], ["--purpose", "improve"], ["--purpose", "publish"]], ids=str)
def test_without_a_terminal_nothing_says_yes_for_anybody(home: Path, arguments: list[str]):
    result = run(home, "telemetry", "on", *arguments)

    assert result.exit_code == 2
    assert result.stderr == "metavox: a yes needs a person at a terminal\n"
    assert not home.exists()


@pytest.mark.usefixtures("terminal")
def test_on_shows_the_notice_and_records_the_purposes_alone_that_were_named(home: Path):
    result = run(home, "telemetry", "on", "--purpose", "improve")
    given = parse_receipt((home / "consent.json").read_text())

    assert result.exit_code == 0
    assert "SOLD" in result.stderr
    assert "On from now, to improve; not to publish." in result.stdout
    assert "replaces" not in result.stdout
    assert given is not None
    assert given.purposes == {"improve"}
    assert given.notice == notice_hash(SCHEMA)
    assert given.schema_version == SCHEMA.version


@pytest.mark.usefixtures("terminal")
def test_on_says_that_another_yes_ends_the_earlier_one_and_its_counts(home: Path):
    count_last_week(home)
    said = run(home, "telemetry", "on", "--purpose", "improve").stdout

    assert "On from now, to improve; not to publish." in said
    assert "This replaces the earlier yes; what was counted under that one is never sent." in said
    assert run(home, "telemetry", "preview").stderr == "Nothing would be sent: no counts.\n"
    assert run(home, "telemetry", "preview", "--json").stdout == "null\n"


@pytest.mark.usefixtures("terminal")
def test_on_refuses_a_purpose_that_does_not_exist(home: Path):
    result = run(home, "telemetry", "on", "--purpose", "improve", "--purpose", "sell")

    assert result.exit_code == 2
    assert not home.exists()


@pytest.mark.usefixtures("terminal")
def test_on_says_when_the_environment_still_holds_it_off(home: Path):
    said = run(home, "telemetry", "on", "--purpose", "improve", DO_NOT_TRACK="1").stdout

    assert "Here and now it is still off: DO_NOT_TRACK is set." in said


@pytest.mark.parametrize("delete", [[], ["--delete"]], ids=str)
def test_off_records_the_no_and_deletes_what_could_only_be_sent_under_a_yes(home: Path, delete: list[str]):
    count_last_week(home)
    result = run(home, "telemetry", "off", *delete)
    given = parse_receipt((home / "consent.json").read_text())

    assert result.exit_code == 0
    assert [path.name for path in home.iterdir()] == ["consent.json"]
    assert given is not None
    assert given.purposes == frozenset()
    assert "There was no journal" in run(home, "telemetry", "off", "--delete").stdout


@pytest.mark.parametrize("status", [200, 503], ids=["stored", "perhaps stored, and not said so"])
def test_the_tokens_of_what_a_collector_may_hold_stay_until_they_are_handed_over(home: Path, status: int):
    count_last_week(home)
    with serving(status) as (server, _):
        run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url_of(server))
    tokens = {report.week: report.token for report in tried_reports(home / "journal.sqlite3")}
    kept = run(home, "telemetry", "off")

    assert list(tokens) == [LAST_WEEK]
    assert "The tokens of reports that were sent, or may have been, stay in" in kept.stdout
    assert [report.token for report in tried_reports(home / "journal.sqlite3")] == [*tokens.values()]
    assert b"metavox/tiny" not in (home / "journal.sqlite3").read_bytes()
    assert f"{LAST_WEEK} {tokens[LAST_WEEK].hex()}" in run(home, "telemetry", "off", "--delete").stdout
    assert not (home / "journal.sqlite3").exists()


@pytest.mark.parametrize("delete", [[], ["--delete"]], ids=str)
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


def test_preview_raw_is_byte_for_byte_what_is_sent(home: Path):
    count_last_week(home)
    raw = run(home, "telemetry", "preview", "--raw").stdout_bytes
    with serving() as (server, _):
        said = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url_of(server))

    assert said.stdout == f"{LAST_WEEK}: sent\n"
    assert gzip.decompress(server.requests[0][2]) == raw
    assert run(home, "telemetry", "preview", "--raw", "--week", str(LAST_WEEK)).stdout_bytes == raw


def test_preview_in_words_shows_every_field_and_the_hash_of_the_bytes(home: Path):
    count_last_week(home)
    raw = run(home, "telemetry", "preview", "--raw").stdout_bytes
    shown = run(home, "telemetry", "preview")
    facts = json.loads(run(home, "telemetry", "preview", "--json").stdout)

    assert hashlib.sha256(raw).hexdigest() in shown.stdout
    assert f"{len(raw)} bytes" in shown.stdout
    assert "is over: this is what the next upload sends" in shown.stderr
    assert (facts["bytes"], facts["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert facts["content"][0]["resource"]["metavox.week"] == str(LAST_WEEK)
    for field in SCHEMA.dimensions:
        assert field.attribute in shown.stdout
        assert field.attribute in facts["content"][0]["spans"][0]["attributes"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--week", "last"], "--week: 'last' is not an ISO week; write it like 2026-W47"),
        (["--week", "2026-W60"], "--week: "),
        (["--raw", "--json"], "--raw and --json are two forms of one answer"),
    ],
    ids=str,
)
def test_preview_says_how_it_was_called_wrongly(home: Path, arguments: list[str], words: str):
    result = run(home, "telemetry", "preview", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_preview_of_a_week_without_counts_says_so(home: Path):
    count_last_week(home)

    assert run(home, "telemetry", "preview", "--week", "2020-W01").stderr == (
        "Nothing would be sent: no counts of 2020-W01.\n"
    )


def test_preview_raw_writes_no_bytes_to_a_terminal(home: Path):
    count_last_week(home)
    terminal, far_end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    done = subprocess.run(
        [sys.executable, "-c", "from metavox.cli import main; main()", "telemetry", "preview", "--raw"],
        env={**environment, "METAVOX_HOME": str(home)},
        stdout=far_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.write(far_end, b"the end")
    os.close(far_end)

    assert done.returncode == 2
    assert "no terminal can show" in done.stderr
    assert os.read(terminal, 65536) == b"the end"
    os.close(terminal)


def test_upload_sends_a_week_once(home: Path):
    count_last_week(home)
    with serving() as (server, _):
        first = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url_of(server))
        second = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url_of(server))

    assert first.exit_code == second.exit_code == 0
    assert second.stdout == "Nothing was sent: no completed week is waiting.\n"
    assert len(server.requests) == 1


def test_upload_says_that_it_stopped_because_the_consent_changed(home: Path, monkeypatch: pytest.MonkeyPatch):
    count_last_week(home)
    build = Journal.build

    def build_and_withdraw(journal: Journal, week: Week, body: bytes) -> bytes | None:
        (home / "consent.json").unlink()
        return build(journal, week, body)

    monkeypatch.setattr(Journal, "build", build_and_withdraw)
    with serving() as (server, _):
        said = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url_of(server)).stdout

    assert said == "The consent has changed meanwhile, so nothing more was sent.\n"
    assert server.requests == []


def test_upload_without_a_collector_says_so_and_sends_nothing(home: Path):
    count_last_week(home)
    result = run(home, "telemetry", "upload")

    assert result.exit_code == 1
    assert result.stderr == (
        "metavox: no collector is configured, so nothing was sent; METAVOX_COLLECTOR_URL names one\n"
    )


def test_upload_refuses_an_address_without_encryption(home: Path):
    count_last_week(home)
    result = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL="http://collector.example")

    assert result.exit_code == 1
    assert "https" in result.stderr


@pytest.mark.parametrize(
    ("status", "words"), [(400, "it will not be sent again"), (503, "it is kept for another try")]
)
def test_upload_says_what_a_refusal_means(home: Path, status: int, words: str):
    count_last_week(home)
    with serving(status) as (server, _):
        result = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url_of(server))

    assert result.exit_code == 1
    assert result.stdout == f"{LAST_WEEK}: refused with status {status}; {words}\n"


def test_upload_while_off_sends_nothing(home: Path):
    count_last_week(home)
    with serving() as (server, _):
        result = run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=url_of(server), DO_NOT_TRACK="1")

    assert result.exit_code == 0
    assert "Nothing was sent: contributions are off, DO_NOT_TRACK is set." in result.stdout
    assert server.requests == []


@pytest.mark.parametrize("verb", ["off", "upload"])
def test_somebody_who_stopped_listening_is_told_nothing(home: Path, verb: str):
    count_last_week(home)
    nobody, output = os.pipe()
    os.close(nobody)
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    done = subprocess.run(
        [sys.executable, "-c", "from metavox.cli import main; main()", "telemetry", verb],
        env={**environment, "METAVOX_HOME": str(home), "DO_NOT_TRACK": "1"},
        stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(output)

    assert (done.returncode, done.stderr) == (1, "")
    assert (home / "journal.sqlite3").exists() is (verb == "upload")


def test_a_damaged_journal_is_one_clear_line(home: Path):
    count_last_week(home)
    (home / "journal.sqlite3").write_bytes(b"garbage" * 1000)
    result = run(home, "telemetry", "status")

    assert result.exit_code == 1
    assert result.stderr.startswith("metavox: the journal cannot be used")
    assert result.stderr.count("\n") == 1


def test_an_unwritable_home_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file" / "home", "telemetry", "off")

    assert result.exit_code == 1
    assert result.stderr.startswith("metavox: ")
    assert result.stderr.count("\n") == 1


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"
