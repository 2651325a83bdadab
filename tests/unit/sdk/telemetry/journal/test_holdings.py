from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.holdings import Holdings, holdings, view
from metavox.telemetry.upload.weekly import preview
from metavox_privacy.report import CellCounts
from metavox_privacy.schema import SCHEMA
from tests.spans import WEEK
from tests.unit.sdk.telemetry.shared import (
    CONSENT,
    NEXT_WEEK,
    NOW,
    YES,
    agree,
    home_in,
    journal_in,
    record_of,
    tally_of,
)


@pytest.fixture
def counted(tmp_path: Path) -> Home:
    home = home_in(tmp_path)
    agree(home)
    journal_in(home).add(tally_of([record_of(), record_of()]))
    return home


def test_holdings_are_what_was_counted(counted: Home):
    held = holdings(counted.journal_file)
    (week,) = held.weeks
    (cell,) = week.cells
    record = record_of()

    assert held.is_of(YES)
    assert not held.is_of(YES + timedelta(seconds=1))
    assert (week.report.week, cell.words, cell.requests) == (WEEK, record.cell, 2)
    assert cell.buckets == {name: {bucket: 2} for name, bucket in record.buckets.items()}


def test_looking_at_what_is_not_there_makes_nothing(tmp_path: Path):
    home = home_in(tmp_path)

    assert holdings(home.journal_file) == Holdings()
    assert view(home.journal_file, CONSENT, SCHEMA, NOW).reports() == []
    assert list(tmp_path.iterdir()) == []


def test_a_view_previews_what_its_journal_previews_and_changes_no_byte(counted: Home):
    before = counted.journal_file.read_bytes()
    shown = preview(view(counted.journal_file, CONSENT, SCHEMA, NEXT_WEEK), CONSENT, SCHEMA, NEXT_WEEK)

    assert counted.journal_file.read_bytes() == before
    assert shown == preview(journal_in(counted), CONSENT, SCHEMA, NEXT_WEEK)
    assert all(isinstance(cell, CellCounts) for cell in journal_in(counted).counts(WEEK).cells.values())


def test_a_view_shows_nothing_of_another_consent(counted: Home):
    agree(counted, since=YES + timedelta(hours=1))
    consent = counted.consent({})

    assert view(counted.journal_file, consent, SCHEMA, NOW).reports() == []


def test_a_view_shows_no_week_that_the_next_request_deletes(counted: Home):
    reports = [
        view(counted.journal_file, CONSENT, SCHEMA, WEEK.end + timedelta(days=days)).reports() for days in (27, 36)
    ]

    assert [len(found) for found in reports] == [1, 0]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE cells SET cell = '5'",
        "UPDATE cells SET buckets = '[]'",
        "UPDATE cells SET buckets = 'x'",
        "UPDATE reports SET week = 'never'",
        "UPDATE reports SET due_at = 'never'",
    ],
)
def test_what_we_never_wrote_is_an_error_of_the_journal(counted: Home, change: str):
    sql = sqlite3.connect(counted.journal_file)
    sql.execute(change)
    sql.commit()
    sql.close()
    with pytest.raises(sqlite3.DatabaseError, match="what MetaVox does not write"):
        holdings(counted.journal_file)
