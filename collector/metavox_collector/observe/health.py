"""Whether the service can take reports now."""

from __future__ import annotations

import time
from collections.abc import Callable

from anyio import Lock, to_thread

_LASTS_S = 1.0
"""A look at the database is good for so long, so that whoever asks without end costs nothing."""


class Health:
    """What is wrong with the service, if anything.

    Args:
        is_full: Whether there is no room for reports.
        look: Raises if the database cannot be used; it may take its time.

    Attributes:
        is_draining: Whether the process is about to end.
    """

    def __init__(self, is_full: Callable[[], bool], look: Callable[[], None]) -> None:
        self.is_draining = False
        self._is_full = is_full
        self._look = look
        self._database: str | None = None
        self._until = 0.0
        self._looking: Lock | None = None

    async def trouble(self) -> str | None:
        """What keeps it from taking reports, in our words; None when nothing does."""
        if self.is_draining:
            return "draining"
        if self._is_full():
            return "full"
        return await self._database_trouble()

    async def _database_trouble(self) -> str | None:
        self._looking = self._looking or Lock()
        async with self._looking:
            if time.monotonic() >= self._until:
                self._database = await to_thread.run_sync(self._seen)
                self._until = time.monotonic() + _LASTS_S
        return self._database

    def _seen(self) -> str | None:
        try:
            self._look()
        except Exception:  # whatever it is: what went wrong is no business of who asks
            return "database"
        return None
