"""Fold on a Spark cluster: its executors read slices of a week from PostgreSQL side by side and sum them.

Rows are in executors' memory alone. They are summed as they arrive, and nothing before that is cached, sorted or
shuffled by Spark; what it writes to disks is sums, encrypted with a key that is in memory alone.
"""

from __future__ import annotations

import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # it ships no types
from pyspark import SparkConf
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

import metavox_collector
import metavox_privacy
from metavox_collector.errors import FoldFailed, NotAllowed
from metavox_collector.fold.executor import COLUMN, merged, summing, unpack
from metavox_collector.fold.masters import require_reachable
from metavox_collector.fold.sums import Sums
from metavox_collector.settings import Settings
from metavox_collector.store import Transaction
from metavox_collector.store.jdbc import JdbcSource, jdbc_source, slices, staged_cells, staged_query
from metavox_privacy.fields import Scope
from metavox_privacy.week import Week

_READING = {
    "driver": "org.postgresql.Driver",
    "fetchsize": "10000",  # rows at a time, and no more of a slice than that in memory
    "prepareThreshold": "-1",  # bytes as they are, not as hexadecimal digits
    # By its key, as the collector itself reads: a sort would leave a copy of the week in temporary files.
    "options": "-c enable_sort=off -c default_transaction_read_only=on -c lock_timeout=10s",
    "ApplicationName": "metavox-collector close",
    "tcpKeepAlive": "true",
}
_DEFAULTS = {
    "spark.app.name": "metavox-collector close",
    "spark.io.encryption.enabled": "true",
    "spark.ui.enabled": "false",  # nobody needs to look in
    "spark.ui.showConsoleProgress": "false",
}
_LOG = """
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.shell.name = org.apache.spark.api.python.PythonGatewayServer
logger.shell.level = off
rootLogger.level = off
rootLogger.appenderRef.stderr.ref = stderr
"""
"""What fails is told in one line; ``spark.log.level`` among Spark's settings shows more."""
_OF_A_TASK = re.compile(r" executor [^)]*\): (.*)")
_OF_JAVA = re.compile(r"^: ([\w.]+: .*)", re.MULTILINE)
_NO_CELL = "what is staged "
_OF_PYTHON = re.compile(r"^(\w+(?:Error|Exception)): (.*)", re.MULTILINE)


