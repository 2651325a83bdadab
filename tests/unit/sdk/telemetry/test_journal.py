from __future__ import annotations

import multiprocessing
import sqlite3
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from metavox.telemetry.home import Home
from metavox.telemetry.journal import Journal, tried_reports, withdraw
from metavox_privacy.consent import Consent, off
from metavox_privacy.report import count
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.spans import BOTH, WEEK, example_span
from tests.unit.sdk.telemetry.shared import CONSENT, NEXT_WEEK, NOW, YES, home_in, journal_in, record_of

RECORDS = [
    record_of(example_span(gen_ai__server__request__duration=0.01 * n, hw__vendor="nvidia")) for n in range(5)
]
OTHERS = [record_of(example_span(gen_ai__request__model="Qwen/Qwen3-0.6B", error__type="E"))]


def test_what_goes_in_comes_out_as_the_same_counts(tmp_path: Path):
    journal = journal_in(home_in(tmp_path))
    journal.add(RECORDS)
    journal.add(OTHERS)
    journal.add(RECORDS[:2])

    assert journal.counts(WEEK) == count([*RECORDS, *OTHERS, *RECORDS[:2]], WEEK, SCHEMA)


def test_reading_makes_no_journal(tmp_path: Path):
    home = home_in(tmp_path)

    assert journal_in(home).reports() == []
    assert list(tmp_path.iterdir()) == []


def test_the_journal_is_its_owners_alone(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)

    assert stat.S_IMODE(home.journal_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700
    assert [path.name for path in home.state.iterdir()] == ["journal.sqlite3"]


def test_there_is_no_journal_without_a_yes(tmp_path: Path):
    with pytest.raises(ValueError, match="without a consent"):
        journal_in(home_in(tmp_path), consent=off("no"))


def test_a_weeks_token_is_made_once(tmp_path: Path):
    journal = journal_in(home_in(tmp_path))
    journal.add(RECORDS)
    first = journal.reports()
    journal.add(RECORDS)

    assert journal.reports() == first
    assert len(first[0].token) == 32
    assert (first[0].week, first[0].body, first[0].outcome) == (WEEK, None, None)


def test_a_built_report_never_changes_and_counts_no_more(tmp_path: Path):
    journal = journal_in(home_in(tmp_path))
    journal.add(RECORDS)
    assert journal.build(WEEK, b"first") == b"first"
    assert journal.build(WEEK, b"second") == b"first"
    journal.add(RECORDS)

    assert journal.reports()[0].body == b"first"
    assert journal.counts(WEEK).cells == {}


def test_weeks_are_deleted_28_days_after_their_end(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)

    assert journal_in(home, now=WEEK.end + timedelta(days=27)).reports()
    assert journal_in(home, now=WEEK.end + timedelta(days=28)).reports() == []
    assert journal_in(home).counts(WEEK).cells == {}


@pytest.mark.parametrize(
    "consent",
    [
        replace(CONSENT, since=YES + timedelta(days=1)),
        replace(CONSENT, since=YES - timedelta(days=1)),
        replace(CONSENT, purposes=frozenset({"improve"})),
    ],
    ids=["a later yes", "an earlier yes", "a narrower yes of the same moment"],
)
def test_counts_of_another_consent_are_deleted_and_never_sent(tmp_path: Path, consent: Consent):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)
    again = journal_in(home, consent=consent)

    assert again.reports() == []
    assert again.counts(WEEK).cells == {}


def test_a_sent_reports_token_outlives_a_new_consent(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)
    journal_in(home).build(WEEK, b"body")
    journal_in(home).settle(WEEK, "sent")
    again = journal_in(home, consent=Consent(BOTH, NEXT_WEEK, ""), now=NEXT_WEEK)

    assert [report.outcome for report in again.reports()] == ["sent"]


