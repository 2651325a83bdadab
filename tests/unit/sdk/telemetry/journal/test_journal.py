from __future__ import annotations

import json
import multiprocessing
import random
import resource
import sqlite3
import stat
import threading
import time
import warnings
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal import ledger
from metavox.telemetry.journal.cells import MOST_CELLS
from metavox.telemetry.journal.database import LARGEST, OtherLayout
from metavox.telemetry.journal.forks import transactions
from metavox.telemetry.journal.journal import Journal, forget, tried_reports, withdraw
from metavox.telemetry.journal.ledger import ONE_TRY, StoredReport
from metavox.telemetry.upload.uploader import Sent, Unreachable
from metavox_privacy.consent import Consent, off
from metavox_privacy.report import count
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.spans import BOTH, WEEK, example_span
from tests.unit.sdk.telemetry.journal.test_forks import held_elsewhere
from tests.unit.sdk.telemetry.shared import (
    CONSENT,
    NEXT_WEEK,
    NOW,
    YES,
    home_in,
    journal_in,
    record_of,
    tally_of,
    tried,
)

COLLECTOR = "https://collector.example"
RANGES = SCHEMA.dimension["input_tokens"].vocabulary

RECORDS = [
    record_of(example_span(gen_ai__server__request__duration=0.01 * n, hw__vendor="nvidia")) for n in range(5)
]
OTHERS = [record_of(example_span(gen_ai__request__model="Qwen/Qwen3-0.6B", error__type="E"))]


def test_what_goes_in_comes_out_as_the_same_counts(tmp_path: Path):
    journal = journal_in(home_in(tmp_path))
    journal.add(tally_of(RECORDS))
    journal.add(tally_of(OTHERS))
    journal.add(tally_of(RECORDS[:2]))

    assert journal.counts(WEEK) == count([*RECORDS, *OTHERS, *RECORDS[:2]], WEEK, SCHEMA)


def test_reading_makes_no_journal(tmp_path: Path):
    home = home_in(tmp_path)

    assert journal_in(home).reports() == []
    assert list(tmp_path.iterdir()) == []


def test_the_journal_is_its_owners_alone(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))

    assert stat.S_IMODE(home.journal_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700
    assert [path.name for path in home.state.iterdir()] == ["journal.sqlite3"]


def test_there_is_no_journal_without_a_yes(tmp_path: Path):
    with pytest.raises(ValueError, match="without a consent"):
        journal_in(home_in(tmp_path), consent=off("no"))


def test_a_weeks_token_and_hour_are_drawn_once(tmp_path: Path):
    journal = journal_in(home_in(tmp_path))
    journal.add(tally_of(RECORDS))
    first = journal.reports()
    journal.add(tally_of(RECORDS))
    (report,) = first

    assert journal.reports() == first
    assert len(report.token) == 32
    assert report == StoredReport(WEEK, report.token, report.due_at)


def test_reports_are_due_at_any_whole_hour_of_the_week_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    for hour in (0, 167):
        monkeypatch.setattr(ledger.secrets, "randbelow", lambda n, hour=hour: drawn.append(n) or hour)
        home = home_in(tmp_path / str(hour))
        journal_in(home).add(tally_of(RECORDS))
        assert journal_in(home).reports()[0].due_at == WEEK.end + timedelta(hours=hour)
    assert drawn == [7 * 24, 7 * 24]


def test_the_least_used_cells_of_a_week_give_way(tmp_path: Path):
    journal = journal_in(home_in(tmp_path))
    key = RECORDS[0].cell
    others = [replace(RECORDS[0], cell=(*key[:-3], f"{a}", f"{b}", "true")) for a in RANGES for b in RANGES]
    journal.add(tally_of([*others[:MOST_CELLS], *RECORDS]))
    journal.add(tally_of(RECORDS))
    found = journal.counts(WEEK).cells

    assert len(others) > MOST_CELLS - 1
    assert len(found) == MOST_CELLS
    assert found[key].requests == 2 * len(RECORDS)


def test_the_file_stays_below_its_limit_and_refuses_what_does_not_fit(tmp_path: Path, monkeypatch):
    home = home_in(tmp_path)
    monkeypatch.setattr("metavox.telemetry.journal.database.LARGEST", 10 * 4096)
    refused = 0
    for number in range(5):
        record = replace(RECORDS[0], week=Week(2026, 43 + number))
        many = [
            replace(record, cell=(*record.cell[:-3], a, b, "true"), buckets={"request_duration": n % 64})
            for a in RANGES
            for b in RANGES
            for n in range(20)
        ]
        try:
            journal_in(home).add(tally_of(many))
        except sqlite3.OperationalError as error:
            assert "full" in str(error)  # noqa: PT017  # some of them are expected, not each
            refused += 1
    assert refused
    assert home.journal_file.stat().st_size <= 10 * 4096
    with sqlite3.connect(home.journal_file) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    sql.close()


def test_a_journal_is_at_most_a_mebibyte():
    assert LARGEST == 2**20


def test_weeks_are_deleted_28_days_after_their_end(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))

    assert journal_in(home, now=WEEK.end + timedelta(days=27)).reports()
    assert journal_in(home, now=WEEK.end + timedelta(days=28)).reports() == []
    assert journal_in(home).counts(WEEK).cells == {}


