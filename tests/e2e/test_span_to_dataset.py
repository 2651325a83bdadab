"""One real request's whole way to a row of the released dataset, and what does not travel with it."""

from __future__ import annotations

import getpass
import gzip
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metavox import LLM, SamplingParams
from metavox.telemetry.contribution import Contribution, records
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.question.ask import answer
from metavox.telemetry.recorder import Recorder
from metavox.telemetry.upload import uploader, weekly
from metavox_collector.proof import keys
from metavox_privacy.fields import OTHER, PURPOSES
from metavox_privacy.report import count, make_report
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from metavox_privacy.wire import encode
from tests.unit.collector import packs
from tests.unit.sdk.cli.shared import run as run_verb

PROMPT = "The passport number of Ada Quillfeather is 4711-QX and"
PROJECT = "quillfeather-secret-project"
USER = "ada-quillfeather"
HOST = "adas-quillfeather-laptop"
CROWD = 150
NANO_RHO = 600_000_000


@pytest.fixture
def person(tmp_path, monkeypatch) -> list[str]:
    """Whose machine this is, as any code in these processes would learn it, and the names that tell who.

    The names are given, not the machine's own: a host called ``vm`` occurs in any Parquet file by chance.
    """
    folder = tmp_path / "home-of-quillfeather"
    folder.mkdir()
    for variable in ("USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.setenv(variable, USER)
    monkeypatch.setenv("HOSTNAME", HOST)
    monkeypatch.setenv("HOME", str(folder))
    system = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((system.sysname, HOST, *system[2:])))
    monkeypatch.setattr(platform, "node", lambda: HOST)
    for name in ("gethostname", "getfqdn"):
        monkeypatch.setattr(socket, name, lambda *_: HOST)
    names = [getpass.getuser(), socket.gethostname(), str(Path.home())]
    assert names == [USER, HOST, str(folder)]
    return names


@pytest.fixture
def collector(tmp_path, person):
    """A real collector process in a sandbox, and a function that runs its other commands."""
    database = tmp_path / "collector" / "collector.db"
    database.parent.mkdir()
    environment = {
        **os.environ,
        "METAVOX_COLLECTOR_DB": f"sqlite:///{database}",
        "METAVOX_COLLECTOR_PUBLISH_NANO_RHO": str(NANO_RHO),
        "METAVOX_COLLECTOR_IMPROVE_NANO_RHO": "1000000",
        "METAVOX_COLLECTOR_SCOPE": "full",  # which a fleet's first release is not by itself
    }
    week = Week.of(datetime.now(timezone.utc))
    now = (week.end + timedelta(days=11)).isoformat()
    command = [sys.executable, "-m", "metavox_collector"]
    log = tmp_path / "collector" / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "serve", "--sandbox", "--port", "0", "--now", now],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    url = process.stdout.readline().split()[-1]

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments], env=environment, check=True, capture_output=True, text=True
        ).stdout

    yield url, database, week, now, run
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()
    assert log.read_bytes() == b""


