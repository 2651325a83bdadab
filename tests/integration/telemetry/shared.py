"""Homes, people who agreed, and collectors of every temper: what the tests of the whole contribution share."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.journal.tally import Tally
from metavox_privacy.anonymize import anonymize
from metavox_privacy.automation import CI_VARIABLES
from metavox_privacy.consent import Answer
from metavox_privacy.notice import notice_hash
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span
from metavox_privacy.week import Week
from tests.spans import ATTRIBUTES, BOTH

ROOT = Path(__file__).parents[3]
AGREED = timedelta(days=24)
"""How long ago our people said yes: before the week whose report is due, which may have begun 21 days ago."""


def clean_environment(folder: Path, **more: str) -> dict[str, str]:
    """This process's environment without what decides about contributions, and with a home of its own."""
    dropped = {*CI_VARIABLES, "DO_NOT_TRACK"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in dropped and not name.startswith(("METAVOX_", "OTEL_", "XDG_"))
    }
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    own = {
        "HOME": str(folder),
        "XDG_CACHE_HOME": cache,  # where the engine's operations are compiled already
        "PYTHONDONTWRITEBYTECODE": "1",  # Python writes it beside the sources of an editable install
        "PYTHONPATH": path,
    }
    return {**kept, **own, **more}


def run(
    script: str, environment: dict[str, str], *arguments: str, warnings: str = "error", patience: float = 120
) -> subprocess.CompletedProcess[bytes]:
    """A Python program in a process of its own, without a terminal, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", warnings, "-c", script, *arguments],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, check=False,
    )  # fmt: skip


def home_of(folder: Path) -> Home:
    """The home that ``METAVOX_HOME`` names, without a system's policy."""
    return Home(folder, folder, folder / "no-policy.json")


def agree(home: Home, *, ago: timedelta = AGREED, purposes: frozenset[str] = BOTH) -> None:
    """Record a yes, some time ago."""
    since = datetime.now(timezone.utc) - ago
    home.record(Answer(purposes, since, notice_hash(SCHEMA), SCHEMA.version))  # type: ignore[arg-type]


def keep_a_due_report(home: Home, requests: int = 3) -> Week:
    """Count requests of a week that is over for so long that its report is due, whichever hour was drawn."""
    now = datetime.now(timezone.utc)
    week, tally = Week.of(now - timedelta(days=14)), Tally()
    moment = int((week.start + timedelta(hours=1)).timestamp()) * 10**9
    record = anonymize(Span("chat", moment, moment + 10**9, ATTRIBUTES), SCHEMA)
    assert record is not None
    for _ in range(requests):
        tally.add(record)
    Journal(home.journal_file, home.consent({}), SCHEMA, now).add(tally)
    return week


def requests_in(home: Home) -> int:
    """How many requests the journal counts, in all weeks."""
    if not home.journal_file.exists():
        return 0
    with contextlib.closing(sqlite3.connect(home.journal_file)) as sql:
        return int(sql.execute("SELECT coalesce(sum(requests), 0) FROM cells").fetchone()[0])


def report_in(home: Home, week: Week) -> tuple[int, str | None]:
    """How often a week's report was tried, and its outcome."""
    with contextlib.closing(sqlite3.connect(home.journal_file)) as sql:
        row = sql.execute("SELECT tries, outcome FROM reports WHERE week = ?", (str(week),)).fetchone()
    return int(row[0]), row[1]


def everything_in(folder: Path) -> dict[str, bytes | None]:
    """Every file with its bytes, every folder with None."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@dataclass
class Collector:
    """What listens on a port of this machine, and every byte that came.

    Attributes:
        url: Its address.
        heard: What each connection sent, whole.
    """

    url: str
    heard: list[bytes] = field(default_factory=list)


TEMPERS = ("healthy", "refusing", "hanging", "black hole", "503")
"""How a collector may be: it answers 200, is not there, takes and never answers, takes no connection, is busy."""


@contextlib.contextmanager
def collector(
    temper: str, status: bytes | None = None, certificate: ssl.SSLContext | None = None
) -> Iterator[Collector]:
    """A collector that is as it is.

    Args:
        temper: One of the tempers.
        status: Another answer than its temper's.
        certificate: With which it speaks TLS, as localhost.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        scheme = "http://127.0.0.1" if certificate is None else "https://localhost"
        made = Collector(f"{scheme}:{listening.getsockname()[1]}")
        if temper == "refusing":  # bound, so that nobody else gets the port, and not listening
            yield made
        elif temper == "black hole":
            with _full(listening):
                yield made
        else:
            answer = {"healthy": b"200 OK", "503": b"503 Away", "hanging": None}[temper]
            with _answering(listening, made, status or answer, certificate):
                yield made


@contextlib.contextmanager
def _full(listening: socket.socket) -> Iterator[None]:
    """Nobody accepts, and no more connections fit: Linux drops what asks for one."""
    listening.listen(0)
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            caller = stack.enter_context(socket.socket())
            caller.settimeout(0.3)
            try:
                caller.connect(listening.getsockname())
            except TimeoutError:
                break
        else:
            raise AssertionError("the backlog takes everything")
        yield


@contextlib.contextmanager
def _answering(
    listening: socket.socket, made: Collector, status: bytes | None, certificate: ssl.SSLContext | None
) -> Iterator[None]:
    listening.listen(64)
    ended = threading.Event()

    def serve() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            if ended.is_set():
                peer.close()
                return
            serve_one = functools.partial(_talk, peer, made, status, ended, certificate)
            threading.Thread(target=serve_one, daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(listening.getsockname(), timeout=5).close()
        thread.join()


def _talk(
    peer: socket.socket,
    made: Collector,
    status: bytes | None,
    ended: threading.Event,
    certificate: ssl.SSLContext | None,
) -> None:
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        stack.enter_context(peer)
        peer.settimeout(10)
        if certificate is not None:
            peer = stack.enter_context(certificate.wrap_socket(peer, server_side=True))
        heard = b""
        at = len(made.heard)
        made.heard.append(heard)
        while not _is_whole(heard) and (more := peer.recv(65536)):
            heard += more
            made.heard[at] = heard
        if status is None:
            ended.wait(30)
        else:
            peer.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def _is_whole(heard: bytes) -> bool:
    head, end, body = heard.partition(b"\r\n\r\n")
    if not end:
        return False
    lengths = [
        line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    return len(body) >= int(lengths[0]) if lengths else True
