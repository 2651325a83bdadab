"""The figures of a run beside what they have to be, and the tables of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.receivers.runs import Run

SQLITE = ("MetaVox, SQLite, 1 report a request", "MetaVox, SQLite, 12 reports a request")
POSTGRESQL = (
    "MetaVox, PostgreSQL, 2 workers, 1 report a request",
    "MetaVox, PostgreSQL, 2 workers, 12 reports a request",
)
PEERS = (
    "Phoenix, SQLite, traces of 4 spans",
    "Phoenix, SQLite, a trace of 50 spans",
    "MLflow, SQLite, traces of 4 spans",
    "MLflow, SQLite, a trace of 50 spans",
)


@dataclass(frozen=True)
class Figure:
    """One claim.

    Attributes:
        name: What was measured.
        value: The figure.
        target: What it has to be.
        at_least: Whether it may be more than the target, and not less; else the other way round.
    """

    name: str
    value: float
    target: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it is what it has to be."""
        return self.value >= self.target if self.at_least else self.value <= self.target


def figures(runs: Mapping[str, Run], soaked: Mapping[str, Any] | None) -> Iterator[Figure]:
    """Each target of what was measured."""
    fastest = max((runs[name].per_second for name in PEERS if name in runs), default=None)
    for name, run in runs.items():
        if name in SQLITE:
            yield Figure(f"{name}: durable spans/s", run.per_second, 10_000, at_least=True)
            yield Figure(f"{name}: CPU-s per 1,000 spans", run.cpu, 0.1)
            yield Figure(f"{name}: p99, ms", run.answers["latency_ms"]["p99"], 100)
            if fastest is not None:
                yield Figure(f"{name}: times the faster peer", run.per_second / fastest, 30, at_least=True)
        if name not in PEERS:
            yield Figure(f"{name}: acknowledged and lost at kill -9", run.lost, 0)
    for one, other in zip(SQLITE, POSTGRESQL, strict=True):
        if one in runs and other in runs:
            yield Figure(f"{other}: times slower than SQLite", runs[one].per_second / runs[other].per_second, 1.5)
    if soaked is not None:
        yield Figure("memory of the soak, MB", soaked["most_bytes"] / 1e6, 150)
        yield Figure("growth of it from the second fifth to the last, MB", soaked["growth_bytes"] / 1e6, 10)


def print_runs(console: Console, runs: Sequence[Run]) -> None:
    """What each receiver did."""
    heads = ("", "durable spans/s", "CPU-s per 1,000", "of the database", "p50 ms", "p99 ms", "lost at kill -9")
    table = Table(*heads)
    for run in runs:
        took = run.answers["latency_ms"]
        beside = "" if run.database_cpu is None else f"{run.database_cpu:.3f}"
        lost = f"{run.lost:,} of {run.acknowledged:,}"
        table.add_row(
            run.name,
            f"{run.per_second:,.0f}",
            f"{run.cpu:.3f}",
            beside,
            f"{took['p50']:g}",
            f"{took['p99']:g}",
            lost,
        )
    console.print(table)


def print_figures(console: Console, found: Sequence[Figure]) -> None:
    """Each claim with its target."""
    table = Table("", "is", "has to be", "")
    for one in found:
        target = f"{'≥' if one.at_least else '≤'} {one.target:,g}"
        table.add_row(one.name, f"{one.value:,.4g}", target, "" if one.is_met else "missed")
    console.print(table)
