"""What the service does beside answering: expired reports go, and what was deleted leaves no byte in the files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from anyio import to_thread

from metavox_collector.clock import Clock
from metavox_collector.errors import StoreUnavailable
from metavox_collector.store import Database
from metavox_privacy.week import Week

_log = logging.getLogger(__name__)

HOUR = 3600.0
"""Seconds between two looks for what has expired, and between two tries of what could not be done."""

_REST = 9.0
"""Rewriting rests so many times as long as it works: it takes a tenth of the time, however much is deleted."""


def expire(database: Database, now: datetime, accepted_for: timedelta) -> int:
    """Destroy what no close came for in time; returns how many reports that were.

    A report is kept for as long as its week is accepted and not a day longer, whatever the operator does.

    Raises:
        StoreUnavailable: if the database is busy or away.
    """
    with database.write() as transaction:
        return transaction.destroy_staged_before(Week.of(now - accepted_for))


class Housekeeping:
    """One task beside the service; it works in threads, and ends between two pieces of work."""

    def __init__(self, database: Database, clock: Clock, accepted_for: timedelta) -> None:
        self._database = database
        self._accepted_for = accepted_for
        self._clock = clock
        self._stopping = asyncio.Event()
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        """A report was deleted."""
        self._wanted.set()

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Beside what the block does; it ends before the block does."""
        self._stopping, self._wanted = asyncio.Event(), asyncio.Event()  # of this loop
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:  # not cancelled: its thread may be in a transaction, and must let go of the database
            self._stopping.set()
            self._wanted.set()
            await task

    async def _run(self) -> None:
        expires_at = 0.0
        while not self._stopping.is_set():
            self._wanted.clear()
            if time.monotonic() >= expires_at:
                await self._try(self._expire(), "expired reports could not be destroyed")
                expires_at = time.monotonic() + HOUR
            await self._try(self._clean(), "the last bytes of deleted reports could not be removed")
            if not self._stopping.is_set():
                await _waited(self._wanted, expires_at - time.monotonic())

    async def _try(self, work: Coroutine[Any, Any, None], failure: str) -> None:
        try:
            await work
        except Exception as error:  # whatever it was, what people were promised is tried again
            kind = error.kind if isinstance(error, StoreUnavailable) else type(error).__name__
            _log.error("%s (%s); the next try is in an hour", failure, kind)

    async def _expire(self) -> None:
        await to_thread.run_sync(expire, self._database, self._clock(), self._accepted_for)

    async def _clean(self) -> None:
        """The log first, for that is quick; again at the end, always: a close may have died before it did so."""
        await to_thread.run_sync(self._database.scrub)
        if await self._rewritten() and not await to_thread.run_sync(self._database.scrub):
            _log.warning("the write-ahead log could not be emptied; the next try is in an hour")

    async def _rewritten(self) -> bool:
        is_more = True
        while is_more and not self._stopping.is_set():
            began = time.monotonic()
            is_more = await to_thread.run_sync(self._database.rewrite_a_piece)
            if is_more:
                await _waited(self._stopping, _REST * (time.monotonic() - began))
        return not is_more


async def _waited(event: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0))
