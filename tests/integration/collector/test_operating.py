"""What an operator does to a service with its own program, while senders send."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metavox_collector.cli import main
from metavox_privacy.budget import GENESIS
from metavox_privacy.week import Week
from tests.integration.collector.running import collector, senders, staged
from tests.postgres import Server, binaries, server

NOW = datetime.now(timezone.utc)
LAST_WEEK = Week.of(NOW - timedelta(days=7))
"""A restore keeps the real time, by which the week has to be open."""

REPORTS = 200


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server(durable=True) as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes a URL for a database that is not there, or is empty."""
    if request.param == "postgresql":
        made: Server = request.getfixturevalue("postgres")
        return lambda _name: made.new_database()
    return lambda name: f"sqlite:///{tmp_path}/{name}.db"


@dataclass(frozen=True)
class Done:
    """What a command answered."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def operate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs the operator's program, in this process, which has imported it already."""
    for name in [name for name in os.environ if name.startswith("METAVOX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{binaries()}{os.pathsep}{os.environ['PATH']}")  # the server's version of pg_dump

    def run(*words: object, db: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["metavox-collector", *map(str, words), "--db", db])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


def levels(done: Done) -> dict[str, str]:
    return {finding["about"]: finding["level"] for finding in json.loads(done.stdout)}


def test_a_collector_is_looked_at_backed_up_upgraded_and_moved(new, operate, tmp_path):
    old, moved = new("old"), new("moved")
    with collector(old, "--workers", "2", now=NOW.isoformat()) as running:
        with senders(running.url, REPORTS, week=LAST_WEEK, half_waits=True) as going:
            going.wait_for(REPORTS // 5)
            during = operate("db", "backup", "--out", tmp_path / "during", db=old)
            upgraded = operate("db", "upgrade", db=old)
            running.process.send_signal(signal.SIGHUP)
        assert (during.returncode, upgraded.returncode) == (0, 0), (during.stderr, upgraded.stderr)
        found = operate("doctor", "--json", db=old)
        assert levels(found)["database"] == "error"  # it is a sandbox, and these settings are for production
        assert [level for about, level in levels(found).items() if about != "database" and level == "error"] == []
        assert running.stop()[0] == 0
    before = staged(old, LAST_WEEK)
    assert before.keys() == going.acknowledged == going.sent

    whole = tmp_path / "whole"
    assert operate("db", "backup", "--with-staged", "--out", whole, db=old).returncode == 0
    restored = operate("db", "restore", whole, "--with-staged", "--ledger-head", GENESIS, db=moved)
    assert restored.returncode == 0, restored.stderr
    assert staged(moved, LAST_WEEK) == before
    checked = operate("db", "check", "--json", db=moved)
    assert (checked.returncode, levels(checked)["staged"]) == (0, "ok")
