"""A collector's processes are killed, replaced, stopped under load: nothing acknowledged is lost or there twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metavox_privacy.schema import SCHEMA
from tests.bench.receivers.processes import kill_tree
from tests.integration.collector.running import (
    PATIENCE,
    PATIENT,
    Collector,
    Senders,
    assert_all_are_staged_once,
    collector,
    senders,
    staged,
)
from tests.postgres import Server, server
from tests.waiting import until

REPORTS = 600
SOME = REPORTS // 5
KILLED = "ERROR: a worker ended (status -9); another takes its place in N s"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """One whose commits are on the disk, as an operator's are."""
    with server(durable=True) as started:
        yield started


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes a new database; its URL."""
    if request.param == "postgresql":
        made: Server = request.getfixturevalue("postgres")
        return made.new_database
    return lambda: f"sqlite:///{tmp_path_factory.mktemp('faults')}/collector.db"


@pytest.fixture(scope="module")
def running(new: Callable[[], str]) -> Iterator[Collector]:
    """A service with two workers, which goes through one fault after the other and has to be well after each."""
    with collector(new(), "--workers", "2", **PATIENT) as started:
        yield started


def is_alive(pid: int) -> bool:
    """Whether it runs; who has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_acknowledged_are_staged(db: str, going: Senders, before: set[str]) -> None:
    """What was acknowledged is there whole, and beside what was there before only what was under way at the end."""
    found = staged(db)
    assert set(found.values()) == {SCHEMA.cells_per_report}
    assert going.acknowledged <= set(found)
    unanswered = set(found) - before - going.acknowledged
    assert unanswered <= going.sent
    assert len(unanswered) <= 8  # a request of each connection


def two_others(running: Collector, before: set[int]) -> bool:
    """Whether there are two workers, none of which was there before."""
    now = set(running.workers())
    return len(now) == 2 and not now & before


def killed(process: subprocess.Popen[str]) -> str:
    """Wait for a process that was killed; what it wrote to stderr."""
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == -signal.SIGKILL
    return said


def test_a_worker_is_killed_under_load_and_another_takes_its_place(running):
    victim, other = running.workers()
    with senders(running.url, REPORTS, half_waits=True) as going:
        going.wait_for(SOME)
        os.kill(victim, signal.SIGKILL)
    assert_all_are_staged_once(running.db, going)
    assert until(lambda: len({*running.workers()} - {victim}) == 2)  # the killed one is there until waited for
    assert other in running.workers()


def test_every_worker_is_killed_under_load_and_others_take_their_places(running):
    before = set(running.workers())
    with senders(running.url, REPORTS, half_waits=True) as going:
        going.wait_for(SOME)
        for worker in before:
            os.kill(worker, signal.SIGKILL)
    assert_all_are_staged_once(running.db, going)
    assert until(lambda: two_others(running, before))


def test_a_rolling_restart_under_load_replaces_every_worker_and_turns_nobody_away(running):
    before = set(running.workers())
    running.process.send_signal(signal.SIGHUP)
    while not two_others(running, before):
        with senders(running.url, REPORTS) as going:
            pass
        assert_all_are_staged_once(running.db, going)
        assert going.outcome is not None
        assert set(going.outcome.statuses) == {200}


def test_workers_end_by_themselves_when_who_started_them_is_killed(running):
    workers, before = running.workers(), set(staged(running.db))
    with senders(running.url, 20 * REPORTS, retry=0, half_waits=True) as going:
        going.wait_for(SOME)
        os.kill(running.process.pid, signal.SIGKILL)
        assert until(lambda: not any(map(is_alive, workers)))
    assert len(going.acknowledged) < 20 * REPORTS
    assert_acknowledged_are_staged(running.db, going, before)
    said = killed(running.process)
    assert set(re.sub(r"[0-9.]+ s", "N s", said).splitlines()) == {KILLED}


def test_everything_is_killed_under_load_started_again_and_stopped_under_load(new):
    service = collector(new(), "--workers", "2", **PATIENT)
    with service as running, senders(running.url, REPORTS, half_waits=True) as going:
        going.wait_for(SOME)
        kill_tree(running.process.pid)
        assert killed(running.process) == ""
        assert_acknowledged_are_staged(running.db, going, set())
        port = running.url.rpartition(":")[2]
        with collector(running.db, "--workers", "2", "--port", port, **PATIENT) as again:
            going.finish()
            assert_all_are_staged_once(running.db, going)
            stopped_under_load(again)


def stopped_under_load(running: Collector) -> None:
    """A stop finishes what has begun, and takes nothing more."""
    before = set(staged(running.db))
    with senders(running.url, 20 * REPORTS, retry=0, half_waits=True) as going:
        going.wait_for(SOME)
        assert running.stop() == (0, "")
    assert going.outcome is not None
    assert set(going.outcome.statuses) <= {200, 503}
    assert len(going.acknowledged) < 20 * REPORTS
    assert_acknowledged_are_staged(running.db, going, before)