@pytest.fixture
def exporter(monkeypatch):
    """The user's own OpenTelemetry, which may see everything but text."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The public function sets it once for the process, in which other tests show what happens where nobody traces.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def generate(model, home: Home):
    """Run a private prompt on a model; returns the output and the spans it made."""
    llm = LLM(model)
    spans = []
    contribution = Contribution.from_environment({}, home)
    recorder = Recorder(llm.info, contribution)
    llm.recorder = recorder
    deliver = recorder.finished
    recorder.finished = lambda batch: spans.extend(deliver(batch))
    output = llm.generate(PROMPT, SamplingParams(max_tokens=24, temperature=0.8, seed=1))
    contribution.flush()
    return output, spans


def all_bytes(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_real_request_becomes_a_released_row_and_nothing_private_goes_along(
    tmp_path, person, collector, exporter
):
    url, database, week, now, run = collector
    private_model = tmp_path / PROJECT / "model"
    shutil.copytree(str(files("metavox") / "tiny"), private_model)
    home = Home(tmp_path / "home", tmp_path / "home", policy=tmp_path / "no-policy")
    home.record(answer(frozenset(PURPOSES), SCHEMA, datetime.now(timezone.utc)))
    consent = home.consent({})

    # span -> gate -> anonymize -> journal, twice: a public model, and one from a private folder
    output, spans = generate("metavox/tiny", home)
    private_output, private_spans = generate(str(private_model), home)
    exported = exporter.get_finished_spans()
    assert [span.attributes["gen_ai.request.model"] for span in exported] == ["metavox/tiny", str(private_model)]
    journal_bytes = all_bytes(home.state)

    # journal -> report -> wire -> collector
    later = datetime.fromisoformat(now)
    journal = Journal(home.journal_file, consent, SCHEMA, later)
    (preview,) = weekly.preview(journal, consent, SCHEMA, later)
    wire = []

    def send(body, address):
        wire.append(body)
        return uploader.send(body, address)

    ((_, outcome),) = weekly.upload(
        journal, consent, SCHEMA, later, url, decide=lambda: consent, send=send, force=True
    )
    assert outcome == uploader.Sent()
    assert wire == [preview.body]
    staged_bytes = all_bytes(database.parent)
    assert report_ids(database) == {report_id(preview.body)}

    # a crowd with the same device and models, so that the cell may be published at all
    found = records([*spans, *private_spans], consent, SCHEMA)
    reports = [
        make_report(
            count(found, week, SCHEMA), SCHEMA, token=bytes([1, i]), purposes=consent.purposes, synthetic=True
        )
        for i in range(CROWD)
    ]
    response = httpx.post(
        f"{url}/v1/traces",
        content=gzip.compress(encode(reports, SCHEMA)),
        headers={"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
    )
    assert response.status_code == 200
    assert len(report_ids(database)) == CROWD + 1

    # close -> release -> dataset
    run("close", "--week", str(week), "--now", now)
    assert report_ids(database) == set()
    reports = packs.options(f"sqlite:///{database}", week, tmp_path)[:4]
    run("keys", "generate", "--out", str(tmp_path / "keys"))
    signing, public = (str(tmp_path / "keys" / name) for name in (keys.PRIVATE_NAME, keys.PUBLIC_NAME))
    released = ("release", "--week", str(week), "--out", str(tmp_path / "dataset"), "--now", now)
    run(*released, *reports, "--key", signing)
    (performance,) = (tmp_path / "dataset").glob("*/data/performance.parquet")
    run("verify", str(performance.parents[1]), "--public-key", public)
    rows = pq.read_table(performance).to_pylist()
    cell = found[0].cell
    key = {name: cell[SCHEMA.position[name]] for name in SCHEMA.tables[0].dimensions}
    mine = {row["metric"]: row for row in rows if all(row[name] == word for name, word in key.items())}
    assert key["model"] == "metavox/tiny"
    assert set(mine) == set(SCHEMA.metric)
    first = mine["time_to_first_token"]
    assert first["contributors"] == pytest.approx(CROWD + 1, abs=60)
    assert first["p50"] == pytest.approx(output.metrics.time_to_first_token, rel=0.3)
    assert all(row["synthetic"] for row in rows)
    assert {"metavox/tiny", OTHER} <= {row["model"] for row in rows}
    listed = httpx.get(f"{url}/v1/datasets").json()
    assert str(week) in str(listed)

    # what it cost, and what is said of it afterwards
    run("ledger", "correct", "--week", str(week), "--reason", "withdrawn", "--yes")
    (listed,) = httpx.get(f"{url}/v1/datasets").json()["datasets"]
    assert (listed["week"], listed["withdrawn"]) == (str(week), True)
    account = httpx.get(f"{url}/v1/ledger").json()
    assert account["head"] in run("ledger")
    assert [entry["reason"] for entry in account["history"]] == ["", "", "withdrawn"]
    assert account["balance"][0]["rho_spent"] == pytest.approx((NANO_RHO + 10**6) / 1e9)
    assert httpx.get(f"{url}/v1/releases/latest").status_code == 404

    # and in none of the bytes
    dataset_bytes = all_bytes(tmp_path / "dataset")
    released_bytes = all_bytes(database.parent)
    private = [
        *(PROMPT, "Quillfeather", "quillfeather", "4711-QX", PROJECT, str(tmp_path), *person),
        *(str(output)[:24], str(private_output)[:24]),
    ]
    for name, content in {
        "journal": journal_bytes,
        "wire": wire[0],
        "database with staged rows": staged_bytes,
        "database after the close": released_bytes,
        "dataset": dataset_bytes,
    }.items():
        assert len(content) > 500, name
        for secret in private:
            assert secret.encode() not in content, (name, secret)
    # whoever withdraws now is told that it is too late for this week
    withdrawn = run_verb(home.config, "telemetry", "off", "--delete")
    assert withdrawn.exit_code == 0, withdrawn.stderr
    assert f"{week}: no longer at {url}" in withdrawn.stdout
    assert "its week is closed" in withdrawn.stdout
    assert not home.journal_file.exists()
    # destroyed means destroyed: the report's name is in no page of the file any more
    assert bytes.fromhex(report_id(preview.body)) in staged_bytes
    assert bytes.fromhex(report_id(preview.body)) not in released_bytes


def report_ids(database: Path) -> set[str]:
    connection = sqlite3.connect(database)
    try:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'staged_cell_%'"
        queries = [f"SELECT report_id FROM {name}" for (name,) in connection.execute(tables)]  # noqa: S608
        return {row[0].hex() for query in queries for row in connection.execute(query)}
    finally:
        connection.close()


def report_id(body: bytes) -> str:
    start = body.index(b"metavox.report.id")
    return next(
        body[i : i + 64].decode()
        for i in range(start, start + 40)
        if body[i : i + 64].isalnum() and len(body[i : i + 64].strip(b"0123456789abcdef")) == 0
    )
