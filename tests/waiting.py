"""Waiting for what comes in its own time, however fast or loaded the machine is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import psycopg

PATIENCE = 30.0
"""Seconds after which what has not come is said not to come; none of it takes one."""

FOR_EVER = 4 * PATIENCE
"""Seconds of a timeout that must not end before a test does."""

_STEP = 0.01
_WHO_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def until(is_so: Callable[[], bool]) -> bool:
    """Whether something became so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP)
    return True


async def soon(is_so: Callable[[], bool]) -> bool:
    """Whether something became so that the event loop's own tasks bring about."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_STEP)
    return True


def waits(thread: threading.Thread, url: str) -> bool:
    """Whether a thread waits for a lock that another transaction on this database holds."""
    if url.startswith("sqlite"):
        thread.join(0.1)  # SQLite tells nobody who waits: on a slow machine it may not even have come to it
        return thread.is_alive()
    with psycopg.connect(url, autocommit=True) as connection:
        return until(lambda: connection.execute(_WHO_WAITS).fetchone() != (0,))
