"""Running the command line as somebody whose environment decides nothing, and a collector for them."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from typer.testing import CliRunner

from metavox.cli.verbs import app
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.others.detection import LIBRARIES
from metavox_privacy.anonymize import Record
from metavox_privacy.automation import CI_VARIABLES
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from metavox_privacy.wire import decode
from tests.unit.sdk.telemetry.shared import CHOICES, agree, record_of, tally_of

OF_OTHERS = [switch.variable for library in LIBRARIES for switch in (*library.off, *library.on)]
SILENT: dict[str, str | None] = dict.fromkeys((*CI_VARIABLES, *CHOICES, *OF_OTHERS))
LONG_AGO = datetime.now(timezone.utc) - timedelta(days=30)
LAST_WEEK = Week.of(datetime.now(timezone.utc) - timedelta(days=7))


def run(home: Path, *arguments: str, typed: str | None = None, **environment: str) -> Any:
    """One call of ``metavox``, with its files in ``home``; nothing is a terminal."""
    around = {**SILENT, "METAVOX_HOME": str(home), **environment}
    return CliRunner().invoke(app, arguments, input=typed, env=around)


def count_last_week(folder: Path) -> None:
    """A yes of last month, and a request of last week."""
    home = Home(folder, folder)
    agree(home, since=LONG_AGO)
    record = record_of()
    journal = Journal(home.journal_file, home.consent({}), SCHEMA, datetime.now(timezone.utc))
    journal.add(tally_of([Record(LAST_WEEK, record.cell, record.buckets)]))


class Collector(ThreadingHTTPServer):
    """A collector on the loopback, as far as a client sees one.

    Attributes:
        status: What it answers in place of doing anything; None while it works.
        held: The names of the reports that it has.
        asked: What it was asked for, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status: int | None = None
        self.held: set[str] = set()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def keep(self, content: bytes) -> int:
        """Take a request's reports."""
        reports = decode(ExportTraceServiceRequest.FromString(gzip.decompress(content)), SCHEMA)
        assert all(isinstance(report, Report) for report in reports)
        self.held |= {report.report_id for report in reports if isinstance(report, Report)}
        return 200

    def delete(self, token: str) -> int:
        """Delete what a token names."""
        name = hashlib.sha256(bytes.fromhex(token)).hexdigest()
        if name not in self.held:
            return 404
        self.held.remove(name)
        return 204


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(lambda: self.server.keep(content))

    def do_DELETE(self) -> None:
        self._answer(lambda: self.server.delete(self.path.removeprefix("/v1/reports/")))

    def _answer(self, do: Any) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(self.server.status or do())
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens meanwhile."""
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
