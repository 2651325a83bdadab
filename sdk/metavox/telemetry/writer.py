"""When the counts are written: some seconds after the first of them, or when the program ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

PAUSE = 10.0
"""Seconds for which counts may wait in memory; a program that is killed loses no more."""


class Writer:
    """A thread that exists only while something waits.

    It sleeps until the main thread ends, but no longer than the pause, writes, and is gone. Python waits for such a
    thread before it ends, so that what a short program counted is written at once, without an exit handler.

    Args:
        write: Called in the thread; raises nothing.
        prepare: The same, before it sleeps, so that the program's end waits for the write alone.
        pause: Seconds.
    """

    def __init__(
        self, write: Callable[[], None], prepare: Callable[[], None] = lambda: None, *, pause: float = PAUSE
    ) -> None:
        self._write = write
        self._prepare = prepare
        self._pause = pause
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Have what waits written in time; to be called after it was put there."""
        if self._thread is None and self._lock.acquire(blocking=False):  # else somebody is starting it just now
            try:
                if self._thread is None:
                    self._start()
            finally:
                self._lock.release()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="metavox-journal", daemon=False)
        try:
            self._thread.start()  # it may be over, and have said so, before this returns
        except RuntimeError:  # there can be no more threads for now; the next request tries again
            self._thread = None
            if not threading.main_thread().is_alive():  # or never: the program is ending
                self._write()

    def _run(self) -> None:
        self._prepare()
        threading.main_thread().join(timeout=self._pause)
        self._thread = None  # before the write takes what waits: whoever comes later starts another thread
        self._write()
