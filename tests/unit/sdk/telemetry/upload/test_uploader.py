from __future__ import annotations

import errno
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metavox.telemetry.upload.transport import tls
from metavox.telemetry.upload.uploader import (
    Address,
    Deleted,
    Deletion,
    Gone,
    Outcome,
    Refused,
    Sent,
    Unreachable,
    delete,
    fetch_release,
    send,
)

BODY = b"the exact bytes" * 20
TOKEN = bytes(range(32))


class Server(ThreadingHTTPServer):
    """A loopback server that answers one thing and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, status: int, headers: dict[str, str], content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = (status, headers, content)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.requests.append((self.path, dict(self.headers), content))
        status, headers, answer = self.server.answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_DELETE = do_POST  # noqa: N815  # the names are the library's

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(status: int = 200, content: bytes = b"", **headers: str) -> Iterator[tuple[Server, Address]]:
    named = {"Content-Type": "application/x-protobuf", **{k.replace("_", "-"): v for k, v in headers.items()}}
    server = Server(status, named, content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, Address.parse(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def outcome_of(status: int = 200, content: bytes = b"", **headers: str) -> Outcome:
    with serving(status, content, **headers) as (_, address):
        return send(BODY, address)


def test_the_exact_bytes_arrive_with_the_least_that_http_needs():
    with serving() as (server, address):
        assert send(BODY, address) == Sent()
        assert send(BODY, address) == Sent()
    (path, headers, content), again = server.requests

    assert path == "/v1/traces"
    assert gzip.decompress(content) == BODY
    assert again == (path, headers, content)  # not even the time of compression differs
    assert headers == {
        "Host": f"127.0.0.1:{server.server_port}",
        "Accept-Encoding": "identity",
        "Content-Length": str(len(content)),
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "gzip",
        "Accept": "application/x-protobuf",
        "User-Agent": "metavox",
        "Connection": "close",
    }


def test_the_environments_proxies_headers_and_endpoints_are_not_read(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=secret")
    with serving() as (server, address):
        assert send(BODY, address) == Sent()
    (_, headers, content) = server.requests[0]

    assert "secret" not in str(headers)
    assert gzip.decompress(content) == BODY


@pytest.mark.parametrize(
    ("status", "final"),
    [(400, True), (401, True), (404, True), (413, True), (429, False), (500, False), (502, False), (503, False)],
)
def test_statuses_are_final_or_worth_another_try(status: int, final: bool):
    outcome = outcome_of(status)

    assert outcome == Refused(status)
    assert isinstance(outcome, Refused)
    assert outcome.final is final


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int):
    with serving() as (elsewhere, other):
        outcome = outcome_of(status, Location=f"http://127.0.0.1:{other.port}/v1/traces", Set_Cookie="id=7")

    assert outcome == Refused(status)
    assert elsewhere.requests == []


def test_a_cookie_is_not_kept():
    with serving(Set_Cookie="id=7") as (server, address):
        send(BODY, address)
        send(BODY, address)

    assert all("Cookie" not in headers for _, headers, _ in server.requests)


def test_of_the_answer_nothing_but_the_status_is_read():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nSet-Cookie: id=7\r\n\r\n<html>"
    with raw_server(answer, 0, patience=3) as address:
        start = time.monotonic()
        assert send(BODY, address) == Sent()
        assert time.monotonic() - start < 2  # and not when the rest comes, which it never does


def test_a_refused_connection_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    assert send(BODY, Address.parse(f"http://127.0.0.1:{port}")) == Unreachable("ConnectionRefusedError")


@contextmanager
def raw_server(answer: bytes, pause: float, patience: float = 0) -> Iterator[Address]:
    """Answers a byte at a time, with a pause after each, for as long as somebody listens; then is patient."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                try:
                    for byte in answer or [0]:
                        if answer:
                            peer.sendall(bytes([byte]))
                        time.sleep(pause)
                    peer.settimeout(max(patience, 0.001))
                    while peer.recv(4096):
                        continue
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        yield Address.parse(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


@contextmanager
def full_queue() -> Iterator[int]:
    """A port whose queue is full: further packets are dropped."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as first:
        others = [socket.socket() for _ in range(4)]
        first.connect(server.getsockname())
        for other in others:
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for other in others:
            other.close()


@pytest.mark.parametrize(("answer", "pause"), [(b"", 3), (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40, 0.1)])
def test_a_server_that_hangs_or_drips_is_left_at_the_deadline(answer: bytes, pause: float):
    with raw_server(answer, pause) as address:
        start = time.monotonic()
        outcome = send(BODY, address, timeout=0.3)
        took = time.monotonic() - start

    assert isinstance(outcome, Unreachable)
    assert took < 2.5  # far from the deadline, for a busy machine; and from the server's patience


def test_a_server_that_hangs_within_tls_is_left_at_the_deadline():
    with raw_server(b"", 3) as address:
        start = time.monotonic()
        outcome = send(BODY, replace(address, secure=True), timeout=0.3)

    assert isinstance(outcome, Unreachable)
    assert time.monotonic() - start < 6  # the server's own patience included


def test_a_name_that_nobody_can_look_up_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch):
    looked_up = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: looked_up.wait(20) and [])
    start = time.monotonic()
    outcome = send(BODY, Address.parse("https://collector.example"), timeout=0.2)
    took = time.monotonic() - start
    looked_up.set()

    assert outcome == Unreachable("TimeoutError")
    assert took < 5


def test_the_deadline_is_one_for_all_the_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch):
    with raw_server(b"", 1) as address:
        place = (address.host, address.port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)] * 50
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        start = time.monotonic()
        outcome = send(BODY, Address("collector.example", address.port, "", secure=True), timeout=0.3)
        took = time.monotonic() - start

    assert isinstance(outcome, Unreachable)
    assert took < 5


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch):
    with serving() as (server, address), socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = (free.getsockname()[1], address.port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert send(BODY, address) == Sent()
    assert len(server.requests) == 1


def test_an_address_of_a_kind_that_this_machine_has_not_stops_no_other(monkeypatch: pytest.MonkeyPatch):
    made = socket.socket

    def without_ipv6(family: int, *rest: int, fileno: int | None = None) -> socket.socket:
        if family == socket.AF_INET6:  # as where the kernel was told to have none
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *rest, fileno=fileno)

    with serving() as (server, address):
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", address.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", address.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(socket, "socket", without_ipv6)
        outcome = send(BODY, address)

    assert outcome == Sent()
    assert len(server.requests) == 1


def test_an_address_that_drops_packets_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch):
    with serving() as (server, address), full_queue() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", at)) for at in (port, address.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        outcome = send(BODY, address, timeout=4)

    assert outcome == Sent()
    assert len(server.requests) == 1


def test_a_chunk_of_a_negative_size_is_no_answer():
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n"
    with raw_server(answer, 0, patience=1) as address:
        assert fetch_release(address, timeout=5) == Unreachable("ValueError")


def test_what_is_not_http_is_unreachable():
    with raw_server(b"SSH-2.0-OpenSSH\r\n", 0) as address:
        assert isinstance(send(BODY, address, timeout=1), Unreachable)


def test_a_host_name_that_cannot_exist_is_unreachable():
    assert isinstance(send(BODY, Address.parse(f"https://{'a' * 70}.example")), Unreachable)


def test_a_server_without_a_trusted_certificate_is_unreachable():
    with serving() as (_, address):
        outcome = send(BODY, Address("127.0.0.1", address.port, "", secure=True), timeout=1)

    assert isinstance(outcome, Unreachable)


def test_no_secret_of_the_connection_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with serving() as (_, address):
        send(BODY, Address("127.0.0.1", address.port, "", secure=True), timeout=1)

    assert list(tmp_path.iterdir()) == []


def test_a_certificate_is_asked_for_and_must_be_the_hosts():
    context = tls()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        *((204, Deleted()), (404, Gone()), (400, Refused(400)), (503, Refused(503)), (302, Refused(302))),
        *((200, Refused(200)), (429, Refused(429))),
    ],
)
def test_a_deletion_says_what_became_of_the_report(status: int, answer: Deletion):
    with serving(status) as (server, address):
        assert delete(TOKEN, address) == answer
    (path, headers, content) = server.requests[0]

    assert path == f"/v1/reports/{TOKEN.hex()}"
    assert content == b""
    assert set(headers) == {"Host", "Accept-Encoding", "User-Agent", "Connection"}


def test_a_deletion_that_nobody_answers_is_unreachable():
    with raw_server(b"", 1) as address:
        assert isinstance(delete(TOKEN, address, timeout=0.2), Unreachable)


def test_the_newest_release_is_fetched_and_the_request_says_nothing_of_who_asks():
    with serving(content=b'{"format": 1}') as (server, address):
        assert fetch_release(address) == b'{"format": 1}'
        assert fetch_release(address) == b'{"format": 1}'
    first, second = server.requests

    assert first == second
    assert first[0] == "/v1/releases/latest"
    assert set(first[1]) == {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}


def test_a_release_may_come_compressed():
    with serving(content=gzip.compress(b"{}"), Content_Encoding="gzip") as (_, address):
        assert fetch_release(address) == b"{}"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (gzip.compress(bytes(5 * 2**20)), "gzip"),
        (bytes(4 * 2**20 + 1), ""),
        (gzip.compress(b"{}")[:-9], "gzip"),
        (b"{}", "gzip"),
        (b"{}", "br"),
    ],
    ids=["a bomb", "too long", "cut off", "no gzip", "not asked for"],
)
def test_a_release_that_cannot_be_taken_is_no_release(content: bytes, encoding: str):
    with serving(content=content, Content_Encoding=encoding) as (_, address):
        assert isinstance(fetch_release(address), Unreachable)


@pytest.mark.parametrize("status", [404, 302, 503])
def test_where_there_is_no_release_the_status_is_told(status: int):
    with serving(status, Location="http://127.0.0.1:9/") as (_, address):
        assert fetch_release(address) == Refused(status)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://collector.example", Address("collector.example", 443, "", True)),
        ("https://collector.example:8443/otlp/", Address("collector.example", 8443, "/otlp", True)),
        ("http://localhost:4318", Address("localhost", 4318, "", False)),
        ("http://[::1]:4318", Address("::1", 4318, "", False)),
        ("http://127.0.0.2", Address("127.0.0.2", 80, "", False)),
    ],
)
def test_addresses_are_read(url: str, address: Address):
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        *("", "collector.example", "ftp://collector.example", "https://", "https://h:port", "file:///etc/passwd"),
        *("http://collector.example", "http://10.0.0.1", "http://localhost.example", "https://h:99999"),
        *("https://user:secret@h", "https://h/?a=b", "https://h/#a", "https://h /a"),
        *("https://h:0", "https://[::1", "https://[h]", "http://[::1]:0"),
    ],
)
def test_other_addresses_are_refused_in_words_of_ours(url: str):
    with pytest.raises(ValueError, match=r"^a collector"):
        Address.parse(url)
