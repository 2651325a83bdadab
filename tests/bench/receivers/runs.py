"""One receiver measured: speed, processor time, latency, memory, and what its death by SIGKILL loses."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metavox_collector.load.bodies import Request
from metavox_collector.load.outcome import Outcome
from metavox_collector.load.senders import Load, send
from tests.bench.engine.quiet import wait_until_idle
from tests.bench.receivers.processes import kill_tree, processor_seconds, resident_bytes
from tests.bench.receivers.services import Receiver, Service

_QUIET_SECONDS = 20
_PATIENCE = 60


@dataclass(frozen=True)
class Run:
    """What a receiver did; latencies in milliseconds.

    Attributes:
        durable: Spans that were acknowledged and are in the database.
        seconds: From the first request until the last of them was there.
        per_second: Durable spans a second.
        cpu: Processor seconds of its processes for 1,000 spans.
        database_cpu: The same of the database's server, where that is a process of its own.
        answers: What the senders were told.
        acknowledged: Spans of a second load, at whose last answer all its processes were killed.
        lost: How many of those are not in the database.
        others: The share of the machine that others took just before.
    """

    name: str
    durable: int
    seconds: float
    per_second: float
    cpu: float
    database_cpu: float | None
    answers: dict[str, Any]
    acknowledged: int
    lost: int
    others: float | None


def measure(receiver: Receiver, folder: Path, *, spans: int, killed: int, connections: int) -> Run:
    """Load a receiver, wait until everything is durable, load it again and kill it at the last answer."""
    with receiver.start(folder) as service:
        send(Load(service.target, connections), receiver.bodies(spans // 20))  # what a first request alone costs
        before = _settled(service)
        others = wait_until_idle(_QUIET_SECONDS)
        cpu, database_cpu = _processor(service)
        outcome = send(Load(service.target, connections), receiver.bodies(spans))
        answered = time.perf_counter()
        durable = _settled(service, before + outcome.spans) - before
        seconds = outcome.seconds + time.perf_counter() - answered
        cpu_after, database_after = _processor(service)
        again = _killed_at_the_end(service, receiver, killed, connections)
        lost = before + outcome.spans + again - service.durable()
    return Run(
        name=receiver.name,
        durable=durable,
        seconds=seconds,
        per_second=durable / seconds,
        cpu=(cpu_after - cpu) / durable * 1000,
        database_cpu=None if database_cpu is None else (database_after - database_cpu) / durable * 1000,
        answers=outcome.figures(),
        acknowledged=again,
        lost=lost,
        others=others,
    )


def _processor(service: Service) -> tuple[float, float | None]:
    of = service.database_pid
    return processor_seconds(service.pid), None if of is None else processor_seconds(of)


def _settled(service: Service, expected: int | None = None) -> int:
    """How many spans are durable once all of those expected are, or once it is no more for a while.

    A receiver that answers only after the commit is asked once.
    """
    last, since = service.durable(), time.monotonic()
    while last != expected and time.monotonic() < since + (_PATIENCE if expected else 3):
        time.sleep(0.2)
        now = service.durable()
        if now != last:
            last, since = now, time.monotonic()
    return last


def _killed_at_the_end(service: Service, receiver: Receiver, spans: int, connections: int) -> int:
    """How many spans were acknowledged when the last of them was, and all processes were killed."""
    bodies = list(receiver.bodies(spans))
    wanted, acknowledged = sum(body.spans for body in bodies), 0

    def count(request: Request) -> None:
        nonlocal acknowledged
        acknowledged += request.spans
        if acknowledged == wanted:
            kill_tree(service.pid)

    send(Load(service.target, connections, acknowledged=count), bodies)
    if acknowledged != wanted:
        raise RuntimeError(f"{receiver.name} acknowledged {acknowledged} of {wanted} spans")
    return acknowledged


@dataclass
class Memory:
    """The memory of a service's largest process, in bytes, as it went."""

    samples: list[int] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """The most, and how much more the last fifth took than the second one, in bytes."""
        fifth = max(len(self.samples) // 5, 1)
        early, late = (statistics.median(part) for part in (self.samples[fifth : 2 * fifth], self.samples[-fifth:]))
        return {"most_bytes": max(self.samples), "growth_bytes": late - early}


@contextmanager
def watched(service: Service, every: float = 0.5) -> Iterator[Memory]:
    """Look at it now and then during the block."""
    memory, over = Memory(), threading.Event()

    def look() -> None:
        while not over.wait(every):
            memory.samples.append(max(resident_bytes(service.pid)))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()


def soak(receiver: Receiver, folder: Path, *, spans: int, connections: int) -> dict[str, Any]:
    """What the memory of a collector does while it takes so many spans."""
    with receiver.start(folder) as service, watched(service) as memory:
        outcome: Outcome = send(Load(service.target, connections), receiver.bodies(spans))
        staged = service.durable()
    return {**outcome.figures(), **memory.figures(), "durable": staged, "name": receiver.name}
