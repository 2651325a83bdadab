"""A program that folds on a cluster in every way that the tests ask about, in one session, and prints what it saw.

PySpark leaves a JVM, signal handlers and import paths behind, so it is not for the process of the tests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pyspark import StorageLevel

from metavox_collector.close import close_week
from metavox_collector.errors import FoldFailed
from metavox_collector.fold import spark, sql
from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_collector.store.jdbc import jdbc_source
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from tests.bench.spark import digest
from tests.spans import example_report

_PATIENCE = 60


def main() -> None:
    """Argument: what :mod:`tests.integration.collector.test_spark` writes, as JSON."""
    given = json.loads(sys.argv[1])
    whole, altered, nobody = (Week.parse(given[name]) for name in ("week", "altered", "nobody"))
    folder, needles = Path(given["folder"]), [bytes.fromhex(one) for one in given["needles"]]
    settings = Settings(db=given["db"], spark_master=given["master"], spark_jdbc_jar=given["jar"], **given["more"])
    database = Database.existing(settings.db, SCHEMA)
    seen: dict[str, object] = {}
    with spark.cluster(settings) as cluster:
        with database.read() as transaction:
            first = cluster.fold_week(transaction, whole, "full")
            seen["on_disk"] = found(folder, needles)
            seen["written"] = sum(path.stat().st_size for path in (folder / "local").rglob("shuffle_*.data"))
            seen["password"] = found(folder, [given["password"].encode()]) + commands_with(given["password"])
            seen["sql"], seen["spark"] = digest(sql.fold_week(transaction, whole, "full")), digest(first)
            seen["coarse"] = digest(cluster.fold_week(transaction, whole, "coarse"))
            seen["sql_coarse"] = digest(sql.fold_week(transaction, whole, "coarse"))
            seen["nobody"] = cluster.fold_week(transaction, nobody, "full").reports
            seen["altered"] = failure(lambda: cluster.fold_week(transaction, altered, "full"))
            with frozen(executors(given["workers"])):
                seen["late"] = failure(lambda: replace(cluster, timeout_s=1).fold_week(transaction, whole, "full"))
            with suppress(Undone), database.staging([whole]) as uncommitted:
                uncommitted.add_reports([replace(example_report(), week=whole)])
                seen["uncommitted"] = failure(lambda: cluster.fold_week(uncommitted, whole, "full"))
                raise Undone
            with one_dies_in_the_midst(cluster, executors(given["workers"])):
                seen["after_a_death"] = digest(cluster.fold_week(transaction, whole, "full"))
            cluster._rows(whole).persist(StorageLevel.DISK_ONLY).count()
            seen["on_disk_when_cached"] = found(folder, needles)
        reader = replace(cluster, source=jdbc_source(settings.db, given["reader"]))
        closed = close_week(database, whole, settings, now=whole.end + settings.grace, fold=reader.fold_week)
        seen["released"] = {one.purpose: len(one.tables[0].cells) for one in closed.releases}
    database.dispose()
    print(json.dumps(seen))


class Undone(Exception):
    """So that a transaction leaves nothing."""


def failure(what: Callable[[], object]) -> str:
    """The error that it raises, by name and words."""
    try:
        what()
    except (FoldFailed, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def found(folder: Path, needles: list[bytes]) -> list[str]:
    """The files under a folder that hold one of them."""
    return [str(path) for path in folder.rglob("*") if any(needle in _bytes_of(path) for needle in needles)]


def _bytes_of(path: Path) -> bytes:
    """What is in a file; nothing is in a folder, or in one that Spark has just removed."""
    with suppress(FileNotFoundError, IsADirectoryError):
        return path.read_bytes()
    return b""


def commands_with(word: str) -> list[str]:
    """The command lines on this machine that hold a word, but for this program's own, which had to be told."""
    lines = {path.parent.name: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
    return [name for name, line in lines.items() if word.encode() in line and int(name) != os.getpid()]


@contextmanager
def frozen(processes: list[int]) -> Iterator[None]:
    """Let processes stand still meanwhile."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


@contextmanager
def one_dies_in_the_midst(cluster: spark.Cluster, processes: list[int]) -> Iterator[None]:
    """Kill the first of the executors while each has work that it has not done, and let the others go on."""
    tracker = cluster.session.sparkContext.statusTracker()

    def is_at_work() -> bool:
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        return sum(stage.numActiveTasks for stage in stages if stage) == len(processes)

    def kill() -> None:
        deadline = time.monotonic() + _PATIENCE
        while not is_at_work() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(processes[0], signal.SIGKILL)
        for process in processes[1:]:
            os.kill(process, signal.SIGCONT)

    with frozen(processes):
        killing = threading.Thread(target=kill)
        killing.start()
        yield
        killing.join()


def executors(workers: list[int]) -> list[int]:
    """The executors' processes; raises ValueError if there is not one for each worker."""
    lists = [path for worker in workers for path in Path(f"/proc/{worker}/task").glob("*/children")]
    children = [int(child) for path in lists for child in path.read_text().split()]
    found = [child for child in children if b"ExecutorBackend" in Path(f"/proc/{child}/cmdline").read_bytes()]
    if len(found) != len(workers):
        raise ValueError(f"{len(found)} executors of {len(workers)} workers")
    return found


if __name__ == "__main__":
    main()
