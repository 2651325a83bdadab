"""What is counted of programs that end, fork, crash and are killed, and that none of them waits or prints."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal, tried_reports
from metavox_privacy.anonymize import Record
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.integration.telemetry.shared import TEMPERS, collector
from tests.unit.sdk.telemetry.shared import agree, record_of, tally_of
from tests.unit.sdk.telemetry.upload.test_uploader import serving

LONG_AGO = datetime.now(timezone.utc) - timedelta(days=30)
PRELUDE = """
import multiprocessing, os, signal, sys, threading, time
from metavox.telemetry.contribution import Contribution
from metavox_privacy.span import Span

contribution = Contribution.from_environment(os.environ)

def request(times=1):
    for _ in range(times):
        now = time.time_ns()
        contribution.on_span(Span("chat", now, now, {"gen_ai.request.model": "metavox/tiny"}))

"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Of somebody who said yes a month ago."""
    home = Home(tmp_path / "home", tmp_path / "home")
    agree(home, since=LONG_AGO)
    return home


def run(home: Home, script: str, *, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, in an environment that no build or test system has set."""
    path = home.config.parent / "program.py"
    path.write_text(PRELUDE + script)
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(path)],
        env={"PATH": os.environ["PATH"], "METAVOX_HOME": str(home.config), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def journal(home: Home) -> Journal:
    return Journal(home.journal_file, home.consent({}), SCHEMA, datetime.now(timezone.utc))


def counted(home: Home) -> int:
    """Requests of this week, or of the one that has just ended."""
    now = datetime.now(timezone.utc)
    weeks = {Week.of(now), Week.of(now - timedelta(minutes=5))}
    return sum(cell.requests for week in weeks for cell in journal(home).counts(week).cells.values())


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise SystemExit(4)", 4),
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0),
        ("threading.Thread(target=request).start()", 0),
    ],
    ids=["runs out", "exit", "SystemExit", "with a daemon thread", "with a thread that counts on"],
)
def test_a_program_that_ends_has_counted_everything_at_once_and_printed_nothing(home: Home, end: str, code: int):
    start = time.monotonic()
    done = run(home, f"request(3)\n{end}\n")

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert counted(home) == 3 + ("target=request" in end)
    assert time.monotonic() - start < 9  # and not when the pause is over


def test_a_program_that_fails_has_counted_everything(home: Home):
    done = run(home, "request(3)\nraise ValueError('a mistake of the program')\n")

    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: a mistake of the program\n")
    assert counted(home) == 3


@pytest.mark.parametrize("end", ["os._exit(5)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()"])
def test_a_program_that_is_gone_in_an_instant_loses_what_waited_and_harms_nothing(home: Home, end: str):
    run(home, f"request(3)\ncontribution.flush()\nrequest(2)\n{end}\n")

    assert counted(home) == 3
    with sqlite3.connect(home.journal_file) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    sql.close()


def test_a_request_that_a_finalizer_ends_when_python_is_going_down_neither_holds_it_up_nor_is_heard_of(home: Home):
    script = """
class Streamed:
    def __del__(self):
        assert sys.is_finalizing()
        request()
        os.write(1, b"over")

left = Streamed()
request()
"""
    done = run(home, script, timeout=30)

    assert (done.returncode, done.stdout, done.stderr) == (0, "over", "")
    assert counted(home) == 1


def test_a_fork_counts_each_request_once(home: Home):
    done = run(home, "request(2)\nif os.fork():\n    os.wait()\nelse:\n    request(3)\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert counted(home) == 5


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_each_process_of_multiprocessing_counts_its_own_requests(home: Home, method: str):
    script = f"""
if __name__ == "__main__":
    request(2)
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=request, args=(4,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
"""
    done = run(home, script)

    assert (done.returncode, done.stderr) == (0, "")
    assert counted(home) == 2 + 3 * 4


def test_workers_that_a_server_forks_count_until_they_are_told_to_end(home: Home):
    script = """
def worker():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    request(3)
    os.write(ready, b".")
    while True:
        time.sleep(1)

request(1)  # the master's, which waits while the workers are made
told, ready = os.pipe()
workers = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        worker()
    workers.append(child)
for _ in workers:
    os.read(told, 1)
for child in workers:
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = run(home, script)

    assert (done.returncode, done.stderr) == (0, "")
    assert counted(home) == 1 + 4 * 3


def test_a_fork_from_the_middle_of_everything_never_waits_for_ever(home: Home):
    script = """
stop = threading.Event()

def hammer():
    while not stop.is_set():
        request()
        contribution.flush()

threads = [threading.Thread(target=hammer) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(30):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        request()
        contribution.flush()
        os._exit(0 if contribution.wants() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
"""
    done = run(home, script)

    assert (done.returncode, done.stderr) == (0, "")
    assert counted(home) >= 30


def last_week(home: Home) -> Week:
    """Counts of last week, whose report is due."""
    week = Week.of(datetime.now(timezone.utc) - timedelta(days=7))
    record = record_of()
    journal(home).add(tally_of([Record(week, record.cell, record.buckets)]))
    with sqlite3.connect(home.journal_file) as sql:
        sql.execute("UPDATE reports SET due_at = 0")
    sql.close()
    return week


def outcomes(home: Home) -> list[str | None]:
    return [report.outcome for report in tried_reports(home.journal_file)]


UNTIL_TRIED = """
import sqlite3
contribution.begin()
request()
for _ in range(400):
    time.sleep(0.02)
    with sqlite3.connect(os.environ["METAVOX_HOME"] + "/journal.sqlite3") as sql:
        if sql.execute("SELECT count(*) FROM reports WHERE tries > 0 AND busy_until IS NULL").fetchone()[0]:
            break
"""


def test_what_is_due_is_sent_while_the_program_works_and_nobody_hears_of_it(home: Home):
    week = last_week(home)
    with serving() as (server, _):
        done = run(home, UNTIL_TRIED, METAVOX_COLLECTOR_URL=f"http://127.0.0.1:{server.server_port}")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path for path, _, _ in server.requests] == ["/v1/traces"]
    assert outcomes(home) == ["sent"]
    assert tried_reports(home.journal_file)[0].week == week


def test_where_nothing_is_due_no_network_code_is_even_loaded(home: Home):
    script = """
contribution.begin()
request()
contribution.flush()
time.sleep(0.5)
loaded = {"ssl", "http.client", "metavox.telemetry.upload.transport", "opentelemetry"} & set(sys.modules)
assert not loaded, loaded
"""
    done = run(home, script, METAVOX_COLLECTOR_URL="https://collector.example")

    assert (done.returncode, done.stderr) == (0, "")
    assert counted(home) == 1


def test_a_program_looks_for_what_is_due_once_an_hour(home: Home):
    script = """
from metavox.telemetry.upload import automatic
now, started = [1000.0], []
automatic.time.monotonic = lambda: now[0]
automatic.threading.Thread.start = lambda thread: started.append(thread.name)
for _ in range(100):
    now[0] += 120  # seconds: 3 hours and 20 minutes
    contribution.begin()
assert started == ["metavox-upload"] * 4, started
os._exit(0)
"""
    done = run(home, script, METAVOX_COLLECTOR_URL="https://collector.example")

    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_collectors_address_nothing_is_tried(home: Home):
    last_week(home)
    done = run(home, "contribution.begin()\nrequest()\ntime.sleep(0.5)\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert tried_reports(home.journal_file) == []


@pytest.mark.parametrize("url", ["http://collector.example", "nonsense", "https://user:secret@h", "\N{SNOWMAN}"])
def test_an_address_that_is_none_is_passed_over_in_silence(home: Home, url: str):
    last_week(home)
    done = run(home, "contribution.begin()\nrequest()\ntime.sleep(0.3)\n", METAVOX_COLLECTOR_URL=url)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tried_reports(home.journal_file) == []


@pytest.mark.parametrize("temper", [temper for temper in TEMPERS if temper != "healthy"])
def test_a_collector_that_is_away_delays_no_end_and_prints_nothing(home: Home, temper: str):
    script = (
        "logging = __import__('logging').basicConfig(level=0)\ncontribution.begin()\nrequest(20)\ntime.sleep(0.3)\n"
    )
    script += "print(time.time())\n"
    last_week(home)
    silent = run(home, script)
    with collector(temper) as away:
        done = run(home, script, METAVOX_COLLECTOR_URL=away.url)
        took = time.time() - float(done.stdout)

    assert done.returncode == 0
    assert done.stderr == silent.stderr == ""
    assert took < 2  # far from a try's three seconds
    assert counted(home) == 40
    assert outcomes(home) == [None]
