"""The process that an operator starts: it listens, keeps workers running, and serves nobody itself.

A worker is a new interpreter, not a fork: what a rolling restart starts is the software and the configuration as
they are on the disk then. The sockets stay open in here all the while, so nobody who connects is turned away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from metavox_collector.observe import logs
from metavox_collector.observe.metrics import SHARED
from metavox_collector.serve.task import Task
from metavox_collector.settings import Settings

_log = logging.getLogger(__name__)

_WORKER = (sys.executable, "-m", "metavox_collector.serve.worker")
_MINUTE = 60.0
_LONGEST_PAUSE_S = 30.0
_KILL_AFTER_S = 10.0
"""How long after the end of its time a worker that does not end is left alone."""


def supervise(task: Task, settings: Settings, say_ready: Callable[[], None]) -> int:
    """Keep workers running until SIGTERM or SIGINT; SIGHUP replaces them, one after the other.

    Args:
        task: What they are told.
        settings: How many there are, and how long each has to finish what has begun.
        say_ready: Is called once all of them serve.

    Returns:
        The exit status: 0, or 1 if they could not begin, which the first of them has told on stderr.
    """
    logs.configure(settings.log_format)
    patience = settings.drain_timeout_s + _KILL_AFTER_S
    with tempfile.TemporaryDirectory(prefix="metavox-collector-") as shared:
        return asyncio.run(_Supervisor(task, patience, shared).run(settings.workers, say_ready))


def pause_after(deaths: int) -> float:
    """Seconds until the next start: a tenth at first, twice as long for each other end within a minute.

    Args:
        deaths: How many workers ended within the last minute.
    """
    return min(0.05 * 2.0 ** min(deaths, 20), _LONGEST_PAUSE_S)


@dataclass(frozen=True, eq=False)
class _Worker:
    process: Process
    ended: asyncio.Task[int]

    def stop(self) -> None:
        """Tell it to finish what has begun. No signal, for systemd sends it one as well, and two mean hurry."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def hurry(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)

    async def stopped(self, within: float) -> None:
        """Return when it has ended; it is killed when that takes longer."""
        self.stop()
        await asyncio.wait([self.ended], timeout=within)
        if not self.ended.done():
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.ended


class _Supervisor:
    def __init__(self, task: Task, patience: float, shared: str) -> None:
        self._task = task
        self._patience = patience
        self._shared = shared
        self._workers: list[_Worker] = []
        self._changing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._watching: set[asyncio.Task[None]] = set()
        self._deaths: deque[float] = deque(maxlen=10)

    async def run(self, number: int, say_ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._in_background(self._roll()))
        begun = await self._begun(number)
        if begun:
            say_ready()
            await self._stopping.wait()
        async with self._changing:
            await asyncio.gather(*(worker.stopped(self._patience) for worker in self._workers))
        for watching in self._watching:
            watching.cancel()
        return 0 if begun or self._stopping.is_set() else 1

    async def _begun(self, number: int) -> bool:
        """Whether all run: the first alone, so that one makes the database, and one says what is wrong."""
        async with self._changing:
            for starting in (1, number - 1):
                started = await asyncio.gather(*(self._started() for _ in range(starting)))
                self._workers += [worker for worker in started if worker is not None]
                if None in started:
                    return False
        for worker in self._workers:
            self._in_background(self._watch(worker))
        return True

    def _stop(self) -> None:
        if self._stopping.is_set():
            for worker in self._workers:
                worker.hurry()
        self._stopping.set()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _started(self) -> _Worker | None:
        """A worker that serves; None if it ended instead, or is no longer wanted."""
        reading, ready = os.pipe()
        task = self._task.with_descriptors(ready=ready)
        try:
            process = await asyncio.create_subprocess_exec(
                *_WORKER,
                stdin=PIPE,
                pass_fds=tuple(task.descriptors.values()),
                env=os.environ | {SHARED: self._shared},
                start_new_session=True,  # Ctrl-C on a terminal is for the supervisor
            )
        finally:
            os.close(ready)
        assert process.stdin is not None
        process.stdin.write(task.line())
        worker = _Worker(process, asyncio.create_task(self._ended(process)))
        if await self._said(reading) and not self._stopping.is_set():
            return worker
        await worker.stopped(self._patience)
        return None

    async def _said(self, reading: int) -> bool:
        """Whether a worker said that it serves, before it ended or the supervisor was told to."""
        loop = asyncio.get_running_loop()
        said: asyncio.Future[bool] = loop.create_future()

        def read() -> None:
            loop.remove_reader(reading)
            said.set_result(os.read(reading, 1) != b"")  # nothing, if it ended

        loop.add_reader(reading, read)
        stopping: asyncio.Future[bool] = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({said, stopping}, return_when=asyncio.FIRST_COMPLETED)
        loop.remove_reader(reading)
        os.close(reading)
        stopping.cancel()
        return said.done() and said.result()

    async def _ended(self, process: Process) -> int:
        status = await process.wait()
        mark_process_dead(process.pid, self._shared)  # type: ignore[no-untyped-call]  # theirs
        return status

    async def _watch(self, worker: _Worker) -> None:
        """Start another one in the place of a worker that ended unasked, again and again, but not ever faster."""
        status = await worker.ended
        async with self._changing:
            while worker in self._workers and not self._stopping.is_set():
                pause = self._pause()
                _log.error("a worker ended (status %d); another takes its place in %.1f s", status, pause)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                await self._replace(worker)

    def _pause(self) -> float:
        self._deaths.append(time.monotonic())
        return pause_after(sum(self._deaths[-1] - death < _MINUTE for death in self._deaths))

    async def _replace(self, old: _Worker) -> bool:
        new = None if self._stopping.is_set() else await self._started()
        if new is None:
            return False
        self._workers[self._workers.index(old)] = new
        self._in_background(self._watch(new))
        return True

    async def _roll(self) -> None:
        """Replace the workers one after the other: a new one serves before an old one ends."""
        async with self._changing:
            for old in [*self._workers]:
                if not await self._replace(old):
                    _log.error("a new worker could not begin; the old ones go on as they are")
                    return
                await old.stopped(self._patience)
