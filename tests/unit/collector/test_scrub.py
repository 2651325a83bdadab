from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from metavox_collector.app import create_app
from metavox_collector.close import close_week
from metavox_collector.store import Database, sqlite
from metavox_privacy.budget import AlreadyReleased
from tests.spans import WEEK
from tests.unit.collector.deletions import left_in
from tests.unit.collector.releases import AFTER, generous, stage_fleet, staged
from tests.waiting import until


def test_destroyed_reports_that_a_reader_keeps_in_the_log_are_told(url, schema, database):
    stage_fleet(database)
    impatient = Database.existing(url, schema, busy_timeout=0.01)
    with database.read() as reader:
        assert len(list(reader.staged_reports(WEEK, "publish"))) == 60
        closed = close_week(impatient, WEEK, generous(url), now=AFTER)
        assert closed.scrubbed is False
        with pytest.raises(AlreadyReleased, match="the write-ahead log could not be emptied yet"):
            close_week(impatient, WEEK, generous(url), now=AFTER)
    with pytest.raises(AlreadyReleased, match=r"once, ever$"):
        close_week(impatient, WEEK, generous(url), now=AFTER)
    impatient.dispose()


def test_a_week_whose_log_cannot_be_written_back_is_released_all_the_same(database, url, monkeypatch):
    def full(_engine: Engine) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite, "empty_log", full)
    closed = close_week(database, WEEK, generous(url), now=AFTER)
    assert (len(closed.releases), closed.scrubbed) == (2, False)
    with pytest.raises(AlreadyReleased, match="the write-ahead log could not be emptied yet"):
        close_week(database, WEEK, generous(url), now=AFTER)


@pytest.fixture
def url(sqlite_url) -> str:
    """SQLite's alone: PostgreSQL's own log is its own affair."""
    return str(sqlite_url)


class InterruptedDatabase(Database):
    """A process that dies between the commit and the scrub."""

    def scrub(self) -> bool:
        raise KeyboardInterrupt


@pytest.fixture
def interrupted(database, url, schema, tmp_path) -> Iterator[list[bytes]]:
    """The names of reports that an interrupted close has destroyed and left in the log."""
    stage_fleet(database)
    names = [row.report_id for row in staged(database)]
    dying = InterruptedDatabase.existing(url, schema)
    with pytest.raises(KeyboardInterrupt):
        close_week(dying, WEEK, generous(url), now=AFTER)
    dying.dispose()
    assert names[0] in left_in(tmp_path)
    return names


def test_closing_again_empties_the_log_of_a_close_that_was_interrupted(database, url, interrupted, tmp_path):
    with pytest.raises(AlreadyReleased):
        close_week(database, WEEK, generous(url), now=AFTER)
    assert not [name for name in interrupted if name in left_in(tmp_path)]


def test_the_service_empties_the_log_of_a_close_that_was_interrupted(url, schema, interrupted, tmp_path):
    with TestClient(create_app(generous(url), schema=schema)):
        assert until(lambda: interrupted[0] not in left_in(tmp_path))
        assert not [name for name in interrupted if name in left_in(tmp_path)]
