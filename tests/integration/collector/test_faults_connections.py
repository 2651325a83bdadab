"""Connections that are cut, that drip or that are far too many: honest senders are served, and nothing crashes."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from metavox_collector.load.bodies import Encoding, Request, requests, templates
from metavox_collector.load.connection import Connection, Target, connect
from metavox_privacy.schema import SCHEMA
from tests.bench.receivers.processes import resident_bytes
from tests.integration.collector.running import (
    GZIPPED,
    PATIENCE,
    Collector,
    assert_all_are_staged_once,
    collector,
    senders,
    staged,
)
from tests.spans import WEEK
from tests.waiting import until

CROWD = 10_000
HONEST = 200


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Collector]:
    """A service with bounds that are reached soon."""
    bounds = {"MAX_CONNECTIONS": "300", "HEADER_TIMEOUT_S": "1", "BODY_TIMEOUT_S": "2"}
    named = {f"METAVOX_COLLECTOR_{name}": value for name, value in bounds.items()}
    with collector(f"sqlite:///{tmp_path}/collector.db", **named) as started:
        yield started
        status, said = started.stop()
    assert status == 0
    assert "Traceback" not in said


def bodies(number: int) -> list[Request]:
    return list(requests(templates([WEEK], SCHEMA, seed=2), number, together=1, encoding=Encoding.gzip))


def connected(running: Collector, said: bytes = b"") -> socket.socket:
    host, port = running.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    connection.sendall(said)
    return connection


def request_of(running: Collector, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (Target.parse(running.url, GZIPPED).head(), len(body), body)


def reset(connection: socket.socket) -> None:
    """Cut it as a network does: with a RST, and no word of what was still to come."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_connections_cut_in_mid_body_leave_nothing_and_disturb_nobody(running):
    cut = bodies(HONEST)
    with senders(running.url, HONEST) as going:
        for number, one in enumerate(cut):
            whole = request_of(running, one.body)
            connection = connected(running, whole[: len(whole) - 1 - number * 7 % len(one.body)])
            reset(connection) if number % 2 else connection.close()
    assert_all_are_staged_once(running.db, going)
    assert not set(staged(running.db)) & {name for one in cut for name in one.reports}


def test_a_sender_cut_off_before_its_answer_sends_again_and_is_counted_once(running):
    made = bodies(HONEST)
    for one in made:
        reset(connected(running, request_of(running, one.body)))
    for one in made:
        assert running.post(one.body, Content_Encoding="gzip").status_code == 200
    found = staged(running.db)
    assert found == Counter({name: SCHEMA.cells_per_report for one in made for name in one.reports})


class Slow:
    """Connections of which each says a byte of a request now and then, and never ends it.

    Args:
        running: Whom they keep waiting.
        number: How many there are.
        again: Whether each is made anew when it was ended.
    """

    def __init__(self, running: Collector, number: int, *, again: bool) -> None:
        self._target = Target.parse(running.url, GZIPPED)
        self._number = number
        self._again = again
        self._over = threading.Event()
        self._all = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._drip()))
        self.made = 0
        self.ended = 0

    def __enter__(self) -> Slow:
        self._thread.start()
        assert self._all.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _drip(self) -> None:
        await asyncio.gather(*(self._one(at) for at in range(self._number)))

    async def _one(self, at: int) -> None:
        head = b"%b4096\r\n\r\n" % self._target.head()
        said = head if at % 2 else head[: 1 + at % len(head)]  # half of them stop in the body, half in the header
        while not self._over.is_set():
            await self._once(said)
            self.ended += not self._over.is_set()
            if not self._again:
                return

    async def _once(self, said: bytes) -> None:
        reader, writer = await asyncio.open_connection(self._target.host, self._target.port)
        self.made += 1
        if self.made == self._number:
            self._all.set()
        writer.write(said)
        with suppress(OSError):
            while not self._over.is_set() and not reader.at_eof():
                await asyncio.sleep(0.2)
                writer.write(b"x")
                await writer.drain()
        writer.transport.abort()


def test_slow_senders_keep_no_honest_one_waiting(running):
    with Slow(running, 200, again=True) as slow, senders(running.url, HONEST, connections=50) as going:
        assert until(lambda: slow.ended >= 200)  # they are ended, and come again
    assert_all_are_staged_once(running.db, going)
    assert going.outcome is not None
    assert set(going.outcome.statuses) == {200}


def test_slow_senders_that_take_every_connection_are_ended_and_honest_ones_served_then(running):
    with Slow(running, 900, again=False) as slow, senders(running.url, HONEST) as going:
        assert until(lambda: slow.ended == 900)  # in the service's own time, and not in the honest senders'
        going.finish()
    assert_all_are_staged_once(running.db, going)
    assert going.outcome is not None
    assert set(going.outcome.statuses) <= {200, 503}


@pytest.fixture
def many_files() -> Iterator[None]:
    """The limit of open files raised for a crowd at both ends, which inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CROWD + 1000
    if needed > hard != resource.RLIM_INFINITY:
        pytest.skip(f"{CROWD} connections need {needed} open files; this machine permits {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def crowd(running: Collector, made: list[Request]) -> dict[str, int | None]:
    """What each of so many senders was answered that were all connected before the first said a word."""
    target, at_a_time = Target.parse(running.url, GZIPPED), asyncio.Semaphore(200)

    async def come() -> Connection:
        async with at_a_time:
            return await connect(target, timeout=4 * PATIENCE)

    async def ask(connection: Connection, one: Request) -> int | None:
        try:
            return (await connection.post(one.body)).status
        except ConnectionError:
            return None
        finally:
            connection.close()

    connections = await asyncio.gather(*(come() for _ in made))
    statuses = await asyncio.gather(*map(ask, connections, made))
    return {one.reports[0]: status for one, status in zip(made, statuses, strict=True)}


@pytest.mark.parametrize("bound", [500, 2 * CROWD])
def test_ten_thousand_connections_are_served_or_refused_and_crash_nothing(tmp_path, many_files, bound):
    bounds = {"MAX_CONNECTIONS": str(bound), "HEADER_TIMEOUT_S": "120"}  # a crowd takes its time to come
    named = {f"METAVOX_COLLECTOR_{name}": value for name, value in bounds.items()}
    with collector(f"sqlite:///{tmp_path}/collector.db", **named) as running:
        answers = asyncio.run(crowd(running, bodies(CROWD)))
        memory = max(resident_bytes(running.process.pid))
        with senders(running.url, HONEST) as going:
            pass
        status, said = running.stop()
    assert (status, "Traceback" in said) == (0, False)
    assert_all_are_staged_once(running.db, going)
    kinds = Counter(answers.values())
    assert kinds.keys() <= ({200, 429} if bound > CROWD else {200, 429, 503, None}), kinds
    print(kinds, memory)
    taken = {name for name, answer in answers.items() if answer == 200}
    assert bool(taken) == (bound > CROWD)
    assert taken <= set(staged(running.db))
    assert memory < 400e6
