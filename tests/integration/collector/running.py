"""A collector as an operator runs it, senders that never rest, and what is staged in the end."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx

from metavox_collector.load.bodies import Encoding, Request, Template, requests, templates
from metavox_collector.load.connection import Target
from metavox_collector.load.outcome import Outcome
from metavox_collector.load.senders import Load, send
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.spans import WEEK
from tests.waiting import PATIENCE

OVER = "2026-12-03T00:00:00Z"
"""A moment at which the week of :data:`tests.spans.WEEK` is open."""

PROTOBUF = {"Content-Type": "application/x-protobuf"}
GZIPPED = {**PROTOBUF, "Content-Encoding": "gzip"}

PATIENT = {"METAVOX_COLLECTOR_BUSY_TIMEOUT_S": "20"}
"""For tests in which nobody may be told to come back: that the machine is busy is no fault."""

_QUICK = {"METAVOX_COLLECTOR_RETRY_AFTER_S": "1", "METAVOX_COLLECTOR_BUSY_TIMEOUT_S": "1"}
_CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("METAVOX_")}


@dataclass
class Collector:
    """One `metavox-collector serve` that said it is ready, and a client with a new connection for each request."""

    process: subprocess.Popen[str]
    url: str
    db: str
    client: httpx.Client

    @property
    def file(self) -> Path:
        """An SQLite database's."""
        return Path(self.db.removeprefix("sqlite:///"))

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        named = {**PROTOBUF, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.post("/v1/traces", content=body, headers=named)

    def delete(self, token: bytes) -> int:
        return self.client.delete(f"/v1/reports/{token.hex()}").status_code

    def workers(self) -> list[int]:
        """The processes that serve."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """End it; its exit status and what it wrote to stderr."""
        self.process.send_signal(how)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def collector(db: str, *words: str, now: str = OVER, **environment: str) -> Iterator[Collector]:
    """A sandbox's service, impatient with its database; ended afterwards if the test has not done so."""
    command = [sys.executable, "-c", "from metavox_collector.cli import main; main()", "serve"]
    process = subprocess.Popen(
        [*command, "--db", db, "--port", "0", "--sandbox", "--now", now, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_CLEAN | _QUICK | environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise AssertionError(process.communicate())
        url = line.split()[-1]
        none_kept = httpx.Limits(max_keepalive_connections=0)
        no_tls = ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT
        )  # the system's authorities, which http needs not, take 20 ms to read
        with httpx.Client(
            base_url=url, trust_env=False, verify=no_tls, timeout=PATIENCE, limits=none_kept
        ) as client:
            yield Collector(process, url, db, client)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


def get(url: str) -> httpx.Response:
    """Ask for it over a connection of its own."""
    return httpx.get(url, trust_env=False, timeout=PATIENCE)


@dataclass
class Senders:
    """Senders under way, each of which tries again what was not taken, as Retry-After says.

    Attributes:
        sent: Ids of all reports that were sent, or will be.
        acknowledged: Of those that were answered 200, so far.
    """

    sent: set[str]
    acknowledged: set[str] = field(default_factory=set)
    outcome: Outcome | None = None
    _thread: threading.Thread | None = None
    _progress: threading.Condition = field(default_factory=threading.Condition)
    _may_go_on: threading.Event = field(default_factory=threading.Event)

    def start(self, load: Load, bodies: list[Request]) -> None:
        def run() -> None:
            self.outcome = send(load, bodies)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def acknowledge(self, request: Request) -> None:
        with self._progress:
            self.acknowledged.update(request.reports)
            self._progress.notify_all()
        if 2 * len(self.acknowledged) >= len(self.sent):
            self._may_go_on.wait(PATIENCE)

    def wait_for(self, number: int) -> None:
        """Return when so many reports were acknowledged."""
        with self._progress:
            assert self._progress.wait_for(lambda: len(self.acknowledged) >= number, PATIENCE), self.outcome

    def go_on(self) -> None:
        """Wait no longer at the half, if they do."""
        self._may_go_on.set()

    def finish(self) -> Outcome:
        """Return when all are answered."""
        assert self._thread is not None
        self.go_on()
        self._thread.join(2 * PATIENCE)
        assert self.outcome is not None, "the senders were not answered"
        return self.outcome


@cache
def _templates(week: Week) -> list[Template]:
    return templates([week], SCHEMA, seed=1)


@contextmanager
def senders(
    url: str,
    reports: int,
    *,
    together: int = 1,
    connections: int = 8,
    retry: float = PATIENCE,
    week: Week = WEEK,
    half_waits: bool = False,
) -> Iterator[Senders]:
    """So many reports on their way; afterwards all are answered, or given up after ``retry`` seconds.

    With ``half_waits`` the second half is not sent before :meth:`Senders.go_on`, or the block's end: however fast
    the machine is, what happens before that happens to senders that are under way.
    """
    bodies = list(requests(_templates(week), reports, together=together, encoding=Encoding.gzip))
    going = Senders({name for body in bodies for name in body.reports})
    if not half_waits:
        going.go_on()
    load = Load(Target.parse(url, GZIPPED), connections, None, retry, going.acknowledge)
    going.start(load, bodies)
    try:
        yield going
    finally:
        going.finish()


def staged(db: str, week: Week = WEEK) -> Counter[str]:
    """How many cells are staged of each report; fails if a cell is staged twice."""
    database = Database.existing(db, SCHEMA)
    try:
        with database.read() as transaction:
            rows = [row for batch in transaction.staged_rows(week) for row in batch]
    finally:
        database.dispose()
    places = [(row.report_id.hex(), row.position) for row in rows]
    assert len(set(places)) == len(places)
    return Counter(name for name, _ in places)


def assert_all_are_staged_once(db: str, going: Senders) -> None:
    """All of their reports were acknowledged in the end, and are staged whole, once."""
    assert going.outcome is not None
    assert going.outcome.is_whole, going.outcome
    assert going.acknowledged == going.sent
    found = staged(db)
    assert {name: found[name] for name in going.sent} == dict.fromkeys(going.sent, SCHEMA.cells_per_report)
