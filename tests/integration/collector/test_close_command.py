from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from metavox_collector.close import close_week
from metavox_collector.store import Database
from metavox_privacy.week import Week
from tests.integration.collector.closes import tiny_schema
from tests.spans import WEEK
from tests.unit.collector.releases import AFTER, CAP, generous


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A sandbox in which one week is closed and nothing is staged, as which the shipped schema takes it over."""
    made = f"sqlite:///{tmp_path}/collector.db"
    database = Database.create(made, tiny_schema(), sandbox=True, yearly_cap=CAP)
    close_week(database, WEEK, generous(made), now=AFTER)
    database.dispose()
    return made


def close(url: str, week: Week) -> subprocess.CompletedProcess[str]:
    now = (AFTER + timedelta(days=2)).isoformat()
    command = ["close", "--db", url, "--week", str(week), "--now", now]
    return subprocess.run(
        [sys.executable, "-m", "metavox_collector", *command], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("week", "words"),
    [
        (WEEK, "week 2026-W47 was already released for 'improve'; a week is released once, ever"),
        (Week(2026, 48), "week 2026-W48 can be closed from 2026-12-10 00:00 UTC on; nothing was done"),
    ],
    ids=["again", "too early"],
)
def test_a_week_that_cannot_be_closed_is_one_line_and_status_1(url, week, words):
    closed = close(url, week)
    assert (closed.returncode, closed.stdout, closed.stderr) == (1, "", f"metavox-collector: {words}\n")
