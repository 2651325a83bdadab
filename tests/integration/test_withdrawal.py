"""A person's whole way, with the real verbs and a real collector: sent, looked at, exported, taken back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from metavox.telemetry.journal.journal import tried_reports
from metavox_privacy.report import report_id_of
from tests.integration.collector.test_service import (
    Service,
    nothing_is_left_running,  # noqa: F401  # a fixture
    start,
)
from tests.unit.sdk.cli.shared import LAST_WEEK, count_last_week, run


@pytest.fixture
def collector(tmp_path: Path) -> Service:
    (tmp_path / "collector").mkdir()
    return start(tmp_path / "collector")


def staged(collector: Service) -> int:
    """How many reports wait at the collector."""
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'staged_cell_%'"
    with closing(sqlite3.connect(collector.db.removeprefix("sqlite:///"))) as sql:
        counts = [f"SELECT count(DISTINCT report_id) FROM {name}" for (name,) in sql.execute(tables)]  # noqa: S608
        return sum(int(sql.execute(count).fetchone()[0]) for count in counts)


def test_what_was_sent_can_be_seen_and_taken_back(tmp_path: Path, collector: Service):
    home = tmp_path / "home"
    count_last_week(home)
    here = {"METAVOX_COLLECTOR_URL": collector.url}
    assert run(home, "telemetry", "upload", **here).stdout == f"{LAST_WEEK}: sent\n"
    assert staged(collector) == 1
    assert f"its report was sent ({collector.url})" in run(home, "telemetry", "journal").stdout
    (stored,) = tried_reports(home / "journal.sqlite3")
    (week,) = json.loads(run(home, "telemetry", "export").stdout)["journal"]["weeks"]
    assert report_id_of(bytes.fromhex(week["token"])) == report_id_of(stored.token)

    withdrawn = run(home, "telemetry", "off", "--delete")

    assert withdrawn.exit_code == 0, withdrawn.stderr
    assert f"{LAST_WEEK}: deleted at {collector.url}." in withdrawn.stdout
    assert staged(collector) == 0
    assert [path.name for path in home.iterdir()] == ["consent.json"]
    assert collector.stop() == (0, "", "")


def test_a_collector_that_is_gone_leaves_the_token_and_the_next_try_deletes(tmp_path: Path, collector: Service):
    home = tmp_path / "home"
    count_last_week(home)
    run(home, "telemetry", "upload", METAVOX_COLLECTOR_URL=collector.url)
    collector.stop()
    port = collector.url.rpartition(":")[2]

    assert run(home, "telemetry", "off", "--delete").exit_code == 1
    assert len(tried_reports(home / "journal.sqlite3")) == 1
    back = start(tmp_path / "collector", "--port", port)
    assert staged(back) == 1
    assert run(home, "telemetry", "off", "--delete").exit_code == 0
    assert staged(back) == 0
    assert back.stop() == (0, "", "")
