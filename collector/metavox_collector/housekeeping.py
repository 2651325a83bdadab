"""What the service does beside answering: expired reports go, and what was deleted leaves no byte in the files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from datetime import datetime, timedelta

from anyio import to_thread

from metavox_collector.clock import Clock
from metavox_collector.errors import StoreUnavailable
from metavox_collector.store import Database
from metavox_privacy.week import Week

_log = logging.getLogger(__name__)

HOUR = 3600.0
"""Seconds between two looks for what has expired, and between two tries of what could not be done."""

_REWRITES_EVERY = {"sqlite": 0.0, "postgresql": 24 * HOUR}
"""Seconds between two times of writing anew what reports were deleted from: on PostgreSQL senders wait for it."""

_REST = 9.0
"""Rewriting rests so many times as long as it works: it takes a tenth of the time, however much is deleted."""

_AWAIT_TURN = 10.0
"""Seconds until another process is asked again to be done."""


def expire(database: Database, now: datetime, accepted_for: timedelta) -> int:
    """Destroy what no close came for in time; returns how many reports that were.

    A report is kept for as long as its week is accepted and not a day longer, whatever the operator does.

    Raises:
        StoreUnavailable: if the database is busy or away.
    """
    return database.keep_weeks(oldest=Week.of(now - accepted_for), newest=Week.of(now))


class Housekeeping:
    """One task beside the service; it works in threads, and ends between two pieces of work.

    Of several processes on one database one keeps house at a time.

    Args:
        database: Whose.
        clock: What time it is.
        accepted_for: How long after its end a week's reports are kept.
        kept: Is called when all that was due is done.
    """

    def __init__(
        self, database: Database, clock: Clock, accepted_for: timedelta, kept: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._clock = clock
        self._accepted_for = accepted_for
        self._kept = kept
        self._rewrites_at = self._expires_at = 0.0
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
        while not self._stopping.is_set():
            self._wanted.clear()
            pause = await self._round()
            if not self._stopping.is_set():
                await _waited(self._wanted, pause)

    async def _round(self) -> float:
        """Do what is due; for how many seconds there is nothing more to do."""
        try:
            async with _in_threads(self._database.turn()) as is_mine:
                if not is_mine:
                    return _AWAIT_TURN
                await self._keep_house()
                self._kept()
        except Exception as error:  # whatever it was, what people were promised is tried again
            kind = error.kind if isinstance(error, StoreUnavailable) else type(error).__name__
            _log.error("expired or deleted reports could not be removed (%s); the next try is in an hour", kind)
            return HOUR
        return self._expires_at - time.monotonic()

    async def _keep_house(self) -> None:
        if time.monotonic() >= self._expires_at:
            await to_thread.run_sync(expire, self._database, self._clock(), self._accepted_for)
            self._expires_at = time.monotonic() + HOUR
        # The log first, for that is quick; again at the end, always: a close may have died before it did so.
        await to_thread.run_sync(self._database.scrub)
        if await self._rewritten() and not await to_thread.run_sync(self._database.scrub):
            _log.warning("the write-ahead log could not be emptied; the next try is in an hour")

    async def _rewritten(self) -> bool:
        """Write anew what is due; whether there is nothing more to do."""
        if time.monotonic() < self._rewrites_at:
            return True
        is_more = True
        while is_more and not self._stopping.is_set():
            began = time.monotonic()
            is_more = await to_thread.run_sync(self._database.rewrite_a_piece)
            if is_more:
                await _waited(self._stopping, _REST * (time.monotonic() - began))
        self._rewrites_at = time.monotonic() + _REWRITES_EVERY[self._database.dialect]
        return not is_more


@asynccontextmanager
async def _in_threads(turn: AbstractContextManager[bool]) -> AsyncIterator[bool]:
    """A context that is entered and left beside the event loop, for both ask the database."""
    is_mine = await to_thread.run_sync(turn.__enter__)
    try:
        yield is_mine
    finally:
        await to_thread.run_sync(turn.__exit__, None, None, None)


async def _waited(event: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0))