@pytest.mark.parametrize("away", [timedelta(days=7), timedelta(days=365), timedelta(days=-50 * 7)])
def test_what_ended_in_a_week_that_has_not_begun_or_is_not_kept_is_not_counted(tmp_path: Path, away: timedelta):
    home = home_in(tmp_path)
    elsewhere = [replace(record, week=Week.of(NOW + away)) for record in RECORDS]
    journal_in(home).add(tally_of([*elsewhere, *OTHERS]))

    assert [report.week for report in journal_in(home).reports()] == [WEEK]
    with sqlite3.connect(home.journal_file) as sql:
        assert sql.execute("SELECT DISTINCT week FROM cells").fetchall() == [(str(WEEK),)]
    sql.close()


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
    journal_in(home).add(tally_of(RECORDS))
    again = journal_in(home, consent=consent)

    assert again.reports() == []
    assert again.counts(WEEK).cells == {}


def test_a_sent_reports_token_outlives_a_new_consent(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    tried(home, Sent())
    again = journal_in(home, consent=Consent(BOTH, NEXT_WEEK, ""), now=NEXT_WEEK)

    assert [report.outcome for report in again.reports()] == ["sent"]


def test_a_tried_report_of_another_consent_is_withdrawn_and_only_its_token_stays(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    tried(home, Unreachable("away"))
    (before,) = tried_reports(home.journal_file)
    narrower = journal_in(home, consent=replace(CONSENT, purposes=frozenset({"improve"})))
    (report,) = narrower.reports()

    assert before.body is not None
    assert report == replace(before, body=None, outcome="withdrawn")
    assert tried_reports(home.journal_file) == [report]
    assert before.body[:50] not in home.journal_file.read_bytes()
    narrower.add(tally_of(RECORDS))  # the installation may already count in that week
    assert narrower.counts(WEEK).cells == {}
    assert narrower.claim(NEXT_WEEK, COLLECTOR, lambda counts, token: b"again", force=True) is None


def test_what_was_counted_but_never_sent_leaves_no_token_after_another_consent(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))

    assert journal_in(home, consent=replace(CONSENT, since=YES - timedelta(days=1))).reports() == []


def test_a_changed_list_of_the_same_version_is_another_consent(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))

    assert Journal(home.journal_file, replace(CONSENT, notice="cd" * 32), SCHEMA, NOW).reports() == []


def test_withdrawing_deletes_all_but_the_tokens_of_tried_reports(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    tried(home, Unreachable("away"))
    journal_in(home, now=NEXT_WEEK).add(tally_of([replace(RECORDS[0], week=Week.of(NEXT_WEEK))]))
    tokens = {report.week: report.token for report in withdraw(home)}

    assert set(tokens) == {WEEK}
    assert {report.week: report.token for report in tried_reports(home.journal_file)} == tokens
    assert b"metavox/tiny" not in home.journal_file.read_bytes()


def test_withdrawing_deletes_a_journal_without_tried_reports(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))

    assert withdraw(home) == []
    assert not home.journal_file.exists()


def test_withdrawing_from_a_journal_that_another_process_holds_is_an_error_and_loses_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    tried(home, Sent())
    monkeypatch.setattr("metavox.telemetry.journal.database.PATIENCE", 0.05)
    other = sqlite3.connect(home.journal_file)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError):
        withdraw(home)
    other.close()

    assert [report.week for report in tried_reports(home.journal_file)] == [WEEK]


