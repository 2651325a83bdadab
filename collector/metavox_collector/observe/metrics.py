"""Counts and times for Prometheus. A label is one of a closed set of our own words; none comes from a sender."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The environment's name for the directory in which several workers keep their numbers together."""

_PREFIX = "metavox_collector"
_Together: TypeAlias = Literal["livesum", "livemax", "max"]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Metrics:
    """The numbers of one process, or of all workers when they share a directory."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests answered.", ["route", "code"])
        self._accepted = self._counter("spans_accepted", "Spans that are committed, now or before.")
        self._rejected = self._counter("spans_rejected", "Spans that were not taken, by reason.", ["reason"])
        self._throttled = self._counter("throttled", "Requests that were told to wait, by reason.", ["reason"])
        self._deletions = self._counter("deletions", "Reports deleted for those who sent them.")
        self._errors = self._counter("database_errors", "Times the database could not be used, by kind.", ["kind"])
        self._seconds = self._histogram("commit_seconds", "How long a group's transaction took.", _SECONDS)
        self._sizes = self._histogram("commit_reports", "Reports committed together.", _SIZES)
        self._waiting = self._gauge("reports_waiting", "Reports that wait for a commit.", "livesum")
        self._bytes = self._gauge("body_bytes", "Bytes of bodies that are held.", "livesum")
        self._now_waiting = self._now_held = 0
        self._expired_at = self._gauge("housekeeping_time_seconds", "When housekeeping last succeeded.", "max")
        self._build = self._gauge("build_info", "1 for each version that runs.", "livemax", ["version", "schema"])

    def is_built(self, version: str, schema: int) -> None:
        """Say which software runs."""
        self._build.labels(version, schema).set(1)

    def answered(self, route: str, code: int) -> None:
        """A request was answered."""
        self._requests.labels(route, code).inc()

    def staged(self, accepted: int, rejected: Iterable[tuple[str, int]]) -> None:
        """What came of a request's spans: how many were taken, and the others by reason."""
        if accepted:
            self._accepted.inc(accepted)
        for reason, spans in rejected:
            self._rejected.labels(reason).inc(spans)

    def throttled(self, reason: str) -> None:
        """Somebody was told to wait."""
        self._throttled.labels(reason).inc()

    def deleted(self) -> None:
        """A report was deleted."""
        self._deletions.inc()

    def database_failed(self, kind: str) -> None:
        """The database could not be used."""
        self._errors.labels(kind).inc()

    def waiting(self, reports: int) -> None:
        """So many reports wait for a commit now."""
        self._now_waiting = reports

    def holds(self, size: int) -> None:
        """So many bytes of bodies are held now."""
        self._now_held = size

    def sample(self) -> None:
        """Show what waits and what is held now: each changes twice a request, which costs more than it tells."""
        self._waiting.set(self._now_waiting)
        self._bytes.set(self._now_held)

    def kept_house(self) -> None:
        """Housekeeping has done all that was due."""
        self._expired_at.set(time.time())

    @contextmanager
    def group(self, reports: int) -> Iterator[None]:
        """The commit of a group of reports, timed."""
        began = time.perf_counter()
        yield
        self._seconds.observe(time.perf_counter() - began)
        self._sizes.observe(reports)

    def text(self) -> bytes:
        """Everything, of all workers, in Prometheus' text format."""
        self.sample()
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # theirs
        return generate_latest(together)

    def _counter(self, name: str, what: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"{_PREFIX}_{name}", what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", what, registry=self._registry, buckets=buckets)

    def _gauge(self, name: str, what: str, together: _Together, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", what, labels, registry=self._registry, multiprocess_mode=together)
