"""The sums of a million reports of four cells: on a Spark cluster of two workers beside SQL, bit for bit the same.

``make bench-spark`` stages a week in PostgreSQL and folds it both ways in the same run. On one machine, as here, a
cluster shares processors with the database and pays for its start and for what it sends; it is for more machines
than one. It prints a table and writes ``out/spark.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metavox_collector.fold import spark, sql
from metavox_collector.fold.sums import Sums
from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_privacy.fields import PURPOSES
from metavox_privacy.schema import SCHEMA
from tests.bench import staged_week
from tests.bench.closing import WEEK, new_database, stage
from tests.spark import jdbc_jar, missing, standalone


def main() -> None:
    """Measure, print, write; exit status 1 when the sums differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("out/spark.json"))
    arguments = parser.parse_args()
    if why := missing():
        sys.exit(f"there is no cluster to measure: {why}")
    seconds, alike = measured(arguments.reports)
    show(seconds)
    result = {"cpus": os.cpu_count(), "reports": arguments.reports, "alike": alike, "seconds": seconds}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1))
    sys.exit(None if alike else "the sums differ")


def measured(reports: int) -> tuple[dict[str, float], bool]:
    """Fold a new week both ways; the seconds of each step, and whether the sums are the same."""
    seconds: dict[str, float] = {}
    with new_database("postgresql") as url:
        with told(seconds, "staging"):
            stage(url, staged_week.rows(reports, staged_week.habits(SCHEMA)))
        database = Database.existing(url, SCHEMA)
        with database.closing(WEEK) as transaction:
            with told(seconds, "the fold in SQL"):
                in_sql = sql.fold_week(transaction, WEEK, "full")
            with standalone() as workers:
                os.environ.update(workers.environment)  # which PySpark reads
                settings = Settings(db=url, spark_master=workers.master, spark_jdbc_jar=jdbc_jar())
                with ExitStack() as stack:
                    with told(seconds, "connecting to the cluster"):
                        cluster = stack.enter_context(spark.cluster(settings))
                    with told(seconds, "the fold on Spark"):
                        on_spark = cluster.fold_week(transaction, WEEK, "full")
        database.dispose()
    return seconds, digest(in_sql) == digest(on_spark)


@contextmanager
def told(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Note how long the block takes."""
    began = time.monotonic()
    yield
    seconds[what] = time.monotonic() - began
    print(f"{what}: {seconds[what]:.1f} s", file=sys.stderr)


def digest(sums: Sums) -> str:
    """A hash of all numbers in the sums."""
    found = hashlib.sha256(json.dumps((sums.reports, sums.cells, sums.synthetic)).encode())
    for purpose in PURPOSES:
        for name, table in sums.tables(purpose).items():
            for key in sorted(table):
                cell = table[key]
                line = (purpose, name, key, cell.contributors, sorted(cell.histograms.items()))
                found.update(json.dumps(line).encode())
    return found.hexdigest()


def show(seconds: dict[str, float]) -> None:
    """Print what was measured."""
    table = Table("step", "seconds")
    for what, took in seconds.items():
        table.add_row(what, f"{took:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
