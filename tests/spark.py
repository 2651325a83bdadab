"""A Spark cluster of our own for tests and benchmarks: a standalone master and workers, on loopback.

Executors run a Python that finds numpy and pyarrow and nothing else, which is all that a cluster has to have.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.postgres import free_port

_PATIENCE = 60.0
_OF_A_CLUSTER = ("numpy", "numpy.libs", "pyarrow")
_JARS = (Path("/usr/share/java/postgresql.jar"), Path(sys.prefix) / "share/java/postgresql.jar")
_JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # starts soonest, with the fewest threads


@dataclass(frozen=True)
class Standalone:
    """A cluster that is running.

    Attributes:
        master: Its URL.
        folder: Holds everything that its processes write: work, local, logs.
        environment: What a program that uses it has to have in its environment.
        workers: The process of each worker.
    """

    master: str
    folder: Path
    environment: Mapping[str, str]
    workers: tuple[subprocess.Popen[bytes], ...]


def missing() -> str | None:
    """Why there can be no cluster here, if so."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed (make test does it)"
    if jdbc_jar() is None:
        return "PostgreSQL's JDBC driver is not there (make test brings it where apt-get is)"
    if subprocess.run(["which", "java"], capture_output=True, check=False).returncode:
        return "there is no Java"
    return None


def jdbc_jar() -> Path | None:
    """Where PostgreSQL's JDBC driver is."""
    return next((path for path in _JARS if path.is_file()), None)


@contextmanager
def standalone(*, workers: int = 2, executor_memory: str = "512m", **more: str) -> Iterator[Standalone]:
    """A new cluster, ended afterwards; each worker has one core and room for one executor.

    Args:
        workers: How many.
        executor_memory: Of each executor's JVM.
        more: What its processes have in their environment besides.
    """
    with TemporaryDirectory(prefix="metavox-spark-") as named, ExitStack() as stack:
        folder = Path(named)
        environment = {**_environment(folder, executor_memory), **more}
        master = f"spark://127.0.0.1:{free_port()}"
        port = master.rpartition(":")[2]
        _started(stack, folder, environment, "master", "Master", "--port", port)
        started = []
        for number in range(workers):
            words = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / "work" / str(number)), master)
            started.append(_started(stack, folder, environment, f"worker{number}", "Worker", *words))
        _wait(folder, workers)
        yield Standalone(master, folder, environment, tuple(started))


def _environment(folder: Path, executor_memory: str) -> dict[str, str]:
    conf = folder / "conf"
    conf.mkdir()
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": executor_memory,
        "spark.executor.extraJavaOptions": _JAVA,
        "spark.driver.extraJavaOptions": _JAVA,
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": (folder / "events").as_uri(),
    }
    (folder / "events").mkdir()
    (conf / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    return {
        **os.environ,
        "SPARK_CONF_DIR": str(conf),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": f"-Dspark.master.rest.enabled=false {_JAVA}",
        "PYSPARK_PYTHON": str(_python(folder)),
    }


def _python(folder: Path) -> Path:
    """A Python without what is installed beside pytest, our own packages above all."""
    packages = folder / "packages"
    packages.mkdir()
    installed = Path(str(importlib.util.find_spec("numpy").origin)).parent.parent
    for name in _OF_A_CLUSTER:
        if (installed / name).exists():
            (packages / name).symlink_to(installed / name)
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{packages}" exec {sys.executable} -S "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    return python


def _started(
    stack: ExitStack, folder: Path, environment: Mapping[str, str], name: str, kind: str, *words: str
) -> subprocess.Popen[bytes]:
    home = Path(str(importlib.util.find_spec("pyspark").origin)).parent
    command = [home / "bin/spark-class", f"org.apache.spark.deploy.{kind.lower()}.{kind}", "--host", "127.0.0.1"]
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen([*command, "--webui-port", "0", *words], env=environment, stdout=log, stderr=log)
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(folder: Path, workers: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (folder / "master.log").read_text().count("Registering worker") < workers:
        if time.monotonic() > deadline:
            logs = "".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
            raise RuntimeError(f"the cluster did not start: {logs}")
        time.sleep(0.1)
