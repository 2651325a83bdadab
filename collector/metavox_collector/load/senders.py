"""Requests -> a collector, over several connections, each of which waits for its answer as a real sender does."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from metavox_collector.errors import CollectorError
from metavox_collector.load.bodies import Request
from metavox_collector.load.connection import Answer, Connection, Target, connect
from metavox_collector.load.outcome import Outcome

RETRYABLE = frozenset((429, 502, 503, 504))
"""What OTLP/HTTP lets a sender try again."""

_AHEAD = 32 * 2**20
"""Bytes of bodies that are made before the clock starts: 107,000 cells in requests of a report. A cell takes
20 µs to make, and 4 to send."""

_PAUSE = 0.2
"""Seconds before another try where no Retry-After says for how long to wait."""


@dataclass(frozen=True)
class Load:
    """How to send.

    Attributes:
        target: Where to.
        connections: How many at a time.
        seconds: When to stop giving out requests; None to go on to the last.
        retry: For how many seconds a request is tried again that got a retryable status, or no answer.
        acknowledged: Called with the reports of each request that the collector has taken as a whole.
    """

    target: Target
    connections: int
    seconds: float | None = None
    retry: float = 0
    acknowledged: Callable[[Request], None] = lambda _request: None


def send(load: Load, requests: Iterable[Request]) -> Outcome:
    """Send all requests; some of them are made before the clock starts.

    Raises:
        CollectorError: if the collector cannot be reached, or does not take the first request.
    """
    if sys.platform == "win32":
        return asyncio.run(_Senders(load, requests).run())
    import uvloop  # here, for Windows has none; a request costs 40 µs less with it

    return uvloop.run(_Senders(load, requests).run())


class _Senders:
    """The state that the senders of one load share."""

    def __init__(self, load: Load, requests: Iterable[Request]) -> None:
        self._load = load
        self._requests = _made_ahead(iter(requests))
        self._outcome = Outcome()

    async def run(self) -> Outcome:
        began = time.perf_counter()
        self._until = None if self._load.seconds is None else began + self._load.seconds
        await self._first()
        senders = [asyncio.create_task(self._sender()) for _ in range(self._load.connections)]
        try:
            await asyncio.gather(*senders)
        finally:
            for sender in senders:
                sender.cancel()
        self._outcome.seconds = time.perf_counter() - began
        return self._outcome

    async def _first(self) -> None:
        """Send one request alone: whatever is wrong with the rest shows in it, before a thousand say the same."""
        sender = _Sender(self._load, self._outcome)
        for request in itertools.islice(self._requests, 1):
            try:
                await sender.deliver(request)
            finally:
                sender.close()
            if not self._outcome.is_whole:
                raise CollectorError(f"the collector did not take the first request: {self._outcome.message}")

    async def _sender(self) -> None:
        sender = _Sender(self._load, self._outcome)
        try:
            for request in self._requests:
                goes_on = await sender.deliver(request)
                if not goes_on or (self._until is not None and time.perf_counter() > self._until):
                    return
        finally:
            sender.close()


class _Sender:
    """One connection, made again when it ends."""

    def __init__(self, load: Load, outcome: Outcome) -> None:
        self._load = load
        self._outcome = outcome
        self._connection: Connection | None = None

    async def deliver(self, request: Request) -> bool:
        """Send a request, again and again where that is asked for; whether somebody answered at last."""
        first = time.perf_counter()
        while True:
            began = time.perf_counter()
            answer = await self._post(request)
            if answer is not None:
                if self._outcome.take(request, answer, time.perf_counter() - began):
                    self._load.acknowledged(request)
                if answer.status not in RETRYABLE:
                    return True
            pause = _PAUSE if answer is None or answer.retry_after is None else answer.retry_after
            if time.perf_counter() + pause > first + self._load.retry:
                return answer is not None
            await asyncio.sleep(pause)
            self._outcome.again += 1

    async def _post(self, request: Request) -> Answer | None:
        """The answer; None when there was none."""
        try:
            if self._connection is None or self._connection.is_closed:
                self._connection = await connect(self._load.target)
            return await self._connection.post(request.body)
        except (OSError, asyncio.TimeoutError) as error:
            self._outcome.unanswered += 1
            self._outcome.message = f"it cannot be reached: {error}"
            self.close()
            return None

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _made_ahead(requests: Iterator[Request]) -> Iterator[Request]:
    made, size = [], 0
    for request in requests:
        made.append(request)
        size += len(request.body)
        if size > _AHEAD:
            break
    return itertools.chain(made, requests)
