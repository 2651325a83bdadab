"""A program ends when it ends, whatever a collector does, and what it counted is on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.telemetry.shared import (
    TEMPERS,
    agree,
    clean_environment,
    collector,
    home_of,
    keep_a_due_report,
    report_in,
    requests_in,
)

MOST = 1.5
"""Seconds; a try at a collector takes three. What an end really costs, the benchmark measures."""

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from metavox.telemetry.contribution import Contribution
from metavox_privacy.span import Span
from tests.integration.telemetry.shared import home_of, report_in
from tests.spans import ATTRIBUTES
from metavox_privacy.week import Week

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background has it ignored
requests, week, how = int(sys.argv[1]), sys.argv[2], sys.argv[3]
contribution = Contribution.from_environment(os.environ)
contribution.begin()
now = time.time_ns()
contribution.on_spans([Span("chat", now, now + 10**9, ATTRIBUTES)] * requests)
deadline = time.monotonic() + 20
while week and report_in(home_of(Path(os.environ["METAVOX_HOME"])), Week.parse(week))[0] == 0:
    assert time.monotonic() < deadline
    time.sleep(0.01)  # until the report is on its way
print(time.monotonic(), flush=True)
exec(how)
"""


@pytest.fixture
def end(tmp_path: Path) -> Callable[..., tuple[int, float, bytes]]:
    """Runs the program; gives its status, the seconds from its last line to its end, and its standard error."""

    def run(url: str, requests: int, week: object, how: str = "") -> tuple[int, float, bytes]:
        environment = clean_environment(tmp_path, METAVOX_HOME=str(tmp_path), METAVOX_COLLECTOR_URL=url)
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(requests), str(week), how],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            last = process.stdout.readline()
            process.wait(60)
            ended = time.monotonic()
            errors = process.communicate()[1]
        finally:
            process.kill()
        assert last, errors
        return process.returncode, ended - float(last), errors

    return run


@pytest.mark.parametrize("requests", [1, 2000])
@pytest.mark.parametrize("temper", TEMPERS)
def test_the_end_waits_for_no_collector(
    tmp_path: Path, end: Callable[..., tuple[int, float, bytes]], temper: str, requests: int
):
    home = home_of(tmp_path)
    agree(home)
    week = keep_a_due_report(home)
    with collector(temper) as made:
        status, seconds, errors = end(made.url, requests, week)

    assert (status, errors) == (0, b"")
    assert seconds < MOST
    assert requests_in(home) == requests
    tries, outcome = report_in(home, week)
    assert tries == 1
    assert outcome in (None, "sent")
    assert outcome is None or temper == "healthy"


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("sys.exit(3)", 3),
        ("raise SystemExit('said')", 1),
        ("1 / 0", 1),
        ("os.kill(os.getpid(), 2); time.sleep(9)", -signal.SIGINT),
        ("os.kill(os.getpid(), 15); time.sleep(9)", -signal.SIGTERM),
        ("os._exit(4)", 4),
    ],
)
def test_whichever_way_a_program_ends_it_ends_at_once_and_with_its_own_status(
    tmp_path: Path, end: Callable[..., tuple[int, float, bytes]], how: str, status: int
):
    home = home_of(tmp_path)
    agree(home)
    week = keep_a_due_report(home)
    with collector("black hole") as made:
        ended, seconds, errors = end(made.url, 5, week, how)

    assert ended == status
    assert seconds < MOST
    assert b"metavox" not in errors
    killed = ("kill" in how and "15" in how) or "_exit" in how
    assert requests_in(home) == (0 if killed else 5)


def test_a_program_that_ends_while_somebody_else_holds_the_journal_waits_for_nobody(
    tmp_path: Path, end: Callable[..., tuple[int, float, bytes]]
):
    import sqlite3

    home = home_of(tmp_path)
    agree(home)
    keep_a_due_report(home)
    other = sqlite3.connect(home.journal_file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        status, seconds, errors = end("", 1, "")
    finally:
        other.close()

    assert (status, errors) == (0, b"")
    assert seconds < MOST


def test_a_program_on_a_file_system_that_takes_nothing_ends_at_once(
    tmp_path: Path, end: Callable[..., tuple[int, float, bytes]]
):
    home = home_of(tmp_path)
    agree(home)
    how = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    status, seconds, errors = end("", 9, "", how)

    assert (status, errors) == (0, b"")
    assert seconds < MOST
    assert os.listdir(tmp_path)  # at most an empty journal beside the answer
    assert requests_in_whatever_there_is(tmp_path) == 0


def requests_in_whatever_there_is(folder: Path) -> int:
    journal = home_of(folder).journal_file
    return 0 if not journal.exists() or not journal.stat().st_size else requests_in(home_of(folder))


def test_a_program_of_one_request_sends_what_is_due_while_its_model_loads(tmp_path: Path):
    home = home_of(tmp_path)
    agree(home)
    week = keep_a_due_report(home)
    with collector("healthy") as there:
        environment = clean_environment(tmp_path, METAVOX_HOME=str(tmp_path), METAVOX_COLLECTOR_URL=there.url)
        subprocess.run(
            [str(Path(sys.executable).with_name("metavox")), "generate", "Once", "--max-tokens", "1"],
            env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
        )  # fmt: skip
    assert report_in(home, week) == (1, "sent")
