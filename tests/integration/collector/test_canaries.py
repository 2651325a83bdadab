"""Words that would name a sender, sent through a real service that works and that fails: none is found anywhere."""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from metavox_collector.admission import mint
from metavox_privacy.report import report_id_of
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.running import PROTOBUF, Collector, collector, get
from tests.postgres import server
from tests.spans import example_report

FLEET, LINE = mint()
ADDRESS, AGENT, WORD = "203.0.113.77", "canary-agent/7", "canary-word"
TOKENS = {name: name.encode().rjust(32, b"\5") for name in ("kept", "deleted", "never came", "failed", "locked")}
NAMES = [report_id_of(token) for token in TOKENS.values()]
CANARIES = (ADDRESS, AGENT, WORD, FLEET, "canary-secret", *(token.hex() for token in TOKENS.values()), *NAMES)

FAULT = """
import os
import threading
import metavox_collector.stage.commit as commit
import metavox_collector.stage.stager as stage
healthy, named = commit._refusal, stage.report_id_of
def refusal(report, *others):
    if os.path.exists(os.environ["FAULT"]):
        threading.Thread(target={}.__getitem__, args=[report.report_id]).start()
        raise KeyError(report.report_id)
    return healthy(report, *others)
def report_id_of(token):
    if os.path.exists(os.environ["FAULT"]):
        raise ValueError(token.hex()) from KeyError(named(token))
    return named(token)
commit._refusal, stage.report_id_of = refusal, report_id_of
"""
"""Bugs of the software whose words are the sender's, as those of a dictionary's are; every worker has them."""


@dataclass
class Store:
    """A database that can be away."""

    url: str
    folder: Path
    away: Callable[[], object]
    back: Callable[[], object]


@contextmanager
def sqlite_file(folder: Path) -> Iterator[Store]:
    file = folder / "collector.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as holder:
        file.chmod(0o600)
        begin, end = (lambda: holder.execute("BEGIN IMMEDIATE")), (lambda: holder.execute("ROLLBACK"))
        yield Store(f"sqlite:///{file}", folder, begin, end)


@contextmanager
def postgres_server(_folder: Path) -> Iterator[Store]:
    with server() as started:
        yield Store(started.new_database(), started.folder, started.stop, started.start)


@pytest.mark.parametrize(("database", "how"), [(sqlite_file, "text"), (postgres_server, "json")])
def test_nothing_of_a_sender_is_written_anywhere_whether_it_works_or_fails(database, how, tmp_path):
    with database(tmp_path) as store:
        look_for_canaries(store, how, tmp_path)


def look_for_canaries(store: Store, how: str, tmp_path: Path) -> None:
    for name, words in (("tokens", LINE), ("sitecustomize.py", FAULT)):
        (tmp_path / name).write_text(words)
    (tmp_path / "tokens").chmod(0o600)
    (tmp_path / "temporary").mkdir()
    environment = {
        "FAULT": str(tmp_path / "fault"),
        "PYTHONPATH": str(tmp_path),
        "PYTHONDEVMODE": "1",  # the most that Python tells of itself: slow callbacks, sockets left open
        "PYTHONASYNCIODEBUG": "1",
        "TMPDIR": str(tmp_path / "temporary"),
        "METAVOX_COLLECTOR_MONITOR_PORT": "0",
    }
    words = ("--workers", "2", "--trusted-proxies", "127.0.0.1", "--require-token", str(tmp_path / "tokens"))
    with collector(store.url, *words, "--log-format", how, **environment) as running:
        assert running.process.stdout is not None
        monitor = running.process.stdout.readline().split()[-1]
        limits = [Path(f"/proc/{pid}/limits").read_text() for pid in (running.process.pid, *running.workers())]
        assert all(re.search(r"Max core file size +0 +0 ", limit) for limit in limits)
        while_it_works(running)
        told = [while_it_fails(running, tmp_path / "fault"), while_it_is_away(running, store)]
        numbers = get(f"{monitor}/metrics").text
        assert [*found_in(tmp_path, store.folder)] == []  # the workers' shared numbers too
        status, said = running.stop()
    assert (status, told) == (0, [[500, 500], [503, 503]])
    assert [said.count(words) for words in ("could not be answered", "was not caught")] == [1, 1]
    assert "KeyError" in said  # what it was, and where, an operator is told
    assert "commit.py" in said
    assert [word for word in CANARIES if word in said + numbers] == []
    assert [*found_in(tmp_path, store.folder)] == []


def send(running: Collector, name: str, **headers: str) -> int:
    body = encode([example_report(token=TOKENS[name], synthetic=True)], SCHEMA)
    return post(running, body, **headers).status_code


def post(running: Collector, body: bytes, **headers: str) -> httpx.Response:
    shown = {"X-Forwarded-For": f"{WORD}, {ADDRESS}", "User-Agent": AGENT, "Authorization": f"Bearer {FLEET}"}
    return running.client.post(f"/v1/traces?{WORD}", content=body, headers={**PROTOBUF, **shown, **headers})


def delete(running: Collector, name: str) -> int:
    shown = {"X-Forwarded-For": ADDRESS, "User-Agent": AGENT}
    return running.client.delete(f"/v1/reports/{TOKENS[name].hex()}", headers=shown).status_code


def while_it_works(running: Collector) -> None:
    """Everything that is answered with something else than 500 and 503."""
    assert [send(running, name) for name in ("kept", "deleted")] == [200, 200]
    assert [delete(running, name) for name in ("deleted", "deleted", "never came")] == [204, 404, 404]
    assert send(running, "kept", Authorization="Bearer canary-secret") == 401
    answers = [
        post(running, b"\n\xff" + WORD.encode()),
        post(running, b"{" + WORD.encode(), **{"Content-Type": "application/json"}),
        post(running, b"", **{"Content-Type": WORD}),
        running.client.get(f"/{WORD}?{WORD}", headers={"User-Agent": AGENT}),
        running.client.delete(f"/v1/reports/{WORD}"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 415, 404, 400]
    assert not any(word in answer.text for answer in answers for word in CANARIES)
    at = urlsplit(running.url)
    for raw in (f"{WORD}\r\n\r\n", f"POST /v1/traces HTTP/1.1\r\nUser-Agent: {AGENT}\r\nContent-Length: 9\r\n\r\n"):
        with socket.create_connection((at.hostname, at.port)) as connection:  # no HTTP; and gone in mid-body
            connection.sendall(raw.encode())


def while_it_fails(running: Collector, fault: Path) -> list[int]:
    """The software has a bug."""
    fault.touch()
    told = [send(running, "failed"), delete(running, "failed")]
    fault.unlink()
    return told


def while_it_is_away(running: Collector, store: Store) -> list[int]:
    """The database cannot be used."""
    store.away()
    told = [send(running, "locked"), delete(running, "locked")]
    store.back()
    return told


def found_in(*folders: Path) -> Iterator[tuple[str, str]]:
    """The files that hold a canary as it was sent, and which one; a report's name is stored, but as bytes."""
    for folder in folders:
        for file in [path for path in folder.rglob("*") if path.is_file()]:
            held = b""
            with suppress(FileNotFoundError):  # a server that runs has files that come and go
                held = file.read_bytes()
            yield from ((file.name, word) for word in CANARIES if word.encode() in held)
            yield from ((file.name, name) for name, token in TOKENS.items() if token in held)