def test_a_built_report_of_another_consent_is_withdrawn_and_only_its_token_stays(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)
    journal_in(home).build(WEEK, b"the bytes for both purposes")
    tokens = built_tokens(home.journal_file)
    narrower = journal_in(home, consent=replace(CONSENT, purposes=frozenset({"improve"})))
    (report,) = narrower.reports()

    assert (report.body, report.outcome) == (None, "withdrawn")
    assert {WEEK: report.token} == tokens == built_tokens(home.journal_file)
    assert b"the bytes for both purposes" not in home.journal_file.read_bytes()
    narrower.add(RECORDS)  # the installation may already count in that week
    assert narrower.counts(WEEK).cells == {}
    assert narrower.build(WEEK, b"again") is None


def test_a_changed_list_of_the_same_version_is_another_consent(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)

    assert Journal(home.journal_file, replace(CONSENT, notice="cd" * 32), SCHEMA, NOW).reports() == []


def test_a_report_that_is_gone_cannot_be_built(tmp_path: Path):
    assert journal_in(home_in(tmp_path)).build(WEEK, b"body") is None


def test_withdrawing_deletes_all_but_the_tokens_of_built_reports(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)
    journal_in(home).build(WEEK, b"the bytes of a report")
    later = journal_in(home, now=NEXT_WEEK)
    later.add([replace(RECORDS[0], week=Week.of(NEXT_WEEK))])
    tokens = built_tokens(home.journal_file)

    assert withdraw(home) == tokens == built_tokens(home.journal_file)
    assert set(tokens) == {WEEK}
    content = home.journal_file.read_bytes()
    assert b"the bytes of a report" not in content
    assert b"metavox/tiny" not in content


def test_withdrawing_deletes_a_journal_without_built_reports(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)

    assert withdraw(home) == {}
    assert not home.journal_file.exists()


def test_a_journal_of_another_layout_is_replaced(tmp_path: Path):
    home = home_in(tmp_path)
    home.state.mkdir()
    with sqlite3.connect(home.journal_file) as sql:
        sql.execute("CREATE TABLE consent (since TEXT)")
        sql.execute("CREATE TABLE reports (week TEXT)")
        sql.execute("PRAGMA user_version = 1")
    sql.close()
    journal_in(home).add(RECORDS)

    assert journal_in(home).counts(WEEK) == count(RECORDS, WEEK, SCHEMA)


def test_rows_that_the_schema_does_not_know_are_not_read(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)
    honest = journal_in(home).counts(WEEK)
    with sqlite3.connect(home.journal_file) as sql:
        known = sql.execute("SELECT cell FROM requests").fetchone()[0]
        for cell in ('["anna"]', "[]", known.replace("metavox/tiny", "anna")):
            sql.execute("INSERT INTO requests VALUES (?, ?, 9)", (str(WEEK), cell))
        sql.execute("INSERT INTO counts VALUES (?, ?, 'secret', 1, 9)", (str(WEEK), known))
        sql.execute("INSERT INTO counts VALUES (?, ?, 'request_duration', 64, 9)", (str(WEEK), known))
    sql.close()

    assert journal_in(home).counts(WEEK) == honest


@pytest.mark.parametrize("damage", [b"not a database, and long enough to be read as one" * 40, None])
def test_a_damaged_journal_is_replaced(tmp_path: Path, damage: bytes | None):
    home = home_in(tmp_path)
    journal_in(home).add(RECORDS)
    content = home.journal_file.read_bytes()
    home.journal_file.write_bytes(damage or content[:1024] + bytes(3000) + content[4024:])
    with pytest.raises(sqlite3.DatabaseError):
        journal_in(home).add(RECORDS)
    journal_in(home).add(RECORDS)

    assert journal_in(home).counts(WEEK) == count(RECORDS, WEEK, SCHEMA)


def _write(home: Home, times: int) -> None:
    for _ in range(times):
        journal_in(home).add(RECORDS)


def test_two_processes_lose_no_count(tmp_path: Path):
    home, times = home_in(tmp_path), 25
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(home, times)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert journal_in(home).counts(WEEK) == count(RECORDS * times * 2, WEEK, SCHEMA)
    assert len(journal_in(home, now=NOW).reports()) == 1
