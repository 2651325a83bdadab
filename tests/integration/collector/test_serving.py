"""TLS, monitoring, logs, traces and workers, as an operator meets them."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import _CLEAN, OVER, PATIENCE, PROTOBUF, collector, get
from tests.spans import example_report
from tests.waiting import until


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for this machine that nobody signed but itself, and its key."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run([*words.split(), *files], check=True, capture_output=True, timeout=30)
    key.chmod(0o600)
    return cert, key


@contextmanager
def started(*words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A service on a free port with a monitoring port, and the addresses that it says it has."""
    command = [sys.executable, "-c", "from metavox_collector.cli import main; main()", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--monitor-port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_CLEAN | environment,
    )
    try:
        assert process.stdout is not None
        urls = [process.stdout.readline().strip().split(" ")[-1] for _ in range(2)]
        if not all(urls):
            raise AssertionError(process.communicate())
        yield process, urls
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


def common_name(url: str, trusted: Path) -> str:
    """Whom a service says it is, under TLS that is verified."""
    context = ssl.create_default_context(cafile=str(trusted))
    host, port = url.removeprefix("https://").split(":")
    plain = socket.create_connection((host, int(port)), timeout=PATIENCE)
    with plain, context.wrap_socket(plain, server_hostname=host) as spoken:
        named = spoken.getpeercert()
        assert named is not None
        assert spoken.version() in ("TLSv1.2", "TLSv1.3")
    return str(dict(pair for part in named["subject"] for pair in part)["commonName"])


@pytest.mark.skipif(not Path("/usr/bin/openssl").exists(), reason="openssl is not installed")
def test_tls_is_spoken_and_a_rolling_restart_takes_a_renewed_certificate(tmp_path):
    cert, key = certificate(tmp_path, "first")
    db = f"sqlite:///{tmp_path}/collector.db"
    files = ("--tls-cert", str(cert), "--tls-key", str(key))
    with started("--db", db, "--sandbox", "--now", OVER, "--host", "127.0.0.1", *files) as (process, (url, _)):
        assert url.startswith("https://")
        assert common_name(url, cert) == "first"
        body = encode([example_report()], SCHEMA)
        context = ssl.create_default_context(cafile=str(cert))
        sent = post(url, body, verify=context)
        assert (sent.status_code, sent.content) == (200, b"")
        with pytest.raises(httpx.TransportError):
            get(url.replace("https", "http") + "/health")

        new_cert, new_key = certificate(tmp_path, "second")
        new_cert.replace(cert)
        new_key.replace(key)
        process.send_signal(signal.SIGHUP)
        assert until(lambda: common_name_of_either(url, cert) == "second"), common_name_of_either(url, cert)
        process.send_signal(signal.SIGTERM)
        assert (process.communicate(timeout=PATIENCE)[1], process.returncode) == ("", 0)


def post(url: str, body: bytes, *, verify: ssl.SSLContext | bool = True, **headers: str) -> httpx.Response:
    named = PROTOBUF | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(
        f"{url}/v1/traces", content=body, headers=named, verify=verify, trust_env=False, timeout=PATIENCE
    )


def common_name_of_either(url: str, new: Path) -> str:
    """As long as the old one is shown, it is not trusted."""
    try:
        return common_name(url, new)
    except OSError as error:  # or cut off, by the old worker as it ends
        return f"first, or none: {error}"


def test_numbers_are_those_of_all_workers_and_a_rolling_restart_keeps_them(tmp_path):
    db = f"sqlite:///{tmp_path}/collector.db"
    with started("--db", db, "--sandbox", "--now", OVER, "--workers", "2") as (process, (url, monitor)):
        for number in range(20):
            body = encode([example_report(token=bytes([number]))], SCHEMA)
            assert post(url, body).status_code == 200
        assert get(f"{url}/metrics").status_code == 404
        told = metrics(monitor)
        assert told['metavox_collector_requests_total{code="200",route="traces"}'] == 20
        assert told["metavox_collector_spans_accepted_total"] == 20
        assert told["metavox_collector_commit_seconds_count"] == 20

        before = workers_of(process.pid)
        process.send_signal(signal.SIGHUP)
        assert until(lambda: not before & workers_of(process.pid))
        assert metrics(monitor)["metavox_collector_spans_accepted_total"] == 20
        assert get(f"{monitor}/ready").json() == {"status": "ready"}


def metrics(monitor: str) -> dict[str, float]:
    lines = get(f"{monitor}/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def workers_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_logs_are_json_lines_that_name_nobody(tmp_path):
    db = f"sqlite:///{tmp_path}/collector.db"
    words = ("--db", db, "--sandbox", "--now", OVER, "--log-format", "json")
    with started(*words, METAVOX_COLLECTOR_BUSY_TIMEOUT_S="0.1") as (process, (url, _)):
        script = (
            f"import sqlite3; c = sqlite3.connect({str(tmp_path / 'collector.db')!r}); c.execute('BEGIN IMMEDIATE')"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", f"{script}; print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        report = example_report()
        sent = post(url, encode([report], SCHEMA), User_Agent="telltale")
        assert (sent.status_code, sent.headers["retry-after"]) == (503, "30")
        holder.communicate(b"\n")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in err.splitlines()]
    assert any("the database could not be used" in line["message"] for line in lines)
    assert {"time", "level", "logger", "process", "message"} <= set(lines[0])
    for word in ("telltale", report.report_id, "127.0.0.1", "/v1/traces"):
        assert word not in err


class Backend(BaseHTTPRequestHandler):
    """An operator's own, which keeps what it is sent."""

    got: list[bytes]

    def do_POST(self) -> None:
        self.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_words: object) -> None: ...


def test_traces_of_itself_go_to_the_operators_backend_and_hold_nothing_of_a_sender(tmp_path):
    got: list[bytes] = []
    backend = HTTPServer(("127.0.0.1", 0), type("_Backend", (Backend,), {"got": got}))
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    environment = {
        "METAVOX_COLLECTOR_OWN_TRACES": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.server_port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }
    report = example_report()
    with collector(f"sqlite:///{tmp_path}/collector.db", **environment) as running:
        parent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
        assert running.post(encode([report], SCHEMA), traceparent=parent, User_Agent="telltale").status_code == 200
        assert running.stop() == (0, "")
    backend.shutdown()
    backend.server_close()
    spans = [
        span
        for body in got
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {span.name for span in spans} == {"receive", "decode", "commit"}
    assert {item.key for span in spans for item in span.attributes} == {
        "http.response.status_code",
        "metavox.kib",
        "metavox.reports",
        "metavox.deletions",
    }
    for word in (b"telltale", report.report_id.encode(), b"\xab" * 16):
        assert not any(word in body for body in got)


def test_what_keeps_the_workers_from_beginning_is_one_line(tmp_path):
    command = [sys.executable, "-c", "from metavox_collector.cli import main; main()", "serve", "--port", "0"]
    words = ["--workers", "3", "--db", f"sqlite:///{tmp_path}/nowhere/collector.db"]
    told = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, env=_CLEAN)
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert told.stderr.startswith("metavox-collector: ")
