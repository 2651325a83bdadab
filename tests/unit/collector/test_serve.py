from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from metavox_collector.errors import NotAllowed
from metavox_collector.serve import Task, listen, tls, url_of
from metavox_collector.serve.connection import MOST_HEADER_BYTES, MOST_PIPELINED, Bounds, Connection
from metavox_collector.serve.supervise import pause_after
from tests.waiting import PATIENCE, soon


def test_a_free_port_is_listened_on_and_named():
    with listen("127.0.0.1", 0, allow_public=False) as listener:
        assert listener.getsockname()[1] > 0
        assert url_of(listener, tls=True) == f"https://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "collector.example"])  # noqa: S104
def test_an_address_that_others_can_reach_is_refused(host):
    with pytest.raises(NotAllowed, match="--tls-cert and --tls-key"):
        listen(host, 0, allow_public=False)


def test_a_machine_without_ipv6_is_told_so(monkeypatch):
    def absent(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", absent)
    with pytest.raises(
        NotAllowed,
        match=r"cannot listen on ::1 port 8320: .*not supported.*; end what listens there, or give another",
    ):
        listen("::1", 8320, allow_public=False)


def test_a_task_is_read_as_it_was_told():
    task = Task("collector.toml", {"db": "sqlite:///a.db", "workers": 2}, "2026-12-03T00:00:00+00:00")
    told = task.with_descriptors(public=3, ready=4)
    assert Task.read(told.line().decode()) == told


def test_files_that_are_no_certificate_are_told(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    with pytest.raises(NotAllowed, match="no such file"):
        tls.context(cert, key)
    for file in (cert, key):
        file.write_text("words", encoding="utf-8")
    with pytest.raises(NotAllowed, match="is not possible"):
        tls.context(cert, key)


SUPERVISOR = (sys.executable, "-c", "from metavox_collector.cli import main; main()", "serve")
WORKER = (sys.executable, "-m", "metavox_collector.serve.worker")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("METAVOX_")}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A certificate, its key, another's key, and a file that is neither a key nor a list of tokens."""
    folder = tmp_path_factory.mktemp("tls")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=example"
    for name in ("cert", "other"):
        made = ["-out", f"{name}.pem", "-keyout", f"{name}.key"]
        subprocess.run([*words.split(), *made], cwd=folder, check=True, capture_output=True, timeout=60)
    (folder / "words").write_text("words", encoding="utf-8")
    for file in folder.iterdir():
        file.chmod(0o600)
    return folder


@pytest.mark.parametrize("program", [SUPERVISOR, WORKER], ids=["supervisor", "worker"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tls_cert": "cert.pem", "tls_key": "other.key"}, "TLS with .*cert.pem and .*other.key is not possible"),
        ({"tls_cert": "cert.pem", "tls_key": "words"}, "TLS with .*cert.pem and .*words is not possible"),
        ({"require_token": "words"}, "words, line 1: not a token's hash"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_told_before_a_database_is_made(
    tmp_path, files, program, given, said
):
    db = tmp_path / "collector.db"
    settings = {"db": f"sqlite:///{db}", **{name: str(files / file) for name, file in given.items()}}
    line = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    with listen("127.0.0.1", 0, allow_public=False) as taken:  # which would be told instead, once it is wanted
        line.append(f"--port={taken.getsockname()[1]}")
        ended = subprocess.run(
            [*program, *line] if program is SUPERVISOR else program,
            input=Task(None, settings, None).line().decode(),
            capture_output=True,
            text=True,
            timeout=60,
            env=CLEAN,
        )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert re.match(f"metavox-collector: .*{said}", ended.stderr), ended.stderr
    assert [*tmp_path.iterdir()] == []


def test_workers_that_end_again_and_again_are_started_ever_more_slowly():
    assert [pause_after(deaths) for deaths in (1, 2, 5, 10, 1000)] == [0.1, 0.2, 1.6, 30.0, 30.0]


@dataclass
class Wire:
    """A transport that remembers what was written, and the connection that uses it."""

    connection: Any = None
    written: bytes = b""
    unread: int = 0
    read_between_looks: int = 0
    looks: int = 0
    closed: bool = False
    aborted: bool = False
    peers: dict[str, Any] = field(default_factory=lambda: {"peername": ("127.0.0.1", 1), "sockname": ("::1", 2)})

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.peers.get(name, default)

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        unread = self.unread
        self.unread -= self.read_between_looks
        return unread

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    async def say(self, data: bytes) -> None:
        self.connection.data_received(data)
        for _ in range(5):
            await asyncio.sleep(0)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    body += message.get("body", b"")
    said = scope["path"].encode() + b" " + body
    head = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": said})


async def never(_scope: Any, _receive: Any, _send: Any) -> None:
    await asyncio.Event().wait()


async def overload(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def with_wires(
    work: Callable[[list[Wire]], Any],
    *,
    app: Any = echo,
    wires: int = 1,
    connections: int = 10,
    header_s: float = PATIENCE,
) -> Any:
    """What happens on so many connections to an application."""

    async def go() -> Any:
        bounds = Bounds(connections, header_s, overload, 7)
        kind = type("_Bounded", (Connection,), {"bounds": bounds})
        config = uvicorn.Config(app, http=kind, log_config=None, access_log=False, ws="none", lifespan="off")
        config.load()
        state = ServerState()
        made = [Wire() for _ in range(wires)]
        for wire in made:
            wire.connection = kind(config=config, server_state=state, app_state={})
            wire.connection.connection_made(wire)
        outcome = await work(made)
        for wire in made:
            wire.connection.connection_lost(None)
        for task in state.tasks:
            task.cancel()
        return outcome

    return asyncio.run(go())


def answers(*said: bytes, **options: Any) -> tuple[bytes, bool]:
    """What a connection writes when this is said on it, and whether it ends."""

    async def work(wires: list[Wire]) -> tuple[bytes, bool]:
        for part in said:
            await wires[0].say(part)
        return wires[0].written, wires[0].closed

    return with_wires(work, **options)  # type: ignore[no-any-return]


GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_connection_is_kept_for_the_next_request():
    written, closed = answers(GET % 1, GET % 2)
    assert (written.count(b"HTTP/1.1 200"), b"/1 " in written, b"/2 " in written, closed) == (2, True, True, False)


def test_requests_that_are_sent_at_once_are_answered_in_their_order():
    written, closed = answers(b"".join(GET % number for number in range(5)))
    assert [written.index(b"/%d " % number) for number in range(5)] == sorted(
        written.index(b"/%d " % number) for number in range(5)
    )
    assert not closed


def test_more_requests_at_once_than_may_wait_end_the_connection():
    assert answers((GET % 1) * (MOST_PIPELINED + 2), app=never) == (b"", True)


def test_http_1_0_is_answered_and_the_connection_ends():
    written, closed = answers(b"GET /old HTTP/1.0\r\n\r\n")
    assert (b"/old " in written, closed) == (True, True)


def test_a_body_in_chunks_is_read_whole_however_it_is_cut():
    said = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    written, _ = answers(*(said[i : i + 7] for i in range(0, len(said), 7)))
    assert written.endswith(b"/c abcde")


def test_who_expects_to_be_told_to_continue_is_told_so():
    head = b"POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    written, _ = answers(head, b"abc")
    assert written.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert written.endswith(b"/e abc")


def test_an_upgrade_is_passed_over_but_beside_a_body_which_the_parser_would_skip():
    head = b"%s /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    written, closed = answers(head % b"GET" + b"\r\n")
    assert (written[:12], b"/u " in written, closed) == (b"HTTP/1.1 200", True, True)
    for body in (b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"):
        written, closed = answers(head % b"POST" + body)
        assert (written[:12], closed) == (b"HTTP/1.1 400", True)


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_told_so_and_in_no_log(said, caplog):
    with caplog.at_level(logging.DEBUG):
        written, closed = answers(said)
    assert written.startswith(b"HTTP/1.1 400")
    assert closed
    assert not [record for record in caplog.records if record.name != "asyncio"]


def test_a_header_that_does_not_end_ends_the_connection():
    part = b"a" * 4096
    written, closed = answers(b"GET / HTTP/1.1\r\nX: ", *[part] * (MOST_HEADER_BYTES // len(part) + 1))
    assert (written.startswith(b"HTTP/1.1 431"), closed) == (True, True)


@pytest.mark.parametrize("end", [b"", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"])
def test_headers_and_trailers_without_number_end_the_connection(end):
    many = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 100) for number in range(2000))
    written, closed = answers(b"POST / HTTP/1.1\r\nHost: x\r\n" + end + many)
    assert (written[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b""), closed) == (True, True)


def test_a_request_on_one_connection_too_many_is_told_to_come_back_and_the_others_are_served():
    async def work(wires: list[Wire]) -> list[bytes]:
        for wire in wires:
            await wire.say(GET % 1)
        return [wire.written[9:12] for wire in wires]

    assert with_wires(work, wires=3, connections=2) == [b"503"] * 3  # all three are there when they ask

    async def one_leaves(wires: list[Wire]) -> list[bytes]:
        wires[0].connection.connection_lost(None)
        for wire in wires[1:]:
            await wire.say(GET % 1)
        return [wire.written[9:12] for wire in wires[1:]]

    assert with_wires(one_leaves, wires=3, connections=2) == [b"200"] * 2


def test_twice_as_many_connections_as_are_served_are_not_even_heard():
    async def work(wires: list[Wire]) -> list[tuple[bytes, bool]]:
        return [(wire.written[:12], wire.closed) for wire in wires]

    told = with_wires(work, wires=6, connections=2)
    assert told == [(b"", False)] * 4 + [(b"HTTP/1.1 503", True)] * 2


@pytest.mark.parametrize(("said", "looks"), [(b"", 1), (b"GET / HT", 1), (GET % 1, 2)])
def test_a_connection_that_brings_no_request_in_time_ends(said, looks):
    async def work(wires: list[Wire]) -> tuple[bool, int]:
        if said:
            await wires[0].say(said)
        return await soon(lambda: wires[0].closed), wires[0].looks

    assert with_wires(work, header_s=0.1) == (True, looks)


def test_an_answer_that_nobody_reads_ends_the_connection_and_one_that_is_read_slowly_does_not():
    async def work(wires: list[Wire]) -> list[bool]:
        for wire in wires:
            wire.unread = 10**8
            await wire.say(GET % 1)
        wires[1].read_between_looks = 10**5
        assert await soon(lambda: wires[0].aborted and wires[1].looks > 3)
        return [wire.aborted for wire in wires]

    assert with_wires(work, wires=2, header_s=0.1) == [True, False]


def test_a_request_that_takes_its_time_is_not_cut_off():
    async def work(wires: list[Wire]) -> bool:
        await wires[0].say(GET % 1)
        assert await soon(lambda: wires[0].looks > 3)
        return wires[0].closed

    assert not with_wires(work, app=never, header_s=0.05)


def test_a_connection_whose_request_was_answered_between_two_looks_may_wait_for_a_whole_time_still():
    async def work(wires: list[Wire]) -> tuple[bool, int]:
        await wires[0].say(GET % 1)
        assert await soon(lambda: wires[0].looks > 0)
        answered.append(wires[0].looks)
        go_on.set()
        return await soon(lambda: wires[0].closed), wires[0].looks

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    go_on, answered = asyncio.Event(), []
    closed, looks = with_wires(work, app=slow, header_s=0.1)
    assert (closed, looks) == (True, answered[0] + 2)


def test_the_supervisor_imports_nothing_that_only_workers_need():
    heavy = ("sqlalchemy", "fastapi", "numpy", "opendp")
    script = f"import sys, metavox_collector.serve; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (said.stdout, said.stderr) == ("[]\n", "")