def test_what_is_forgotten_leaves_nothing_and_the_last_takes_the_file_along(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    later = Week.of(NEXT_WEEK)
    journal_in(home, now=NEXT_WEEK).add(tally_of([replace(RECORDS[0], week=later)]))
    forget(home, [WEEK])
    assert [report.week for report in journal_in(home, now=NEXT_WEEK).reports()] == [later]
    forget(home, [later])

    assert not home.journal_file.exists()


def test_the_journal_of_a_later_version_is_left_as_it_is(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    with sqlite3.connect(home.journal_file) as sql:
        sql.execute("PRAGMA user_version = 1000000")
    sql.close()
    before = home.journal_file.read_bytes()
    with pytest.raises(OtherLayout, match="later version"):
        journal_in(home).add(tally_of(RECORDS))

    assert home.journal_file.read_bytes() == before


def test_a_journal_of_an_earlier_layout_is_replaced(tmp_path: Path):
    home = home_in(tmp_path)
    home.state.mkdir()
    with sqlite3.connect(home.journal_file) as sql:
        sql.execute("CREATE TABLE consent (since TEXT)")
        sql.execute("CREATE TABLE reports (week TEXT)")
        sql.execute("PRAGMA user_version = 1")
    sql.close()
    journal_in(home).add(tally_of(RECORDS))

    assert journal_in(home).counts(WEEK) == count(RECORDS, WEEK, SCHEMA)


def test_rows_that_the_schema_does_not_know_are_not_read(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    honest = journal_in(home).counts(WEEK)
    with sqlite3.connect(home.journal_file) as sql:
        known, buckets = sql.execute("SELECT cell, buckets FROM cells").fetchone()
        for cell in ('["anna"]', "[]", known.replace("metavox/tiny", "anna")):
            sql.execute("INSERT INTO cells VALUES (?, ?, 9, ?)", (str(WEEK), cell, buckets))
        more = {**json.loads(buckets), "secret": {"1": 9}}
        more["time_per_output_token"]["64"] = 9
        sql.execute("UPDATE cells SET buckets = ? WHERE cell = ?", (json.dumps(more), known))
    sql.close()

    assert journal_in(home).counts(WEEK) == honest


@pytest.mark.parametrize("damage", [b"not a database, and long enough to be read as one" * 40, None])
def test_a_damaged_journal_is_set_aside_and_replaces_an_older_one(tmp_path: Path, damage: bytes | None):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    home.damaged_file.write_bytes(b"an older one")
    content = home.journal_file.read_bytes()
    damaged = damage or content[:1024] + bytes(3000) + content[4024:]
    home.journal_file.write_bytes(damaged)
    with pytest.raises(sqlite3.DatabaseError):
        journal_in(home).add(tally_of(RECORDS))

    assert [path.name for path in home.state.iterdir()] == [home.damaged_file.name]
    assert home.damaged_file.read_bytes() == damaged
    assert not home.consent({}).granted


def _write(home: Home, times: int) -> None:
    for _ in range(times):
        journal_in(home).add(tally_of(RECORDS))


def test_eight_processes_lose_no_count(tmp_path: Path):
    home, times = home_in(tmp_path), 25
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write, args=(home, times)) for _ in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork beside other tests' threads
        for writer in writers:
            writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0] * 8
    assert journal_in(home).counts(WEEK) == count(RECORDS * times * 8, WEEK, SCHEMA)
    assert len(journal_in(home, now=NOW).reports()) == 1


def test_writers_that_are_killed_leave_a_whole_journal_whose_counts_only_grow(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    fork, pauses, seen = multiprocessing.get_context("fork"), random.Random(7), len(RECORDS)
    for _ in range(25):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            writers = [fork.Process(target=_write, args=(home, 10**6)) for _ in range(2)]
            for writer in writers:
                writer.start()
        time.sleep(pauses.uniform(0, 0.06))
        for writer in writers:
            writer.kill()
            writer.join(60)
        cells = journal_in(home).counts(WEEK).cells
        requests = sum(cell.requests for cell in cells.values())
        assert requests >= seen
        assert requests % len(RECORDS) == 0, "a transaction is whole or not there"
        seen = requests
    with sqlite3.connect(home.journal_file) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    sql.close()
    assert seen > len(RECORDS)


def test_a_full_disk_refuses_a_write_and_keeps_what_was_there(tmp_path: Path):
    home = home_in(tmp_path)
    journal_in(home).add(tally_of(RECORDS))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises((sqlite3.OperationalError, OSError)):
            journal_in(home).add(tally_of(RECORDS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    assert journal_in(home).counts(WEEK) == count(RECORDS, WEEK, SCHEMA)
    assert not home.damaged_file.exists()


def test_a_count_of_little_patience_does_not_wait_for_this_programs_own_upload(tmp_path: Path):
    journal = journal_in(home_in(tmp_path))
    journal.add(tally_of(RECORDS))
    with held_elsewhere(transactions), pytest.raises(TimeoutError):
        journal.add(tally_of(RECORDS), patience=0.05)  # the upload may be waiting for another process

    journal.add(tally_of(OTHERS), patience=0.05)
    assert journal.counts(WEEK) == count([*RECORDS, *OTHERS], WEEK, SCHEMA)


def test_a_fork_waits_for_a_transaction_and_the_child_can_write(tmp_path: Path):
    home = home_in(tmp_path)
    stop = threading.Event()

    def write_on() -> None:
        while not stop.is_set():
            journal_in(home).add(tally_of(RECORDS))

    thread = threading.Thread(target=write_on)
    thread.start()
    fork, codes = multiprocessing.get_context("fork"), []
    try:
        for _ in range(20):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = fork.Process(target=_write, args=(home, 1))
                child.start()
            child.join(20)
            codes.append(child.exitcode)
    finally:
        stop.set()
        thread.join()

    assert codes == [0] * 20


def claimed(home: Home, now: datetime, *, collector: str = COLLECTOR, force: bool = False) -> Week | None:
    """The week whose report may be sent now."""
    report = journal_in(home, now=now).claim(now, collector, lambda counts, token: b"body", force=force)
    return None if report is None else report.week


class TestLedger:
    """When and where a report may go."""

    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
        """Requests of one week, due 20 hours after its end."""
        monkeypatch.setattr(ledger.secrets, "randbelow", lambda n: 20)
        home = home_in(tmp_path)
        journal_in(home).add(tally_of(RECORDS))
        return home

    def test_nothing_goes_before_its_hour_unless_a_person_asks(self, home: Home):
        due = WEEK.end + timedelta(hours=20)

        assert claimed(home, WEEK.end - timedelta(seconds=1), force=True) is None
        assert claimed(home, due - timedelta(seconds=1)) is None
        assert claimed(home, WEEK.end, force=True) == WEEK
        assert claimed(home, due + timedelta(days=2)) == WEEK

    def test_there_is_one_try_a_day_for_all_processes(self, home: Home):
        due = WEEK.end + timedelta(hours=20)
        hours = [
            hour for hour in range(100) if claimed(home, due + timedelta(hours=hour)) is not None
        ]  # each of them another process

        assert hours == [0, 24, 48, 72, 96]
        assert tried_reports(home.journal_file)[0].tries == 5

    def test_a_claim_is_one_process_and_ends_by_itself(self, home: Home):
        assert claimed(home, NEXT_WEEK, force=True) == WEEK
        assert claimed(home, NEXT_WEEK, force=True) is None
        assert claimed(home, NEXT_WEEK + ONE_TRY, force=True) == WEEK
        journal_in(home).note(WEEK, None)
        assert claimed(home, NEXT_WEEK + ONE_TRY, force=True) == WEEK

    def test_a_clock_that_was_set_back_stops_nothing(self, home: Home):
        assert claimed(home, NEXT_WEEK + timedelta(days=5)) == WEEK
        assert claimed(home, NEXT_WEEK + timedelta(days=1)) == WEEK

    def test_a_report_goes_to_no_second_collector(self, home: Home):
        assert claimed(home, NEXT_WEEK) == WEEK
        journal_in(home).note(WEEK, None)

        assert claimed(home, NEXT_WEEK + timedelta(days=2), collector="https://other.example", force=True) is None
        assert claimed(home, NEXT_WEEK + timedelta(days=2)) == WEEK

    @pytest.mark.parametrize("outcome", ["sent", "refused"])
    def test_what_is_settled_is_never_claimed_again(self, home: Home, outcome: str):
        assert claimed(home, NEXT_WEEK) == WEEK
        journal_in(home).note(WEEK, outcome)

        assert claimed(home, NEXT_WEEK + timedelta(days=3), force=True) is None

    def test_tries_end_28_days_after_the_week(self, home: Home):
        assert claimed(home, WEEK.end + timedelta(days=27, hours=23)) == WEEK
        assert claimed(home, WEEK.end + timedelta(days=28), force=True) is None

    def test_the_bytes_are_fixed_by_the_first_try_and_the_counts_are_gone(self, home: Home):
        first = journal_in(home).claim(NEXT_WEEK, COLLECTOR, lambda counts, token: b"first")
        journal_in(home).add(tally_of(RECORDS))
        second = journal_in(home).claim(NEXT_WEEK + timedelta(days=1), COLLECTOR, lambda counts, token: b"second")

        assert first is not None
        assert second is not None
        assert first.body == second.body == b"first"
        assert journal_in(home).counts(WEEK).cells == {}

    def test_an_outcome_changes_no_withdrawal(self, home: Home):
        assert claimed(home, NEXT_WEEK) == WEEK
        withdraw(home)
        journal_in(home).note(WEEK, "sent")

        assert [report.outcome for report in tried_reports(home.journal_file)] == ["withdrawn"]
