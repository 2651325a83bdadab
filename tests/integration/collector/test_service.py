"""A real process, real HTTP, a real file: the collector as an operator runs it."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import PATIENCE, get
from tests.spans import WEEK, example_report, example_span
from tests.unit.collector import packs
from tests.waiting import until

OVER = "2026-12-03T00:00:00Z"
HEADERS = {"Content-Type": "application/x-protobuf"}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("METAVOX_")} | {"COLUMNS": "120"}


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """End the service of a test that failed before it could."""
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
            process.communicate()


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from metavox_collector.cli import main; main()", *words]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=120, env=CLEAN | environment)


@dataclass
class Service:
    process: subprocess.Popen[str]
    url: str
    db: str

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        named = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"{self.url}/v1/traces", content=body, headers=named, trust_env=False, timeout=PATIENCE)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def start(directory: Path, *words: str, **environment: str) -> Service:
    db = f"sqlite:///{directory}/collector.db"
    process = subprocess.Popen(
        command("serve", "--db", db, "--port", "0", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=CLEAN | environment,
    )
    STARTED.append(process)
    assert process.stdout is not None
    line = process.stdout.readline()
    if "http://" not in line:
        raise AssertionError(process.communicate())
    return Service(process, line.split()[-1], db)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = start(tmp_path_factory.mktemp("service"), "--sandbox", "--now", OVER)
    yield running
    code, out, err = running.stop()
    assert (code, out, err) == (0, "", "")


def status_of(response: httpx.Response, http: int, code: int) -> str:
    assert response.status_code == http
    assert response.headers["content-type"] == "application/x-protobuf"
    status = Status.FromString(response.content)
    assert status.code == code
    return str(status.message)


def partial_of(response: httpx.Response) -> tuple[int, str]:
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-protobuf"
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    return partial.rejected_spans, partial.error_message


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_with_status_0_and_without_a_word(tmp_path, how):
    running = start(tmp_path)
    assert get(f"{running.url}/health").json() == {"status": "ok"}
    assert running.stop(how) == (0, "", "")


def test_a_report_is_taken_plain_and_zipped_and_with_parameters(service):
    body = encode([example_report(token=b"plain")], SCHEMA)
    assert partial_of(service.post(body)) == (0, "")
    zipped = gzip.compress(body)
    assert partial_of(service.post(zipped, Content_Encoding="gzip")) == (0, "")
    assert partial_of(service.post(body, Content_Type="application/x-protobuf; charset=utf-8")) == (0, "")


def test_an_empty_request_is_answered_200_with_nothing(service):
    response = service.post(b"")
    assert (response.status_code, response.content) == (200, b"")


def test_every_refusal_is_a_protobuf_status(service):
    body = encode([example_report()], SCHEMA)
    status_of(service.post(b"words"), 400, 3)
    status_of(service.post(gzip.compress(body)[:-9], Content_Encoding="gzip"), 400, 3)
    status_of(service.post(body, Content_Type="text/plain"), 415, 12)
    status_of(service.post(body, Content_Encoding="br"), 415, 12)
    status_of(service.post(b"\0" * (2**20 + 1)), 413, 8)
    assert "after inflation" in status_of(
        service.post(gzip.compress(b"\0" * (2**22 + 1)), Content_Encoding="gzip"), 413, 8
    )


def test_a_body_without_a_length_is_stopped_at_the_limit(service):
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"\0" * 2**16

    response = httpx.post(
        f"{service.url}/v1/traces", content=endless(), headers=HEADERS, trust_env=False, timeout=PATIENCE
    )
    status_of(response, 413, 8)


@pytest.mark.parametrize("announced", [5, 500])
def test_a_length_that_lies_harms_nobody(service, announced):
    host, port = service.url.removeprefix("http://").split(":")
    head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as sender:
        sender.sendall(f"{head}Content-Length: {announced}\r\n\r\n".encode() + b"\xff" * 50)
        sender.shutdown(socket.SHUT_WR)
        answer = sender.recv(65536)
    assert b" 200 " not in answer
    assert partial_of(service.post(b"")) == (0, "")


def test_a_part_that_is_not_taken_is_counted_and_the_rest_is_kept(service):
    request = ExportTraceServiceRequest.FromString(
        encode([example_report(token=b"good"), example_report(token=b"bad")], SCHEMA)
    )
    secret = KeyValue(key="user.secret", value=AnyValue(string_value="a word of the sender's"))
    request.resource_spans[1].scope_spans[0].spans[0].attributes.append(secret)
    spans, message = partial_of(service.post(request.SerializeToString()))
    assert spans == 1
    assert "an attribute is not in the schema" in message
    assert "secret" not in message
    assert "sender" not in message


def test_a_word_outside_its_vocabulary_and_a_histogram_with_a_unit_too_many_are_each_told(service):
    def spoiled(change) -> tuple[int, str]:
        request = ExportTraceServiceRequest.FromString(encode([example_report(token=b"spoiled")], SCHEMA))
        change(request.resource_spans[0].scope_spans[0].spans)
        return partial_of(service.post(request.SerializeToString()))

    def attribute(spans, name):
        return next(item for item in spans[0].attributes if item.key == name)

    def unknown_word(spans):
        attribute(spans, "gen_ai.request.model").value.string_value = "/home/someone/model"

    def one_unit_more(spans):
        attribute(spans, "gen_ai.server.time_to_first_token").value.array_value.values[0].int_value += 1

    assert spoiled(unknown_word) == (1, "not taken: gen_ai.request.model is outside its vocabulary (1 report)")
    assert "is not integers that sum to 256" in spoiled(one_unit_more)[1]


def connected(service: Service, said: bytes = b"") -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    connection.sendall(said)
    return connection


def test_connections_that_bring_no_header_end_and_keep_no_report_out(tmp_path):
    limits = {"METAVOX_COLLECTOR_MAX_CONNECTIONS": "20", "METAVOX_COLLECTOR_HEADER_TIMEOUT_S": "0.5"}
    running = start(tmp_path, "--sandbox", "--now", OVER, **limits)
    body = encode([example_report()], SCHEMA)
    answered = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    kinds = (b"", b"POST /v1/traces HTTP/1.1\r\nHost:", answered + b"POST /v1/tra")
    idle = [connected(running, kinds[number % 3]) for number in range(40)]
    taken = running.post(body).status_code
    deadline = time.monotonic() + PATIENCE
    while taken != 200 and time.monotonic() < deadline:
        assert taken == 503
        taken = running.post(body).status_code
    assert taken == 200
    for connection in idle:
        with connection, suppress(ConnectionResetError):  # that is an end, too
            while connection.recv(65536):
                pass
    assert running.stop() == (0, "", "")


def test_more_connections_than_files_fill_no_log_and_pass(tmp_path):
    running = start(tmp_path, "--sandbox", "--now", OVER, METAVOX_COLLECTOR_HEADER_TIMEOUT_S="3")
    (worker,) = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    resource.prlimit(int(worker), resource.RLIMIT_NOFILE, (60, 60))
    idle = [connected(running) for _ in range(120)]
    assert until(lambda: open_files(worker) > 50)
    time.sleep(1)  # for so long there are no more
    for connection in idle:
        connection.close()
    assert until(lambda: open_files(worker) < 50)  # before that it may yet turn somebody away
    taken = running.post(encode([example_report()], SCHEMA)).status_code
    code, _, err = running.stop()
    assert (taken, code) == (200, 0)
    assert len(err) < 10_000  # where asyncio's own loop wrote 2.7 MB a second


def open_files(pid: str) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_sender_that_is_slow_with_its_body_is_not_cut_off(tmp_path):
    running = start(tmp_path, "--sandbox", "--now", OVER, METAVOX_COLLECTOR_HEADER_TIMEOUT_S="0.5")
    body = encode([example_report()], SCHEMA)
    head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
    with connected(running, f"{head}Content-Length: {len(body)}\r\n\r\n".encode()) as sender:
        time.sleep(1.5)  # a body has its own time
        sender.sendall(body)
        assert b" 200 " in sender.recv(65536)
    assert running.stop() == (0, "", "")


def test_a_close_whose_reports_stay_in_the_log_is_no_success(tmp_path):
    running = start(tmp_path, "--sandbox", "--now", OVER)
    assert partial_of(running.post(encode([example_report()], SCHEMA))) == (0, "")
    with closing(sqlite3.connect(tmp_path / "collector.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM staged_cell_202647").fetchone()
        words = ("close", "--db", running.db, "--week", "2026-W47", "--now", OVER)
        closed = run(*words, METAVOX_COLLECTOR_BUSY_TIMEOUT_S="0.1")
    assert closed.returncode == 1
    assert closed.stderr.startswith(
        "metavox-collector: released, but the write-ahead log could not be emptied yet; "
    )
    assert "2026-W47 released for 'publish' (SYNTHETIC)" in closed.stdout
    assert running.stop() == (0, "", "")


def test_a_narrow_terminal_that_cannot_show_a_rho_fails_no_close_and_cuts_no_number(tmp_path):
    assert start(tmp_path, "--sandbox").stop()[0] == 0
    words = ("close", "--db", f"sqlite:///{tmp_path}/collector.db", "--week", "2026-W47", "--now", OVER)
    closed = run(*words, PYTHONIOENCODING="ascii", PYTHONUTF8="0", COLUMNS="30")
    assert (closed.returncode, closed.stderr) == (0, "")
    assert "2026-W47 released for 'publish' (SYNTHETIC)" in closed.stdout
    assert re.search(r"performance .*[0-9]\.[0-9][ |]*$", closed.stdout, re.MULTILINE)


def test_ctrl_c_while_the_parts_are_imported_is_no_traceback(tmp_path):
    script = (
        "import sys; sys.meta_path.insert(0, type('Impatient', (), {'find_spec': staticmethod("
        "lambda name, *_: (_ for _ in ()).throw(KeyboardInterrupt) if name == 'fastapi' else None)}));"
        "sys.argv = ['metavox-collector', 'serve']; from metavox_collector.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_production_collector_takes_no_synthetic_report_and_no_other_time(tmp_path):
    running = start(tmp_path)
    body = encode([example_report(example_span(), synthetic=True)], SCHEMA)
    assert "synthetic reports go to a sandbox" in partial_of(running.post(body))[1]
    assert running.stop()[0] == 0
    refused = run("close", "--db", running.db, "--week", "2026-W47", "--now", OVER)
    assert refused.returncode == 1
    assert refused.stderr == "metavox-collector: --now pretends another time, which only a sandbox permits\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("close", "--week", "2026-W60", "--db", "sqlite:///x.db"), 2, "2026-W60"),
        (("close", "--week", "last", "--db", "sqlite:///x.db"), 2, "write it like 2026-W47"),
        (("close", "--week", "2026-W47", "--db", "sqlite:////nowhere/x.db"), 1, "there is no collector's database"),
        (("close", "--week", "2026-W47", "--db", "words"), 1, "the database's URL is not understood"),
        (("close", "--week", "2026-W47", "--db", "mssql+pymssql://u:secret@h/x"), 1, "mssql is no database"),
        (("serve", "--host", "0.0.0.0", "--db", "sqlite:////nowhere/x.db"), 1, "--allow-public"),  # noqa: S104
        (("serve", "--db", "sqlite:////nowhere/x.db", "--port", "0"), 1, "unable to open"),
        (("serve", "--now", "tomorrow", "--sandbox"), 2, "is not a moment"),
        (("serve", "--now", "2300-01-01T00:00:00Z", "--sandbox"), 2, "is not between 2021 and 2199"),
        (("close", "--week", "2026-W47", "--now", "0001-01-01T00:00:00Z"), 2, "is not between 2021 and 2199"),
        (("simulate", "--week", "2026-W47", "--url", "http://127.0.0.1:1"), 1, "cannot be reached"),
        (("simulate", "--week", "2026-W47", "--url", "nonsense"), 1, "cannot be reached"),
        (("simulate", "--week", "2026-W47", "--url", "http://a..b"), 1, "cannot be reached"),
    ],
)
def test_wrong_input_is_told_in_a_line_without_a_traceback(words, status, said):
    told = run(*words)
    assert told.returncode == status, told
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_a_taken_port_is_told_in_a_line(service, tmp_path):
    port = service.url.rsplit(":", 1)[1]
    told = run("serve", "--db", f"sqlite:///{tmp_path}/a.db", "--port", port)
    assert (told.returncode, "Traceback" in told.stderr) == (1, False)
    assert f"cannot listen on 127.0.0.1 port {port}" in told.stderr


def test_a_simulated_fleet_becomes_a_dataset(tmp_path):
    plenty = {f"METAVOX_COLLECTOR_{name}_NANO_RHO": "10000000000" for name in ("PUBLISH", "IMPROVE")}
    plenty["METAVOX_COLLECTOR_YEARLY_CAP_NANO_RHO"] = "50000000000"
    plenty["METAVOX_COLLECTOR_SCOPE"] = "full"  # which a fleet's first release is not by itself
    running = start(tmp_path, "--sandbox", "--now", OVER, **plenty)
    sent = run("simulate", "--installations", "400", "--week", "2026-W47", "--url", running.url, "--seed", "1")
    assert sent.returncode == 0, sent.stderr
    assert "sent 400 synthetic reports" in sent.stderr
    closed = run("close", "--db", running.db, "--week", "2026-W47", "--now", OVER, **plenty)
    assert closed.returncode == 0, closed.stderr
    assert closed.stderr == ""
    assert "2026-W47 released for 'publish' (SYNTHETIC), full scope: ρ = 10" in closed.stdout
    assert run("close", "--db", running.db, "--week", "2026-W47", "--now", OVER, **plenty).returncode == 1
    late = run("simulate", "--installations", "1", "--week", "2026-W47", "--url", running.url)
    assert (late.returncode, "the week is closed" in late.stderr) == (1, True)

    words = ("--db", running.db, "--week", "2026-W47", "--out", str(tmp_path / "out"), "--now", OVER)
    made = run("release", *words, *packs.options(running.db, WEEK, tmp_path), **plenty)
    assert made.returncode == 0, made.stderr
    directory = tmp_path / "out" / "metavox-2026-W47-publish-synthetic"
    about = json.loads((directory / "data_dictionary.json").read_text(encoding="utf-8"))
    assert about["release"]["synthetic"] is True
    rows = pq.read_table(directory / "data" / "performance.parquet").to_pylist()
    assert run("verify", str(directory)).returncode == 0
    tiny = [
        row
        for row in rows
        if (row["model"], row["concurrency"], row["metric"]) == ("metavox/tiny", "<=1", "time_per_output_token")
    ]
    assert len(tiny) == 1
    assert 0.001 < tiny[0]["p50"] < 0.003

    (listed,) = get(f"{running.url}/v1/datasets").json()["datasets"]
    assert (listed["week"], listed["synthetic"]) == ("2026-W47", True)
    assert listed["tables"][0]["rows"] == len(rows)
    assert running.stop() == (0, "", "")
