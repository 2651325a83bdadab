"""The services that are measured, each started as its operator would: ours on two databases, Phoenix and MLflow."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from metavox_collector.load.bodies import Encoding, Request, requests, templates
from metavox_collector.load.connection import Target
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.bench.receivers.processes import kill_tree
from tests.bench.receivers.traces import traces

WEEK = Week(2026, 47)
NOW = "2026-12-03T00:00:00Z"
PEERS = Path(".venv/bench-peers/bin")
_PROTOBUF = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
_START_SECONDS = 120


@dataclass(frozen=True)
class Service:
    """One that runs.

    Attributes:
        pid: Of the process from which all others of the service descend.
        target: Where it takes spans.
        durable: How many spans are in its database, read from outside; also once it has been killed.
        database_pid: Of the database's server, where that is a process of its own.
    """

    pid: int
    target: Target
    durable: Callable[[], int]
    database_pid: int | None = None


@dataclass(frozen=True)
class Receiver:
    """One that can be started.

    Attributes:
        name: As the table shows it.
        start: Starts it with its data in a folder, and ends it at the end of the block.
        bodies: So many spans, in requests as its senders make them.
    """

    name: str
    start: Callable[[Path], contextmanager[Service]]
    bodies: Callable[[int], Iterator[Request]]


def reports(together: int) -> Callable[[int], Iterator[Request]]:
    """Bodies of so many reports each."""

    def made(spans: int) -> Iterator[Request]:
        number = -(-spans // SCHEMA.cells_per_report)
        return requests(templates([WEEK], SCHEMA, seed=1), number, together=together, encoding=Encoding.gzip)

    return made


def peers_traces(spans_of_a_trace: int) -> Callable[[int], Iterator[Request]]:
    """Bodies of 50 spans each."""

    def made(spans: int) -> Iterator[Request]:
        return traces(-(-spans // 50), spans_of_a_trace)

    return made


@contextmanager
def ours(url: str, workers: int, database_pid: int | None = None) -> Iterator[Service]:
    """``metavox-collector serve`` as it comes, but for a sandbox with a pretended time."""
    words = ["serve", "--db", url, "--sandbox", "--now", NOW, "--port", "0", "--workers", str(workers)]
    command = [sys.executable, "-m", "metavox_collector", *words]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("METAVOX_")}
    with running(command, clean, subprocess.PIPE) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1:]
        if not address:
            raise RuntimeError("the collector did not start; what it said stands above")
        yield Service(process.pid, Target.parse(address[0], _PROTOBUF), lambda: staged(url), database_pid)


def staged(url: str) -> int:
    """How many cells of the week are in a collector's database."""
    database = Database.existing(url, SCHEMA, busy_timeout=60)
    try:
        with database.read() as transaction:
            return sum(len(rows) for rows in transaction.staged_rows(WEEK))
    finally:
        database.dispose()


@contextmanager
def phoenix(folder: Path) -> Iterator[Service]:
    """Phoenix on SQLite, its default."""
    port = free_port()
    asked = {"PHOENIX_WORKING_DIR": str(folder), "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port)}
    more = {"PHOENIX_GRPC_PORT": str(free_port()), "PHOENIX_TELEMETRY_ENABLED": "false", "DO_NOT_TRACK": "1"}
    with running([str(PEERS / "phoenix"), "serve"], {**os.environ, **asked, **more}) as process:
        wait_for(f"http://127.0.0.1:{port}/healthz", process)
        target = Target.parse(f"http://127.0.0.1:{port}", _PROTOBUF)
        yield Service(process.pid, target, lambda: spans_in(folder / "phoenix.db"))


@contextmanager
def mlflow(folder: Path) -> Iterator[Service]:
    """MLflow's server on SQLite, with one worker as ours."""
    port, db = free_port(), folder / "mlflow.db"
    words = [
        "server",
        "--backend-store-uri",
        f"sqlite:///{db}",
        "--default-artifact-root",
        str(folder / "artifacts"),
    ]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with running([str(PEERS / "mlflow"), *words], {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}) as process:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        target = Target.parse(f"http://127.0.0.1:{port}", {**_PROTOBUF, "x-mlflow-experiment-id": "0"})
        yield Service(process.pid, target, lambda: spans_in(db))


@contextmanager
def running(
    command: list[str], environment: dict[str, str], out: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[str]]:
    """A process with all that it starts, which are killed at the end."""
    told = subprocess.DEVNULL if out == subprocess.DEVNULL else None  # peers write a line for each request
    process = subprocess.Popen(command, env=environment, stdout=out, stderr=told, text=True)
    try:
        yield process
    finally:
        kill_tree(process.pid)
        process.communicate()


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    """Until it answers 200."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{url} did not answer within {_START_SECONDS} s")


def spans_in(file: Path) -> int:
    """Rows of the table of spans of either peer."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as database:
        (number,) = database.execute("SELECT count(*) FROM spans").fetchone()
        return int(number)


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])
