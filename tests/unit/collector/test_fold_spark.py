from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from metavox_collector import settings
from metavox_collector.cli.verbs import app_for
from metavox_collector.errors import FoldFailed, NotAllowed, TooEarly
from metavox_collector.fold.sql import fold_week
from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA

spark = pytest.importorskip("metavox_collector.fold.spark", exc_type=ImportError)

URL = "postgresql://metavox@db.example/metavox"


def connected(**given: object) -> None:
    with spark.cluster(Settings(**given)):
        pass


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    path = tmp_path / "postgresql.jar"
    path.touch()
    return path


def test_without_a_master_it_is_said_how_to_name_one(jar):
    with pytest.raises(NotAllowed, match="--spark-master spark://host:7077"):
        connected(db=URL, spark_jdbc_jar=jar)


def test_without_the_driver_it_is_said_where_it_comes_from(tmp_path):
    with pytest.raises(NotAllowed, match="libpostgresql-jdbc-java"):
        connected(db=URL, spark_master="spark://host:7077", spark_jdbc_jar=tmp_path / "none.jar")


def test_without_java_it_is_said_what_to_install(jar, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(NotAllowed, match="Java 17"):
        connected(db=URL, spark_master="spark://host:7077", spark_jdbc_jar=jar)


def test_a_cluster_that_is_not_there_is_told_before_a_jvm_is_started(tmp_path, jar, monkeypatch):
    java, begun = tmp_path / "java", tmp_path / "begun"
    java.write_text(f"#!/bin/sh\n: > {begun}\nexit 1\n", encoding="utf-8")
    java.chmod(0o700)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(
            FoldFailed, match=f"{master} cannot be reached: .* Connection refused.* Nothing was done"
        ):
            connected(db=URL, spark_master=master, spark_jdbc_jar=jar)
    assert not begun.exists()


def test_sqlite_is_refused_before_anything_starts(jar):
    with pytest.raises(NotAllowed, match="--engine sql"):
        connected(db="sqlite:///collector.db", spark_master="spark://host:7077", spark_jdbc_jar=jar)


def test_without_pyspark_the_extra_is_named(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/collector.db"
    monkeypatch.setenv("METAVOX_COLLECTOR_DB", url)
    cap = Settings().yearly_cap_nano_rho
    Database.create(url, SCHEMA, sandbox=False, yearly_cap=cap).dispose()
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.delitem(sys.modules, "metavox_collector.fold.spark")
    monkeypatch.delattr("metavox_collector.fold.spark")
    result = CliRunner().invoke(app_for(), ["close", "--week", "2026-W40", "--engine", "spark"])
    assert isinstance(result.exception, NotAllowed)
    assert str(result.exception) == 'pyspark is not installed. Run: pip install "metavox[collector,spark]"'


def test_the_command_line_opens_the_cluster_that_it_names_and_lets_it_go(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/collector.db"
    Database.create(url, SCHEMA, sandbox=False, yearly_cap=Settings().yearly_cap_nano_rho).dispose()
    opened: list[object] = []

    @contextmanager
    def cluster(chosen: Settings) -> Iterator[SimpleNamespace]:
        opened.append((chosen.spark_master, chosen.spark_conf))
        try:
            yield SimpleNamespace(fold_week=fold_week)
        finally:
            opened.append("let go")

    monkeypatch.setattr(spark, "cluster", cluster)
    words = ["close", "--week", "2190-W01", "--db", url, "--engine", "spark", "--spark-master", "spark://host:7077"]
    result = CliRunner().invoke(app_for(), [*words, "--spark-conf", "spark.a=1", "--spark-conf", "spark.b=2"])
    assert isinstance(result.exception, TooEarly)
    assert opened == [("spark://host:7077", ("spark.a=1", "spark.b=2")), "let go"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("executor.memory=2g", "spark.executor.memory=2g"),
        ("spark.executor.memory", "spark.executor.memory=2g"),
        ("spark.authenticate.secret=x", "spark-defaults.conf"),
        ("spark.hadoop.fs.s3a.access.key=x", "spark-defaults.conf"),
        ("spark.ssl.keyPassword=x", "spark-defaults.conf"),
        ("spark.master=local", "spark_master"),
        ("spark.pyspark.python=python3", "PYSPARK_PYTHON"),
    ],
)
def test_an_option_of_spark_that_cannot_be_given_so_is_refused(option, said):
    with pytest.raises(NotAllowed, match=said):
        settings.load(spark_conf=[option])


def test_a_password_in_the_url_for_spark_is_hidden_where_the_configuration_is_shown():
    shown = settings.explain(spark_db="postgresql://fold:se-cret@db.example/metavox").as_toml()
    assert "se-cret" not in shown
    assert "postgresql://fold:***@db.example/metavox" in shown


def test_what_spark_writes_is_encrypted_and_its_pages_are_off_unless_somebody_says_otherwise(tmp_path, jar):
    def of(**given: object) -> dict[str, str]:
        chosen = Settings(spark_master="spark://host:7077", spark_jdbc_jar=jar, **given)
        return dict(spark._conf(chosen, tmp_path).getAll())

    assert (of()["spark.io.encryption.enabled"], of()["spark.ui.enabled"]) == ("true", "false")
    assert of(spark_conf=("spark.ui.enabled=true",))["spark.ui.enabled"] == "true"


def test_a_reason_is_one_line():
    of_a_task = (
        "Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, most recent failure: Lost "
        "task 0.3 in stage 0.0 (TID 3) (10.0.0.7 executor 0): "
        "org.postgresql.util.PSQLException: Connection refused.\n\tat a.b"
    )
    of_python = "An exception:\nTraceback (most recent call last):\nModuleNotFoundError: No module named 'a'\n"
    assert spark._reason(of_a_task) == "org.postgresql.util.PSQLException: Connection refused."
    assert spark._reason(of_python) == "ModuleNotFoundError: No module named 'a'"
    of_java = "An error occurred while calling None.a.\n: java.lang.IllegalStateException: stopped\n\tat a.b"
    assert spark._reason(of_java) == "java.lang.IllegalStateException: stopped"
    assert spark._reason("all masters are away\nat a.b(C:1)") == "all masters are away"
