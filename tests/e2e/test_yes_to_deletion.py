"""A person's whole way: a yes at a terminal, requests, a week later the report, and all of it taken back."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metavox_privacy.receipt import parse_receipt
from metavox_privacy.week import Week
from tests.integration.collector.test_service import Service, nothing_is_left_running, start  # noqa: F401
from tests.integration.telemetry.shared import (
    clean_environment,
    home_of,
    report_in,
    requests_in,
    run,
)
from tests.integration.telemetry.terminal import COMMAND, MOVED, Terminal

LATER = 15
"""Days: by then the week is over, and its report due whichever hour was drawn."""

GENERATE = ("generate", "Once upon a time", "--max-tokens", "6", "--temperature", "0")

SERVER = """
import os, time
from pathlib import Path
from metavox import LLM, SamplingParams
from metavox_privacy.week import Week
from tests.integration.telemetry.shared import home_of, report_in
import sys

llm = LLM("metavox/tiny")
deadline = time.monotonic() + 60
while report_in(home_of(Path(os.environ["METAVOX_HOME"])), Week.parse(sys.argv[1]))[1] is None:
    llm.generate("Once", SamplingParams(max_tokens=2))
    assert time.monotonic() < deadline
    time.sleep(0.05)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    (tmp_path / "collector").mkdir()
    return clean_environment(tmp_path, METAVOX_HOME=str(tmp_path / "home"), LC_ALL="C.UTF-8", TERM="xterm")


def at_the_collector(service: Service, token: bytes) -> bool:
    """Whether the collector holds anything under the name that this token gives."""
    name = hashlib.sha256(token).hexdigest()
    with closing(sqlite3.connect(service.db.removeprefix("sqlite:///"))) as sql:
        tables = [row[0] for row in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [row for table in tables for row in sql.execute(f"SELECT * FROM {table}")]  # noqa: S608
    return name in str(rows) or repr(bytes.fromhex(name)) in str(rows)


def token_of(home: Path, week: Week) -> bytes:
    with closing(sqlite3.connect(home_of(home).journal_file)) as sql:
        return bytes(sql.execute("SELECT token FROM reports WHERE week = ?", (str(week),)).fetchone()[0])


def metavox(environment: dict[str, str], *words: str) -> str:
    """A verb that worked: what it answered."""
    done = run(COMMAND, environment, *words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_a_yes_leads_to_a_report_and_its_withdrawal_to_none(tmp_path: Path, environment: dict[str, str]):
    home = tmp_path / "home"
    with Terminal(COMMAND, GENERATE, environment) as terminal:
        for asked in (1, 2):
            terminal.wait_for("[y/N]", times=asked)
            terminal.type("y\n")
        assert terminal.end() == 0
    given = parse_receipt((home / "consent.json").read_text())
    assert given is not None
    assert given.purposes == {"improve", "publish"}
    assert requests_in(home_of(home)) == 0  # what ran before the yes is never counted

    week = Week.of(datetime.now(timezone.utc))
    with Terminal(COMMAND, ("generate", "Once", "Twice", *GENERATE[2:]), environment) as terminal:
        assert terminal.end() == 0
    assert "[y/N]" not in terminal.screen
    assert requests_in(home_of(home)) == 2
    token = token_of(home, week)

    now = datetime.now(timezone.utc) + timedelta(days=LATER)
    service = start(tmp_path / "collector", "--sandbox", "--now", now.isoformat())
    named = {**environment, "METAVOX_COLLECTOR_URL": service.url}
    done = run(MOVED.format(days=LATER) + SERVER, named, str(week))
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    assert report_in(home_of(home), week) == (1, "sent")
    assert at_the_collector(service, token)

    answer = json.loads(metavox(environment, "telemetry", "off", "--delete", "--json"))
    assert answer["reports"] == {str(week): "deleted"}
    assert not at_the_collector(service, token)
    assert [path.name for path in home.iterdir()] == ["consent.json"]
    assert service.stop() == (0, "", "")
