"""What a close costs: seconds, memory, and for how long senders wait, by the number of reports and the database.

``make bench-close`` stages reports of four cells, closes their week in a process of its own as an operator does,
and holds the largest week to the limits: 5 minutes and 512 MB for a million reports, at a cost for each report that
does not grow. One more week has all keys of the key space in it, which is the most that the sums can take. It
prints a table and writes ``out/closing.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from metavox_collector.close import close_week
from metavox_collector.fold.sql import fold_week
from metavox_collector.fold.sums import Sums
from metavox_collector.settings import Settings
from metavox_collector.store import Database, Transaction
from metavox_collector.store.rows import StagedRow, week_number
from metavox_collector.store.staged import staging
from metavox_privacy.fields import Scope
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.bench import staged_week
from tests.postgres import server

WEEK = Week(2026, 47)
SIZES = (10_000, 100_000, 1_000_000)
MOST_SECONDS = 300
MOST_MEGABYTES = 512
AT_A_TIME = 1000


def main() -> None:
    """Measure, print, write; exit status 1 when a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, nargs="+", default=SIZES)
    parser.add_argument(
        "--databases", nargs="+", choices=("sqlite", "postgresql"), default=("sqlite", "postgresql")
    )
    parser.add_argument("--everywhere", action="store_true", help="only the week that has every key")
    parser.add_argument("--out", type=Path, default=Path("out/closing.json"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(closed(arguments.child)))
        return
    weeks = [] if arguments.everywhere else [("habits", number) for number in sorted(arguments.reports)]
    results = [
        {"database": kind, "week": week, "reports": number, **measured(kind, week, number)}
        for kind in arguments.databases
        for week, number in [*weeks, ("everywhere", max(arguments.reports))]
    ]
    show(results)
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps({"cpus": os.cpu_count(), "closes": results}, indent=1))
    passed = [one for one in results if one["seconds"] > MOST_SECONDS or one["megabytes"] > MOST_MEGABYTES]
    sys.exit(1 if passed else 0)


def measured(kind: str, week: str, number: int) -> dict[str, Any]:
    """Stage a week in a new database and close it in a process of its own."""
    of = staged_week.habits(SCHEMA)
    rows = staged_week.rows(number, of) if week == "habits" else staged_week.everywhere(number, of, SCHEMA)
    with new_database(kind) as url:
        began = time.monotonic()
        stage(url, rows)
        staged = time.monotonic() - began
        command = [sys.executable, "-m", "tests.bench.closing", "--child", url]
        child = subprocess.run(command, check=True, capture_output=True, text=True)
    result = {"staged_in": staged, **json.loads(child.stdout)}
    print(f"{kind}, {week}, {number:,} reports: {json.dumps(result)}", file=sys.stderr)
    return result


def closed(url: str) -> dict[str, Any]:
    """Close the week; what it cost this process.

    Returns:
        ``seconds`` in all and for the ``fold`` alone, seconds of a processor as ``cpu``, the most memory that was
        resident as ``megabytes``, and how many performance cells each release has, as ``published``.
    """
    spans = {}

    def fold(transaction: Transaction, week: Week, scope: Scope) -> Sums:
        began = time.monotonic()
        sums = fold_week(transaction, week, scope)
        spans["fold"] = time.monotonic() - began
        return sums

    database = Database.existing(url, SCHEMA)
    began = time.monotonic()
    settings = Settings(db=url, scope="full")  # which takes longer
    found = close_week(database, WEEK, settings, now=WEEK.end + settings.grace, fold=fold)
    spans["seconds"] = time.monotonic() - began
    database.dispose()
    assert found.scrubbed
    return {
        **spans,
        "cpu": time.process_time(),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "published": [len(release.tables[0].cells) for release in found.releases],
    }


@contextmanager
def new_database(kind: str) -> Iterator[str]:
    """The URL of a collector's database with nothing in it; on PostgreSQL as durable as an operator's."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield made(f"sqlite:///{folder}/collector.db")
        else:
            with server(durable=True) as started:
                yield made(started.new_database())


def made(url: str) -> str:
    """The same URL, once the database is there."""
    Database.create(url, SCHEMA, sandbox=False, yearly_cap=Settings().yearly_cap_nano_rho).dispose()
    return url


def stage(url: str, reports: Iterable[list[StagedRow]]) -> None:
    """Store reports as the service does, a thousand in a transaction."""
    database, remaining = Database.existing(url, SCHEMA), iter(reports)
    while group := list(itertools.islice(remaining, AT_A_TIME)):
        with database.staging([WEEK]) as transaction:
            connection = transaction.connection
            staging(connection).add(connection, week_number(WEEK), {rows[0].report_id: rows for rows in group})
    database.dispose()


def show(results: list[dict[str, Any]]) -> None:
    """Print what was measured."""
    table = Table("database", "week", "reports", "seconds", "of these the fold", "s / 100,000", "MB", "published")
    for one in results:
        table.add_row(
            one["database"],
            one["week"],
            f"{one['reports']:,}",
            f"{one['seconds']:.1f}",
            f"{one['fold']:.1f}",
            f"{one['seconds'] / one['reports'] * 1e5:.2f}",
            f"{one['megabytes']:.0f}",
            " + ".join(map(str, one["published"])),
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