@dataclass(frozen=True)
class Cluster:
    """A Spark cluster that can be given work, and where its executors find what is staged.

    Attributes:
        session: The connection to it.
        source: The database, as executors reach it.
        partitions: Into how many slices a week is cut.
        timeout_s: How long a fold may take, in seconds.
    """

    session: SparkSession
    source: JdbcSource
    partitions: int
    timeout_s: float

    def fold_week(self, transaction: Transaction, week: Week, scope: Scope) -> Sums:
        """The sums of a week, equal bit for bit to :func:`metavox_collector.fold.sql.fold_week`'s.

        Executors read over connections of their own, so what they are to see has to be committed, and kept as it
        is by the transaction.

        Raises:
            ValueError: if a row is no cell.
            FoldFailed: if the cluster did not do it in time, or has read other rows than the transaction counts.
        """
        staged = staged_cells(transaction, week)
        if not staged:
            return Sums(transaction.schema, transaction.packing, scope)
        with self._bounded(), _told(f"the Spark cluster did not sum {week}"):
            partial = self._rows(week).mapInArrow(summing(transaction.packing, scope), f"{COLUMN} binary")
            sums = unpack(partial.rdd.map(itemgetter(0)).treeReduce(merged))
        if sums.cells != staged:
            raise FoldFailed(
                f"Spark has read {sums.cells} rows and the database holds {staged}; does "
                "METAVOX_COLLECTOR_SPARK_DB name another database, or one that follows it late? Nothing was done"
            )
        return sums

    def _rows(self, week: Week) -> DataFrame:
        return self.session.read.jdbc(
            self.source.url,
            f"({staged_query(week)}) AS staged",
            predicates=[*slices(self.partitions)],
            properties={**_READING, **self.source.properties},
        )

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Give up after the time that a fold may take: Spark waits for ever for executors that never come."""
        late, done = threading.Event(), threading.Event()

        def give_up() -> None:
            patience = self.timeout_s
            while not done.wait(patience):
                late.set()
                self.session.sparkContext.cancelAllJobs()
                patience = 1  # what had not begun yet is cancelled then

        waiting = threading.Thread(target=give_up)
        waiting.start()
        try:
            yield
        except FoldFailed as error:
            raise (FoldFailed(_TOO_LONG.format(self.timeout_s)) if late.is_set() else error) from None
        finally:
            done.set()
            waiting.join()


_TOO_LONG = (
    "the Spark cluster was not done in {:g} s; has it cores and memory free, can its machines reach this one, and "
    "is METAVOX_COLLECTOR_SPARK_TIMEOUT_S enough? Nothing was done"
)


@contextmanager
def cluster(settings: Settings) -> Iterator[Cluster]:
    """Connect to a cluster; it has our code then, and is let go at the end.

    Raises:
        NotAllowed: if no master, no driver or no PostgreSQL is named.
        FoldFailed: if it cannot be reached, which is told in seconds, or does not let this machine in.
    """
    if settings.spark_master is None:
        raise NotAllowed("name the cluster: --spark-master spark://host:7077, or METAVOX_COLLECTOR_SPARK_MASTER")
    if not settings.spark_jdbc_jar.is_file():
        raise NotAllowed(
            f"{settings.spark_jdbc_jar}, PostgreSQL's driver for Java, is not there; apt-get install "
            "libpostgresql-jdbc-java, or set METAVOX_COLLECTOR_SPARK_JDBC_JAR to where it is"
        )
    if shutil.which("java") is None:
        raise NotAllowed("Spark needs Java 17 or newer on this machine; apt-get install openjdk-17-jre-headless")
    source = jdbc_source(settings.db, settings.spark_db)
    require_reachable(settings.spark_master)
    with TemporaryDirectory(prefix="metavox-close-") as folder:
        with _told(f"the Spark cluster at {settings.spark_master} does not let this machine in"):
            session = SparkSession.builder.config(conf=_conf(settings, Path(folder))).getOrCreate()
        try:
            session.sparkContext.addPyFile(str(_shipped(Path(folder))))
            yield Cluster(session, source, settings.spark_partitions, settings.spark_timeout_s)
        finally:
            session.stop()


def _conf(settings: Settings, folder: Path) -> SparkConf:
    log = folder / "log4j2.properties"
    log.write_text(_LOG, encoding="utf-8")
    given = dict(option.split("=", 1) for option in settings.spark_conf)
    ours = {
        "spark.master": str(settings.spark_master),
        "spark.jars": str(settings.spark_jdbc_jar.absolute()),
        "spark.driver.defaultJavaOptions": f"-Dlog4j2.configurationFile={log.as_uri()}",
    }
    return SparkConf().setAll([*{**_DEFAULTS, **ours, **given}.items()])


def _shipped(folder: Path) -> Path:
    """Our own packages as one file, from which Python imports."""
    shipped = folder / "metavox.zip"
    with zipfile.ZipFile(shipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in (metavox_collector, metavox_privacy):
            root = Path(str(package.__file__)).parent
            for path in sorted(root.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, path.relative_to(root.parent))
    return shipped


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn Spark's errors into ours.

    Raises:
        ValueError: as an executor raised it.
        FoldFailed: for all else.
    """
    try:
        yield
    except (PySparkException, Py4JError) as error:
        of_python = _OF_PYTHON.findall(str(error))
        if of_python and of_python[-1][1].startswith(_NO_CELL):
            raise ValueError(of_python[-1][1]) from None
        raise FoldFailed(f"{what}: {_reason(str(error))}; nothing was done") from None


def _reason(text: str) -> str:
    """What failed, in one line. No row is in it: executors are asked for no word of one, and Python's errors are of
    numbers only."""
    of_python = _OF_PYTHON.findall(text)
    if of_python:
        return ": ".join(of_python[-1])
    found = _OF_A_TASK.search(text) or _OF_JAVA.search(text)
    return found[1] if found else text.strip().splitlines()[0]
